// Exits of single instructions as rows of a table. Freestanding.
#pragma once

#include <span>

#include "hypervisor/metal/lab.h"
#include "hypervisor/metal/tap.h"

namespace cupel::metal {

// The guest runs `code`; its instruction under test must exit as the row says, with RIP on it and
// its length, no event in the interruption fields, and go on behind it.
struct ExitRow {
  const char* name;
  GuestCode code;
  Controls controls;
  x86::ExitReason reason;
  uint64_t qualification = 0;
  uint32_t info_mask = 0, info = 0;       // defined bits of the VM-exit instruction information
  void (*prepare)(TestVm& vm) = nullptr;  // before the entry
  bool (*available)(Lab& lab) = nullptr;  // beside the controls
};

void test_rows(Tap& tap, Lab& lab, const char* group, std::span<const ExitRow> rows);

// The parts of the instruction information. SDM vol. 3C, "Information for VM Exits Due to
// Instruction Execution".
namespace info {
inline constexpr uint32_t memory_mask = 0x0fff8783;  // scaling, address size, segment, index, base
inline constexpr uint32_t reg2_mask = 0xf0000000;
inline constexpr uint32_t identity_mask = 0x30000000;  // descriptor-table instructions
inline constexpr uint32_t address64 = 2u << 7, address32 = 1u << 7, is_register = 1u << 10;
inline constexpr uint32_t no_index = 1u << 22, no_base = 1u << 27;
constexpr uint32_t scale(unsigned log2) { return log2; }
constexpr uint32_t reg1(x86::Gpr r) { return static_cast<uint32_t>(r) << 3; }
constexpr uint32_t reg2(x86::Gpr r) { return static_cast<uint32_t>(r) << 28; }
constexpr uint32_t segment(x86::Seg s) { return static_cast<uint32_t>(s) << 15; }
constexpr uint32_t index(x86::Gpr r) { return static_cast<uint32_t>(r) << 18; }
constexpr uint32_t base(x86::Gpr r) { return static_cast<uint32_t>(r) << 23; }
constexpr uint32_t identity(uint32_t n) { return n << 28; }
}  // namespace info

}  // namespace cupel::metal
