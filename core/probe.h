// Named probes on rare paths: tests and coverage reports ask which of them a run has hit.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace cupel {

// A static counter that registers itself once. Counting is per process and never read on a
// decision path.
class Probe {
 public:
  explicit Probe(const char* name);
  void hit() { ++count_; }
  std::string_view name() const { return name_; }
  uint64_t count() const { return count_; }
  void reset() { count_ = 0; }

 private:
  const char* name_;
  uint64_t count_ = 0;
};

// All probes reached by code that has run at least once, ordered by name.
std::vector<Probe*> all_probes();
// Hits of the probe called `name`; 0 when it was never reached.
uint64_t probe_count(std::string_view name);
void reset_probes();

#define CUPEL_PROBE(name)                     \
  do {                                        \
    static ::cupel::Probe cupel_probe_(name); \
    cupel_probe_.hit();                       \
  } while (false)

}  // namespace cupel
