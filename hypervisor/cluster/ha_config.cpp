#include "hypervisor/cluster/ha_config.h"

namespace cupel::cluster {

Result<void> check(const HaTimings& t) {
  if (t.heartbeat <= 0_ns || t.heartbeat >= t.suspect || t.suspect >= t.dead) {
    return fail(ErrorKind::bad_input, "heartbeat timings are out of order",
                "keep 0 < heartbeat < suspect < dead");
  }
  return datastore::check(t.lease);
}

std::optional<HaTimings> timings_preset(std::string_view name) {
  if (name == "fast") return HaTimings{};
  if (name == "vi3") {
    return HaTimings{
        1_s, 5_s, 15_s, {.duration = 16_s, .renew = 3_s, .margin = 4_s, .watchdog = 14_s}};
  }
  if (name == "sanlock") {
    return HaTimings{
        1_s, 5_s, 15_s, {.duration = 140_s, .renew = 20_s, .margin = 60_s, .watchdog = 139_s}};
  }
  return std::nullopt;
}

}  // namespace cupel::cluster
