// The doctor: why a VM entry fails, said so that a hypervisor's developer can mend it.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "hw_models/vtx/capabilities.h"
#include "hw_models/vtx/doctor_dump.h"
#include "hw_models/vtx/entry_checks.h"

namespace cupel::vtx {

// A state that the architecture lets in but leaves undefined, or that is hardly meant.
struct WarningRow {
  const char* id;      // "undefined.msr_load_count", "doubtful.rip_canonical"
  const char* source;  // section title in the SDM
  std::array<F, 4> reads;
  bool (*applies)(const EntryState&);
  const char* text;
};
std::span<const WarningRow> warning_rows();

struct Diagnosis {
  std::string profile;
  std::vector<CheckFailure> failures;  // in architectural order: the first decides
  std::vector<const WarningRow*> warnings;
  std::vector<const CheckRow*> undecided;  // depend on memory that is not at hand
  std::vector<F> missing;                  // looked at by some check, but not given
  std::vector<std::string> assumptions;

  bool passes() const { return failures.empty(); }
};

// Of an entry that a LogicalProcessor refused.
Diagnosis diagnose(std::span<const CheckFailure> failures, const CapabilityProfile& profile);

struct DumpOptions {
  bool host_ia32e = true;  // the processor is in IA-32e mode at VM entry
  uint8_t physical_bits = 46, linear_bits = 48;
};
// Of a dump, as a processor of `profile` would judge it. Fields that are not given count as 0, but
// the VMCS link pointer as FFFFFFFF_FFFFFFFFH.
Diagnosis diagnose(const VmcsDump& dump, const CapabilityProfile& profile,
                   const DumpOptions& options);

// What a failure of that stage leads to: "VM-instruction error 7".
std::string result_of(CheckStage stage, uint8_t qualification);
// What a control word's bits have against them: "bit 17 \"enable PML\" may not be 1". Empty for
// rows that are not about a control word.
std::vector<std::string> offending_bits(const CheckFailure& failure,
                                        const CapabilityProfile& profile);

std::string to_text(const Diagnosis& diagnosis, const CapabilityProfile& profile);
nlohmann::json to_json(const Diagnosis& diagnosis, const CapabilityProfile& profile);

}  // namespace cupel::vtx
