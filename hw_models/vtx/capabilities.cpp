#include "hw_models/vtx/capabilities.h"

#include <algorithm>

#include "core/x86/msr.h"
#include "core/x86/registers.h"
#include "core/x86/vmx_controls.h"

namespace cupel::vtx {
namespace {

using namespace x86;

// Which control word a field depends on.
enum class Word : uint8_t { pin, proc, proc2, proc3, exit, exit2, entry, vmfunc };

struct FieldCondition {
  uint32_t first, last;  // encodings, inclusive
  Word word;
  uint64_t bits;  // any of them
};

// SDM vol. 3D, "Field Encoding in VMCS", footnotes. Fields not listed always exist; a field listed
// twice exists when either row holds.
constexpr FieldCondition kConditions[] = {
    {0x0000, 0x0000, Word::proc2, proc2::enable_vpid},
    {0x0002, 0x0002, Word::pin, pin::process_posted_interrupts},
    {0x0004, 0x0004, Word::proc2, proc2::ept_violation_ve},
    {0x0006, 0x0006, Word::proc3, proc3::enable_hlat},
    {0x0008, 0x0008, Word::proc3, proc3::ipi_virtualization},
    {0x0810, 0x0810, Word::proc2, proc2::virtual_interrupt_delivery},
    {0x0812, 0x0812, Word::proc2, proc2::enable_pml},
    {0x0814, 0x0814, Word::entry, entryctl::load_uinv},
    {0x0814, 0x0814, Word::exit, exitctl::clear_uinv},
    {0x2004, 0x2004, Word::proc, proc::msr_bitmaps},
    {0x200e, 0x200e, Word::proc2, proc2::enable_pml},
    {0x2012, 0x2012, Word::proc, proc::tpr_shadow},
    {0x2014, 0x2014, Word::proc2, proc2::virtualize_apic_accesses},
    {0x2016, 0x2016, Word::pin, pin::process_posted_interrupts},
    {0x2018, 0x2018, Word::proc2, proc2::enable_vmfunc},
    {0x201a, 0x201a, Word::proc2, proc2::enable_ept},
    {0x201c, 0x2022, Word::proc2, proc2::virtual_interrupt_delivery},
    {0x2024, 0x2024, Word::vmfunc, vmfunc::eptp_switching},
    {0x2026, 0x2028, Word::proc2, proc2::vmcs_shadowing},
    {0x202a, 0x202a, Word::proc2, proc2::ept_violation_ve},
    {0x202c, 0x202c, Word::proc2, proc2::enable_xsaves},
    {0x202e, 0x202e, Word::proc2, proc2::encls_exiting},
    {0x2030, 0x2030, Word::proc2, proc2::sub_page_permissions},
    {0x2032, 0x2032, Word::proc2, proc2::tsc_scaling},
    {0x2034, 0x2034, Word::proc, proc::tertiary_controls},
    {0x2036, 0x2036, Word::proc2, proc2::enclv_exiting},
    {0x2038, 0x203a, Word::proc2, proc2::pasid_translation},
    {0x203c, 0x203c, Word::proc3, proc3::seam_guest_physical_width},
    {0x203e, 0x203e, Word::proc2, proc2::enable_pconfig},
    {0x2040, 0x2040, Word::proc3, proc3::enable_hlat},
    {0x2042, 0x2042, Word::proc3, proc3::ipi_virtualization},
    {0x2044, 0x2044, Word::exit, exitctl::secondary_controls},
    {0x204a, 0x204c, Word::proc3, proc3::virtualize_spec_ctrl},
    {0x2052, 0x2052, Word::entry, entryctl::load_fred},
    {0x2400, 0x2400, Word::proc2, proc2::enable_ept},
    {0x2402, 0x2402, Word::proc3, proc3::enable_msr_list},
    {0x2404, 0x2404, Word::entry, entryctl::load_fred},
    {0x2804, 0x2804, Word::entry, entryctl::load_pat},
    {0x2804, 0x2804, Word::exit, exitctl::save_pat},
    {0x2806, 0x2806, Word::entry, entryctl::load_efer},
    {0x2806, 0x2806, Word::exit, exitctl::save_efer},
    {0x2808, 0x2808, Word::entry, entryctl::load_perf_global_ctrl},
    {0x2808, 0x2808, Word::exit, exitctl::save_perf_global_ctrl},
    {0x280a, 0x2810, Word::proc2, proc2::enable_ept},
    {0x2812, 0x2812, Word::entry, entryctl::load_bndcfgs},
    {0x2812, 0x2812, Word::exit, exitctl::clear_bndcfgs},
    {0x2814, 0x2814, Word::entry, entryctl::load_rtit_ctl},
    {0x2814, 0x2814, Word::exit, exitctl::clear_rtit_ctl},
    {0x2816, 0x2816, Word::entry, entryctl::load_lbr_ctl},
    {0x2816, 0x2816, Word::exit, exitctl::clear_lbr_ctl},
    {0x2818, 0x2818, Word::entry, entryctl::load_pkrs},
    {0x281a, 0x2828, Word::entry, entryctl::load_fred},
    {0x281a, 0x2828, Word::exit2, exitctl2::save_fred},
    {0x2c00, 0x2c00, Word::exit, exitctl::load_pat},
    {0x2c02, 0x2c02, Word::exit, exitctl::load_efer},
    {0x2c04, 0x2c04, Word::exit, exitctl::load_perf_global_ctrl},
    {0x2c06, 0x2c06, Word::exit, exitctl::load_pkrs},
    {0x2c08, 0x2c16, Word::exit2, exitctl2::load_fred},
    {0x401c, 0x401c, Word::proc, proc::tpr_shadow},
    {0x401e, 0x401e, Word::proc, proc::secondary_controls},
    {0x4020, 0x4022, Word::proc2, proc2::pause_loop_exiting},
    {0x4024, 0x4024, Word::proc2, proc2::instruction_timeout},
    {0x482e, 0x482e, Word::pin, pin::preemption_timer},
    {0x6828, 0x682c, Word::entry, entryctl::load_cet},
    {0x6c18, 0x6c1c, Word::exit, exitctl::load_cet},
};

// The settings a word may have, with those of the words that activate it.
uint64_t offered(const CapabilityProfile& p, Word word) {
  const bool secondary = p.proc.offers(proc::secondary_controls);
  switch (word) {
    case Word::pin:
      return p.pin.allowed;
    case Word::proc:
      return p.proc.allowed;
    case Word::proc2:
      return secondary ? p.proc2.allowed : 0;
    case Word::proc3:
      return p.proc.offers(proc::tertiary_controls) ? p.proc3 : 0;
    case Word::exit:
      return p.exit.allowed;
    case Word::exit2:
      return p.exit.offers(exitctl::secondary_controls) ? p.exit2 : 0;
    case Word::entry:
      return p.entry.allowed;
    case Word::vmfunc:
      return secondary && p.proc2.offers(proc2::enable_vmfunc) ? p.vmfunc : 0;
  }
  return 0;
}

constexpr uint32_t kEncodings[] = {
#define CUPEL_VMCS_FIELD(width, name, encoding) encoding,
#include "core/x86/vmcs_fields.def"
#undef CUPEL_VMCS_FIELD
};

uint64_t basic_msr(const CapabilityProfile& p) {
  constexpr uint64_t region_size = 4096, write_back = 6;
  return p.revision | region_size << 32 | uint64_t{p.dual_monitor} << 49 | write_back << 50 |
         1ull << 54 /* INS/OUTS information */ | 1ull << 55 /* TRUE controls */ |
         uint64_t{p.exception_error_code_optional} << 56;
}

uint64_t misc_msr(const CapabilityProfile& p) {
  return p.preemption_timer_shift | 1ull << 5 /* exits store EFER.LMA */ |
         uint64_t{p.activity_hlt} << 6 | uint64_t{p.activity_shutdown} << 7 |
         uint64_t{p.activity_wait_for_sipi} << 8 | uint64_t{p.cr3_targets} << 16 |
         uint64_t{p.vmwrite_any_field} << 29 | uint64_t{p.inject_zero_length} << 30 | p.misc_other;
}

uint64_t vmcs_enum_msr(const CapabilityProfile& p) {
  uint32_t highest = 0;
  for (const uint32_t encoding : kEncodings)
    if (p.has_field(encoding)) highest = std::max(highest, encoding >> 1 & 0x1ff);
  return uint64_t{highest} << 1;
}

}  // namespace

bool CapabilityProfile::has_field(uint32_t encoding) const {
  const uint32_t full = encoding & ~1u;
  bool conditional = false;
  for (const auto& c : kConditions) {
    if (full < c.first || full > c.last) continue;
    if ((offered(*this, c.word) & c.bits) != 0) return true;
    conditional = true;
  }
  return !conditional &&
         std::find(std::begin(kEncodings), std::end(kEncodings), full) != std::end(kEncodings);
}

bool CapabilityProfile::activity_supported(uint64_t activity) const {
  switch (activity) {
    case 0:
      return true;
    case 1:
      return activity_hlt;
    case 2:
      return activity_shutdown;
    case 3:
      return activity_wait_for_sipi;
    default:
      return false;
  }
}

std::optional<uint64_t> CapabilityProfile::msr(uint32_t index) const {
  const bool secondary = proc.offers(proc::secondary_controls);
  switch (index) {
    case msr::VMX_BASIC:
      return basic_msr(*this);
    case msr::VMX_PINBASED:
      return pin.msr();
    case msr::VMX_PROCBASED:
      return proc.msr();
    case msr::VMX_EXIT:
      return exit.msr();
    case msr::VMX_ENTRY:
      return entry.msr();
    case msr::VMX_MISC:
      return misc_msr(*this);
    case msr::VMX_CR0_FIXED0:
      return cr0_fixed0;
    case msr::VMX_CR0_FIXED1:
      return cr0_fixed1;
    case msr::VMX_CR4_FIXED0:
      return cr4_fixed0;
    case msr::VMX_CR4_FIXED1:
      return cr4_fixed1;
    case msr::VMX_VMCS_ENUM:
      return vmcs_enum_msr(*this);
    case msr::VMX_PROCBASED2:
      if (secondary) return proc2.msr();
      break;
    case msr::VMX_EPT_VPID_CAP:
      if (secondary && (proc2.offers(proc2::enable_ept) || proc2.offers(proc2::enable_vpid)))
        return ept_vpid;
      break;
    case msr::VMX_TRUE_PINBASED:
      return pin.true_msr();
    case msr::VMX_TRUE_PROCBASED:
      return proc.true_msr();
    case msr::VMX_TRUE_EXIT:
      return exit.true_msr();
    case msr::VMX_TRUE_ENTRY:
      return entry.true_msr();
    case msr::VMX_VMFUNC:
      if (secondary && proc2.offers(proc2::enable_vmfunc)) return vmfunc;
      break;
    case msr::VMX_PROCBASED3:
      if (proc.offers(proc::tertiary_controls)) return proc3;
      break;
    case msr::VMX_EXIT2:
      if (exit.offers(exitctl::secondary_controls)) return exit2;
      break;
    default:
      break;
  }
  return std::nullopt;
}

uint64_t cr4_supported(const x86::CpuidTable& cpuid) {
  const auto features = cpuid.get(1, 0);
  const auto extended = cpuid.get(7, 0);
  const auto more = cpuid.get(7, 0).eax >= 1 ? cpuid.get(7, 1) : x86::CpuidLeaf{};
  struct Row {
    uint32_t reg;
    unsigned bit;
    uint64_t cr4;
  };
  const Row rows[] = {
      {features.edx, 1, cr4::VME | cr4::PVI},
      {features.edx, 2, cr4::DE},
      {features.edx, 3, cr4::PSE},
      {features.edx, 4, cr4::TSD},
      {features.edx, 6, cr4::PAE},
      {features.edx, 7, cr4::MCE},
      {features.edx, 13, cr4::PGE},
      {features.edx, 24, cr4::OSFXSR},
      {features.edx, 25, cr4::OSXMMEXCPT},
      {features.ecx, 5, cr4::VMXE},
      {features.ecx, 6, cr4::SMXE},
      {features.ecx, 17, cr4::PCIDE},
      {features.ecx, 26, cr4::OSXSAVE},
      {extended.ebx, 0, cr4::FSGSBASE},
      {extended.ebx, 7, cr4::SMEP},
      {extended.ebx, 20, cr4::SMAP},
      {extended.ecx, 2, cr4::UMIP},
      {extended.ecx, 3, cr4::PKE},
      {extended.ecx, 7, cr4::CET},
      {extended.ecx, 16, cr4::LA57},
      {extended.ecx, 23, cr4::KL},
      {extended.ecx, 31, cr4::PKS},
      {extended.edx, 5, cr4::UINTR},
      {extended.edx, 20, cr4::CET},
      {more.eax, 17, cr4::FRED},
      {more.eax, 26, cr4::LAM_SUP},
  };
  uint64_t supported = cr4::PCE;
  for (const auto& row : rows)
    if ((row.reg >> row.bit & 1) != 0) supported |= row.cr4;
  return supported;
}

}  // namespace cupel::vtx
