// Checks on the guest's control registers, debug registers and MSRs.
#include "hw_models/vtx/entry_checks_msrs.h"

namespace cupel::vtx {
namespace {

using namespace x86;
using namespace checks;
using S = const EntryState&;

constexpr const char* kSection = "Checks on Guest Control Registers, Debug Registers, and MSRs";

constexpr F kEntry = F::entry_controls, kProc = F::primary_processor_controls,
            kProc2 = F::secondary_processor_controls;

// CR0.NW and CR0.CD are never checked; PE and PG are free for an unrestricted guest.
bool cr0_fixed(S s) {
  constexpr uint64_t unchecked = cr0::NW | cr0::CD;
  uint64_t must = s.capabilities.cr0_fixed0 & ~unchecked;
  if (s.unrestricted()) must &= ~(cr0::PE | cr0::PG);
  return fixed(s[F::guest_cr0], must, s.capabilities.cr0_fixed1 | unchecked);
}

bool efer_lme(S s) {
  if (!s.entry(entryctl::load_efer) || (s[F::guest_cr0] & cr0::PG) == 0) return true;
  const uint64_t value = s[F::guest_efer];
  return ((value & efer::LMA) != 0) == ((value & efer::LME) != 0);
}

// Bits that `reserved` says are 0 when the entry control loads the MSR.
template <uint32_t control, F field, uint64_t ProcessorFeatures::*defined>
bool msr_reserved(S s) {
  return !s.entry(control) || (s[field] & ~(s.capabilities.features.*defined)) == 0;
}

bool cet(S s) { return s.entry(entryctl::load_cet); }
bool fred(S s) { return s.entry(entryctl::load_fred); }
template <F field, uint64_t alignment>
bool fred_pointer(S s) {
  return !fred(s) || fred_stack(s, s[field], alignment);
}

#define FRED_ROW(name, alignment, text)                                  \
  {                                                                      \
    "guest.fred_" #name, kSection, fields(kEntry, F::guest_fred_##name), \
        fred_pointer<F::guest_fred_##name, alignment>, text              \
  }

constexpr CheckRow kRows[] = {
    {"guest.cr0.fixed", kSection, fields(F::guest_cr0, kProc, kProc2), cr0_fixed,
     "as IA32_VMX_CR0_FIXED0/1 (486H, 487H) require; PE and PG free for an unrestricted guest"},
    {"guest.cr0.pg_without_pe", kSection, fields(F::guest_cr0),
     [](S s) { return (s[F::guest_cr0] & cr0::PG) == 0 || (s[F::guest_cr0] & cr0::PE) != 0; },
     "PG only with PE"},
    {"guest.cr4.fixed", kSection, fields(F::guest_cr4),
     [](S s) {
       return fixed(s[F::guest_cr4], s.capabilities.cr4_fixed0, s.capabilities.cr4_fixed1);
     },
     "as IA32_VMX_CR4_FIXED0/1 (488H, 489H) require"},
    {"guest.cr4.cet", kSection, fields(F::guest_cr0, F::guest_cr4),
     [](S s) { return cet_with_wp(s[F::guest_cr0], s[F::guest_cr4]); }, kCetWp},
    {"guest.debugctl.reserved", kSection, fields(kEntry, F::guest_debugctl),
     msr_reserved<entryctl::load_debug_controls, F::guest_debugctl, &ProcessorFeatures::debugctl>,
     "bits that IA32_DEBUGCTL reserves are 0 when \"load debug controls\" is 1"},
    {"guest.ia32e.paging", kSection, fields(kEntry, F::guest_cr0, F::guest_cr4),
     [](S s) {
       return !s.ia32e_guest() ||
              ((s[F::guest_cr0] & cr0::PG) != 0 && (s[F::guest_cr4] & cr4::PAE) != 0);
     },
     "\"IA-32e mode guest\" needs CR0.PG and CR4.PAE"},
    {"guest.cr4.pcide", kSection, fields(kEntry, F::guest_cr4),
     [](S s) { return s.ia32e_guest() || (s[F::guest_cr4] & cr4::PCIDE) == 0; },
     "CR4.PCIDE needs \"IA-32e mode guest\""},
    {"guest.cr4.fred", kSection, fields(kEntry, F::guest_cr4),
     [](S s) { return s.ia32e_guest() || (s[F::guest_cr4] & cr4::FRED) == 0; },
     "CR4.FRED needs \"IA-32e mode guest\""},
    {"guest.cr3.width", kSection, fields(F::guest_cr3),
     [](S s) { return cr3_width(s, s[F::guest_cr3]); }, kWidth},
    {"guest.dr7.high", kSection, fields(kEntry, F::guest_dr7),
     [](S s) { return !s.entry(entryctl::load_debug_controls) || s[F::guest_dr7] >> 32 == 0; },
     "bits 63:32 are 0 when \"load debug controls\" is 1"},
    {"guest.sysenter_esp.canonical", kSection, fields(F::guest_sysenter_esp),
     [](S s) { return s.canonical(s[F::guest_sysenter_esp]); }, kCanonical},
    {"guest.sysenter_eip.canonical", kSection, fields(F::guest_sysenter_eip),
     [](S s) { return s.canonical(s[F::guest_sysenter_eip]); }, kCanonical},
    {"guest.s_cet.canonical", kSection, fields(kEntry, F::guest_s_cet),
     [](S s) { return !cet(s) || s.canonical(s[F::guest_s_cet]); }, kCanonical},
    {"guest.interrupt_ssp_table.canonical", kSection, fields(kEntry, F::guest_interrupt_ssp_table),
     [](S s) { return !cet(s) || s.canonical(s[F::guest_interrupt_ssp_table]); }, kCanonical},
    {"guest.perf_global_ctrl.reserved", kSection, fields(kEntry, F::guest_perf_global_ctrl),
     msr_reserved<entryctl::load_perf_global_ctrl, F::guest_perf_global_ctrl,
                  &ProcessorFeatures::perf_global_ctrl>,
     "reserved bits are 0 when \"load IA32_PERF_GLOBAL_CTRL\" is 1"},
    {"guest.pat.types", kSection, fields(kEntry, F::guest_pat),
     [](S s) { return !s.entry(entryctl::load_pat) || pat_types_valid(s[F::guest_pat]); },
     "each byte is 0, 1, 4, 5, 6 or 7 when \"load IA32_PAT\" is 1"},
    {"guest.efer.reserved", kSection, fields(kEntry, F::guest_efer),
     [](S s) { return !s.entry(entryctl::load_efer) || efer_reserved_clear(s[F::guest_efer]); },
     "reserved bits are 0 when \"load IA32_EFER\" is 1"},
    {"guest.efer.lma", kSection, fields(kEntry, F::guest_efer),
     [](S s) {
       return !s.entry(entryctl::load_efer) ||
              ((s[F::guest_efer] & efer::LMA) != 0) == s.ia32e_guest();
     },
     "LMA equals \"IA-32e mode guest\" when \"load IA32_EFER\" is 1"},
    {"guest.efer.lme", kSection, fields(kEntry, F::guest_efer, F::guest_cr0), efer_lme,
     "LME equals LMA when CR0.PG is 1 and \"load IA32_EFER\" is 1"},
    {"guest.bndcfgs.reserved", kSection, fields(kEntry, F::guest_bndcfgs),
     [](S s) { return !s.entry(entryctl::load_bndcfgs) || (s[F::guest_bndcfgs] & 0xffc) == 0; },
     "bits 11:2 are 0 when \"load IA32_BNDCFGS\" is 1"},
    {"guest.bndcfgs.canonical", kSection, fields(kEntry, F::guest_bndcfgs),
     [](S s) {
       return !s.entry(entryctl::load_bndcfgs) || s.canonical(s[F::guest_bndcfgs] & ~0xfffull);
     },
     "the linear address in bits 63:12 is canonical when \"load IA32_BNDCFGS\" is 1"},
    {"guest.rtit_ctl.reserved", kSection, fields(kEntry, F::guest_rtit_ctl),
     msr_reserved<entryctl::load_rtit_ctl, F::guest_rtit_ctl, &ProcessorFeatures::rtit_ctl>,
     "reserved bits are 0 when \"load IA32_RTIT_CTL\" is 1"},
    {"guest.s_cet.reserved", kSection, fields(kEntry, F::guest_s_cet),
     [](S s) { return !cet(s) || s_cet_reserved_clear(s, s[F::guest_s_cet]); }, kSCet},
    {"guest.s_cet.tracker", kSection, fields(kEntry, F::guest_s_cet),
     [](S s) { return !cet(s) || s_cet_tracker(s[F::guest_s_cet]); }, kTracker},
    {"guest.lbr_ctl.reserved", kSection, fields(kEntry, F::guest_lbr_ctl),
     msr_reserved<entryctl::load_lbr_ctl, F::guest_lbr_ctl, &ProcessorFeatures::lbr_ctl>,
     "reserved bits are 0 when \"load guest IA32_LBR_CTL\" is 1"},
    {"guest.pkrs.high", kSection, fields(kEntry, F::guest_pkrs),
     [](S s) { return !s.entry(entryctl::load_pkrs) || s[F::guest_pkrs] >> 32 == 0; }, kLow32},
    {"guest.uinv.reserved", kSection, fields(kEntry, F::guest_uinv),
     [](S s) { return !s.entry(entryctl::load_uinv) || s[F::guest_uinv] <= 0xff; },
     "bits 15:8 are 0 when \"load UINV\" is 1"},
    {"guest.fred_config", kSection, fields(kEntry, F::guest_fred_config),
     [](S s) { return !fred(s) || fred_config(s, s[F::guest_fred_config]); }, kFredConfig},
    FRED_ROW(rsp1, 64, kFredStack),
    FRED_ROW(rsp2, 64, kFredStack),
    FRED_ROW(rsp3, 64, kFredStack),
    FRED_ROW(ssp1, 8, kFredShadow),
    FRED_ROW(ssp2, 8, kFredShadow),
    FRED_ROW(ssp3, 8, kFredShadow),
};

#undef FRED_ROW

}  // namespace

CheckSection guest_register_checks() { return section<kRows>(); }

}  // namespace cupel::vtx
