// What a run has reached of VT-x: exits, checks, fields, instruction errors.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <string>

#include "core/x86/exit_reason.h"
#include "hw_models/vtx/capabilities.h"
#include "hw_models/vtx/entry_checks.h"
#include "hw_models/vtx/vmcs.h"

namespace cupel::vtx {

struct Coverage {
  static constexpr size_t kReasons = 128, kErrors = 32;
  std::array<uint64_t, kReasons> exits{};  // by basic exit reason, failed entries included
  std::array<uint64_t, kErrors> errors{};  // by VM-instruction error
  std::bitset<kMaxRows> rows_failed;       // rows that refused an entry, by number in CheckTable
  std::bitset<kFieldCount> read, written;  // by VMREAD and VMWRITE of executed code
  uint64_t entries = 0;

  void exit(uint32_t reason) { ++exits[reason % kReasons]; }
  void error(uint32_t number) { ++errors[number % kErrors]; }
  void add(const Coverage& other);
};

// Can software on a processor of this profile meet the exit at all? SDM vol. 3C, "Instructions That
// Cause VM Exits", "Other Causes of VM Exits". SMM and SMX are never there.
bool exit_possible(const CapabilityProfile& profile, x86::ExitReason reason);
// Can the row refuse an entry: do all fields it reads exist?
bool row_possible(const CapabilityProfile& profile, const CheckRow& row);

// As a JSON object: "exits", "errors", "rows", "fields", each with "reached" and "missing" (names
// and IDs, in the order of the SDM's numbers and of the checks).
std::string to_json(const Coverage& coverage, const CapabilityProfile& profile);

}  // namespace cupel::vtx
