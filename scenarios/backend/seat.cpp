#include "scenarios/backend/seat.h"

#include "core/boot/boot_memory.h"
#include "scenarios/backend/kvm_seat.h"
#include "scenarios/backend/model_seat.h"

namespace cupel::scenarios {

std::string_view to_string(BackendKind kind) {
  return kind == BackendKind::model ? "model" : "kvm";
}

Result<BackendKind> backend_from(std::string_view name) {
  if (name == "model") return BackendKind::model;
  if (name == "kvm") return BackendKind::kvm;
  return fail(ErrorKind::bad_input, "unknown backend '" + std::string(name) + "'",
              "use model or kvm");
}

Result<std::unique_ptr<Seat>> make_seat(BackendKind kind, uint64_t ram, VirtualClock& clock) {
  CUPEL_TRY(boot::check_ram_size(ram));
  if (kind == BackendKind::model) {
    auto seat = ModelSeat::create(ram, clock);
    if (!seat.ok()) return std::move(seat).failure();
    return std::unique_ptr<Seat>(std::move(seat).value());
  }
  auto seat = KvmSeat::create(ram, clock);
  if (!seat.ok()) return std::move(seat).failure();
  return std::unique_ptr<Seat>(std::move(seat).value());
}

}  // namespace cupel::scenarios
