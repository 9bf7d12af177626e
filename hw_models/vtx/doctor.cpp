#include "hw_models/vtx/doctor.h"

#include "core/x86/vmx_controls.h"
#include "hw_models/vtx/control_table.h"

namespace cupel::vtx {
namespace {

// A little memory of zeros; everything beyond it reads as ones.
constexpr uint64_t kZeros = 0, kOnes = 1_GiB;
const PhysicalMemory& blank_memory() {
  static const auto memory = std::move(PhysicalMemory::create(64_KiB)).value();
  return *memory;
}

EntryState offline(const Vmcs& vmcs, const CapabilityProfile& profile, const HostState& host,
                   const DumpOptions& options) {
  constexpr Hpa unknown_vmcs{~0ull};
  return {{},
          vmcs,
          profile,
          host,
          blank_memory(),
          unknown_vmcs,
          options.physical_bits,
          options.linear_bits};
}

// The VMCS with what it points to at `place`, where the pointers are good.
Vmcs pointing_to(const EntryState& s, uint64_t place) {
  Vmcs moved = s.vmcs;
  for (const F f : {F::virtual_apic_address, F::vmcs_link_pointer})
    if (s.structure(moved[f])) moved[f] = place;
  moved[F::guest_cr3] = place;
  return moved;
}

// Rows on memory: decided when they hold whether memory is all zeros or all ones.
std::vector<const CheckRow*> undecided_rows(const EntryState& s) {
  const Vmcs zeros = pointing_to(s, kZeros), ones = pointing_to(s, kOnes);
  const auto with = [&s](const Vmcs& vmcs) -> EntryState {
    return {{},       vmcs,           s.capabilities,  s.host,
            s.memory, s.current_vmcs, s.physical_bits, s.linear_bits};
  };
  const EntryState at_zeros = with(zeros), at_ones = with(ones);
  std::vector<const CheckRow*> rows;
  const CheckTable& table = CheckTable::instance();
  table.reading_memory().for_each([&](size_t n) {
    const CheckRow& row = table.row(n);
    if (!row.holds(at_zeros) || !row.holds(at_ones)) rows.push_back(&row);
  });
  return rows;
}

// Fields that nobody gave although the profile has them and a check reads them.
std::vector<F> missing_fields(const VmcsDump& dump, const CapabilityProfile& profile) {
  std::vector<F> missing;
  for (size_t n = 0; n < kFieldCount; ++n) {
    const F f = static_cast<F>(n);
    const bool read = !CheckTable::instance().reading(f).empty();
    if (f == F::vmcs_link_pointer) continue;  // an assumption of its own
    if (read && !dump.has(f) && profile.has_field(encoding_of(f))) missing.push_back(f);
  }
  return missing;
}

std::vector<const WarningRow*> warnings_of(const EntryState& state) {
  std::vector<const WarningRow*> all;
  for (const WarningRow& row : warning_rows())
    if (row.applies(state)) all.push_back(&row);
  return all;
}

}  // namespace

Diagnosis diagnose(std::span<const CheckFailure> failures, const CapabilityProfile& profile) {
  Diagnosis d;
  d.profile = profile.name;
  d.failures.assign(failures.begin(), failures.end());
  return d;
}

Diagnosis diagnose(const VmcsDump& dump, const CapabilityProfile& profile,
                   const DumpOptions& options) {
  Diagnosis d;
  d.profile = profile.name;
  Vmcs vmcs = dump.vmcs;
  if (!dump.has(F::vmcs_link_pointer)) {
    vmcs[F::vmcs_link_pointer] = ~0ull;
    d.assumptions.emplace_back("the VMCS link pointer, not given, is FFFFFFFF_FFFFFFFFH");
  }
  HostState host;
  if (!options.host_ia32e) host.efer = 0;
  d.assumptions.emplace_back(options.host_ia32e
                                 ? "the processor is in IA-32e mode at VM entry"
                                 : "the processor is outside IA-32e mode at VM entry");
  d.assumptions.emplace_back("the processor is outside SMM and does not trace (Intel PT)");
  const EntryState state = offline(vmcs, profile, host, options);
  RowSet rows = CheckTable::instance().all();
  CheckTable::instance().reading_memory().for_each([&rows](size_t n) { rows.remove(n); });
  run_checks(state, rows, d.failures);
  d.undecided = undecided_rows(state);
  d.warnings = warnings_of(state);
  d.missing = missing_fields(dump, profile);
  return d;
}

std::string result_of(CheckStage stage, uint8_t qualification) {
  switch (stage) {
    case CheckStage::controls:
      return "VM-instruction error 7, \"VM entry with invalid control field(s)\"";
    case CheckStage::host:
      return "VM-instruction error 8, \"VM entry with invalid host-state field(s)\"";
    case CheckStage::guest:
      break;
  }
  return "VM exit with reason 80000021H, \"VM-entry failure due to invalid guest state\", "
         "qualification " +
         std::to_string(qualification);
}

std::vector<std::string> offending_bits(const CheckFailure& failure,
                                        const CapabilityProfile& profile) {
  const std::string_view id = failure.row->id;
  if (!id.starts_with("control.") || !id.ends_with(".reserved")) return {};
  std::vector<std::string> lines;
  for (const auto& [field, value] : failure.values) {
    const auto word = control_word_of(field);
    // Of the words a row reads it is about the last one.
    if (!word || field != failure.values.back().field) continue;
    const uint64_t allowed = allowed_bits(profile, *word), required = required_bits(profile, *word);
    for (unsigned bit = 0; bit < 64; ++bit) {
      const bool set = (value >> bit & 1) != 0;
      const bool wrong = set ? (allowed >> bit & 1) == 0 : (required >> bit & 1) != 0;
      if (!wrong) continue;
      const char* name = control_name(*word, bit);
      lines.push_back("bit " + std::to_string(bit) +
                      (name != nullptr ? " \"" + std::string(name) + "\"" : " (reserved)") +
                      (set ? " may not be 1" : " must be 1"));
    }
  }
  return lines;
}

}  // namespace cupel::vtx
