// VM-entry checks as rows: each breaks one thing of a VMCS that is good otherwise. A row is named
// after the check's ID in hw_models/vtx; what follows a '/' tells apart several ways to break it.
// Freestanding.
#pragma once

#include <span>

#include "hypervisor/metal/lab.h"
#include "hypervisor/metal/tap.h"

namespace cupel::metal {

using Change = void (*)(TestVm& vm);

struct CheckRow {
  const char* id;
  Controls controls;
  Change base;     // the good state the row starts from; nullptr: TestVm's own
  Change broken;   // on top of `base`: the entry must fail
  Change passing;  // on top of `base`: the entry must just succeed; nullptr: `base` alone
  uint8_t qualification = 0;              // guest-state rows only
  bool (*available)(Lab& lab) = nullptr;  // beside the controls
};

// What a failed check leads to. SDM vol. 3C, "VM Entries".
enum class CheckStage : uint8_t {
  controls,  // VMfailValid(7)
  host,      // VMfailValid(8)
  guest,     // exit reason 33 with bit 31, and the row's qualification
};
void test_check_rows(Tap& tap, Lab& lab, CheckStage stage, std::span<const CheckRow> rows);

// --- Values that rows share --------------------------------------------------------------------
inline constexpr uint64_t kNotCanonical = 1ull << 62;
inline constexpr uint64_t kHighestLow = 0x00007fffffffffff, kLowestHigh = 0xffff800000000000;
inline uint64_t beyond_width(TestVm& vm) { return 1ull << vm.lab().physical_bits; }

template <auto field>
void set_not_canonical(TestVm& vm) {
  vm.set(field, kNotCanonical);
}
template <auto field>
void set_highest_low(TestVm& vm) {
  vm.set(field, kHighestLow);
}
template <auto field>
void set_lowest_high(TestVm& vm) {
  vm.set(field, kLowestHigh);
}
template <auto field, auto bits>
void set_bits(TestVm& vm) {
  vm.set(field, static_cast<decltype(vm.get(field))>(vm.get(field) | bits));
}
template <auto field, auto bits>
void clear_bits(TestVm& vm) {
  vm.set(field, static_cast<decltype(vm.get(field))>(vm.get(field) & ~bits));
}
template <auto field, auto value>
void set_value(TestVm& vm) {
  vm.set(field, static_cast<decltype(vm.get(field))>(value));
}
template <auto field>
void set_beyond_width(TestVm& vm) {
  vm.set(field, vm.get(field) | beyond_width(vm));
}
inline void inject(TestVm& vm, uint32_t information) {
  vm.set(x86::Field32::entry_interruption_info, information);
}

}  // namespace cupel::metal
