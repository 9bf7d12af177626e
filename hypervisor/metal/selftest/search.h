// Generated cases whose outcomes two processors should agree on: VMCS states near the border of
// validity, instruction sequences, EPT shapes. Freestanding.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "hypervisor/metal/lab.h"
#include "hypervisor/metal/options.h"

namespace cupel::metal {

// What a case came to: a hash of what is compared, and the words for it when they are wanted.
class Finding {
 public:
  explicit Finding(bool in_words) : in_words_(in_words) {}
  // Part of the case: printed only.
  void say(const char* text);
  void say_value(const char* name, uint64_t value);
  void say_change(const char* name, uint64_t from, uint64_t to);
  // Part of the outcome: printed and hashed.
  void add(const char* text);
  void add_value(const char* name, uint64_t value);
  uint64_t hash() const { return hash_; }

 private:
  void mix(uint64_t value);
  bool in_words_;
  uint64_t hash_ = 0xcbf29ce484222325;
};

// Case `number` of `seed`. Bit n of `keep`: part n of the case takes place.
struct Case {
  uint64_t seed, number, keep;
  bool keeps(unsigned part) const { return (keep >> part & 1) != 0; }
};

void run_state(Lab& lab, const Case& c, Finding& finding);
void run_sequence(Lab& lab, const Case& c, Finding& finding);
void run_ept_shape(Lab& lab, const Case& c, Finding& finding);

// Runs what the options ask for. One line a case; with "packed" one line for 32 cases: "= ", the
// number of the first, and two characters a case that stand for its outcome. With "batch" the
// cases are the lines of `batch`, "NUMBER KEEP" each. False when the processor lacks what is
// needed.
bool run_search(Lab& lab, const Options& options, std::span<const std::byte> batch);

}  // namespace cupel::metal
