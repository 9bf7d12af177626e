// Checks on the host-state area.
#include "hw_models/vtx/entry_checks_msrs.h"

namespace cupel::vtx {
namespace {

using namespace x86;
using namespace checks;
using S = const EntryState&;

constexpr const char* kRegisters = "Checks on Host Control Registers, MSRs, and SSP";
constexpr const char* kSegments = "Checks on Host Segment and Descriptor-Table Registers";
constexpr const char* kSize = "Checks Related to Address-Space Size";

constexpr F kExit = F::exit_controls, kEntry = F::entry_controls,
            kExit2 = F::secondary_exit_controls;

// CR0.NW and CR0.CD "are never checked because the values of these bits are not changed by VM
// exit".
constexpr uint64_t kUnchecked = cr0::NW | cr0::CD;

template <F field>
bool selector(S s) {
  return (s[field] & 7) == 0;
}
template <F field>
bool canonical(S s) {
  return s.canonical(s[field]);
}
constexpr const char* kSelector = "RPL (bits 1:0) and TI (bit 2) are 0";

bool efer_address_space_size(S s) {
  if (!s.exit(exitctl::load_efer)) return true;
  const uint64_t both = efer::LME | efer::LMA;
  return (s[F::host_efer] & both) == (s.host64() ? both : 0);
}

bool cet(S s) { return s.exit(exitctl::load_cet); }
bool fred(S s) { return s.exit2(exitctl2::load_fred); }
template <F field, uint64_t alignment>
bool fred_pointer(S s) {
  return !fred(s) || fred_stack(s, s[field], alignment);
}

// The host will run with CR4 of the host-state area, so its LA57 decides.
bool rip(S s) {
  const bool la57 = (s[F::host_cr4] & cr4::LA57) != 0;
  return !s.host64() || EntryState::canonical(s[F::host_rip], la57 ? 57 : 48);
}

template <F field>
bool cet_high(S s) {
  return !cet(s) || s.host64() || s[field] >> 32 == 0;
}
template <F field>
bool cet_canonical(S s) {
  return !cet(s) || !s.host64() || s.canonical(s[field]);
}

#define FRED_ROW(name, alignment, text)                                         \
  {                                                                             \
    "host.fred_" #name, kRegisters, fields(kExit, kExit2, F::host_fred_##name), \
        fred_pointer<F::host_fred_##name, alignment>, text                      \
  }

constexpr CheckRow kRows[] = {
    {"host.cr0.fixed", kRegisters, fields(F::host_cr0),
     [](S s) {
       const auto& c = s.capabilities;
       return fixed(s[F::host_cr0], c.cr0_fixed0 & ~kUnchecked, c.cr0_fixed1 | kUnchecked);
     },
     "as IA32_VMX_CR0_FIXED0/1 (486H, 487H) require"},
    {"host.cr4.fixed", kRegisters, fields(F::host_cr4),
     [](S s) {
       return fixed(s[F::host_cr4], s.capabilities.cr4_fixed0, s.capabilities.cr4_fixed1);
     },
     "as IA32_VMX_CR4_FIXED0/1 (488H, 489H) require"},
    {"host.cr4.cet", kRegisters, fields(F::host_cr0, F::host_cr4),
     [](S s) { return cet_with_wp(s[F::host_cr0], s[F::host_cr4]); }, kCetWp},
    {"host.cr3.width", kRegisters, fields(F::host_cr3),
     [](S s) { return cr3_width(s, s[F::host_cr3]); }, kWidth},
    {"host.sysenter_esp.canonical", kRegisters, fields(F::host_sysenter_esp),
     canonical<F::host_sysenter_esp>, kCanonical},
    {"host.sysenter_eip.canonical", kRegisters, fields(F::host_sysenter_eip),
     canonical<F::host_sysenter_eip>, kCanonical},
    {"host.perf_global_ctrl.reserved", kRegisters, fields(kExit, F::host_perf_global_ctrl),
     [](S s) {
       return !s.exit(exitctl::load_perf_global_ctrl) ||
              (s[F::host_perf_global_ctrl] & ~s.capabilities.features.perf_global_ctrl) == 0;
     },
     "reserved bits are 0 when \"load IA32_PERF_GLOBAL_CTRL\" is 1"},
    {"host.pat.types", kRegisters, fields(kExit, F::host_pat),
     [](S s) { return !s.exit(exitctl::load_pat) || pat_types_valid(s[F::host_pat]); },
     "each byte is 0, 1, 4, 5, 6 or 7 when \"load IA32_PAT\" is 1"},
    {"host.efer.reserved", kRegisters, fields(kExit, F::host_efer),
     [](S s) { return !s.exit(exitctl::load_efer) || efer_reserved_clear(s[F::host_efer]); },
     "reserved bits are 0 when \"load IA32_EFER\" is 1"},
    {"host.efer.address_space_size", kRegisters, fields(kExit, F::host_efer),
     efer_address_space_size, "LMA and LME both equal \"host address-space size\""},
    {"host.s_cet.reserved", kRegisters, fields(kExit, F::host_s_cet),
     [](S s) { return !cet(s) || s_cet_reserved_clear(s, s[F::host_s_cet]); }, kSCet},
    {"host.s_cet.tracker", kRegisters, fields(kExit, F::host_s_cet),
     [](S s) { return !cet(s) || s_cet_tracker(s[F::host_s_cet]); }, kTracker},
    {"host.interrupt_ssp_table.canonical", kRegisters, fields(kExit, F::host_interrupt_ssp_table),
     [](S s) { return !cet(s) || s.canonical(s[F::host_interrupt_ssp_table]); }, kCanonical},
    {"host.ssp.alignment", kRegisters, fields(kExit, F::host_ssp),
     [](S s) { return !cet(s) || (s[F::host_ssp] & 3) == 0; }, kAlign4},
    {"host.pkrs.high", kRegisters, fields(kExit, F::host_pkrs),
     [](S s) { return !s.exit(exitctl::load_pkrs) || s[F::host_pkrs] >> 32 == 0; }, kLow32},
    {"host.fred_config", kRegisters, fields(kExit, kExit2, F::host_fred_config),
     [](S s) { return !fred(s) || fred_config(s, s[F::host_fred_config]); }, kFredConfig},
    FRED_ROW(rsp1, 64, kFredStack),
    FRED_ROW(rsp2, 64, kFredStack),
    FRED_ROW(rsp3, 64, kFredStack),
    FRED_ROW(ssp1, 8, kFredShadow),
    FRED_ROW(ssp2, 8, kFredShadow),
    FRED_ROW(ssp3, 8, kFredShadow),

    {"host.es.selector", kSegments, fields(F::host_es_selector), selector<F::host_es_selector>,
     kSelector},
    {"host.cs.selector", kSegments, fields(F::host_cs_selector), selector<F::host_cs_selector>,
     kSelector},
    {"host.ss.selector", kSegments, fields(F::host_ss_selector), selector<F::host_ss_selector>,
     kSelector},
    {"host.ds.selector", kSegments, fields(F::host_ds_selector), selector<F::host_ds_selector>,
     kSelector},
    {"host.fs.selector", kSegments, fields(F::host_fs_selector), selector<F::host_fs_selector>,
     kSelector},
    {"host.gs.selector", kSegments, fields(F::host_gs_selector), selector<F::host_gs_selector>,
     kSelector},
    {"host.tr.selector", kSegments, fields(F::host_tr_selector), selector<F::host_tr_selector>,
     kSelector},
    {"host.cs.null", kSegments, fields(F::host_cs_selector),
     [](S s) { return s[F::host_cs_selector] != 0; }, "not 0"},
    {"host.tr.null", kSegments, fields(F::host_tr_selector),
     [](S s) { return s[F::host_tr_selector] != 0; }, "not 0"},
    {"host.ss.null", kSegments, fields(kExit, F::host_ss_selector),
     [](S s) { return s.host64() || s[F::host_ss_selector] != 0; },
     "not 0 when \"host address-space size\" is 0"},
    {"host.fs_base.canonical", kSegments, fields(F::host_fs_base), canonical<F::host_fs_base>,
     kCanonical},
    {"host.gs_base.canonical", kSegments, fields(F::host_gs_base), canonical<F::host_gs_base>,
     kCanonical},
    {"host.gdtr_base.canonical", kSegments, fields(F::host_gdtr_base), canonical<F::host_gdtr_base>,
     kCanonical},
    {"host.idtr_base.canonical", kSegments, fields(F::host_idtr_base), canonical<F::host_idtr_base>,
     kCanonical},
    {"host.tr_base.canonical", kSegments, fields(F::host_tr_base), canonical<F::host_tr_base>,
     kCanonical},

    {"host.address_space_size.outside_ia32e", kSize, fields(kExit, kEntry),
     [](S s) { return s.host.ia32e() || (!s.host64() && !s.ia32e_guest()); },
     "\"host address-space size\" and \"IA-32e mode guest\" are 0 when the processor is outside "
     "IA-32e mode at VM entry (IA32_EFER.LMA is 0)"},
    {"host.address_space_size.inside_ia32e", kSize, fields(kExit),
     [](S s) { return !s.host.ia32e() || s.host64(); },
     "\"host address-space size\" is 1 when the processor is in IA-32e mode at VM entry "
     "(IA32_EFER.LMA is 1)"},
    {"host.address_space_size.guest", kSize, fields(kExit, kEntry),
     [](S s) { return s.host64() || !s.ia32e_guest(); },
     "\"IA-32e mode guest\" is 0 when \"host address-space size\" is 0"},
    {"host.cr4.pcide", kSize, fields(kExit, F::host_cr4),
     [](S s) { return s.host64() || (s[F::host_cr4] & cr4::PCIDE) == 0; },
     "CR4.PCIDE is 0 when \"host address-space size\" is 0"},
    {"host.cr4.fred", kSize, fields(kExit, F::host_cr4),
     [](S s) { return s.host64() || (s[F::host_cr4] & cr4::FRED) == 0; },
     "CR4.FRED is 0 when \"host address-space size\" is 0"},
    {"host.rip.high", kSize, fields(kExit, F::host_rip),
     [](S s) { return s.host64() || s[F::host_rip] >> 32 == 0; },
     "bits 63:32 are 0 when \"host address-space size\" is 0"},
    {"host.s_cet.high", kSize, fields(kExit, F::host_s_cet), cet_high<F::host_s_cet>,
     "bits 63:32 are 0 when \"host address-space size\" is 0"},
    {"host.ssp.high", kSize, fields(kExit, F::host_ssp), cet_high<F::host_ssp>,
     "bits 63:32 are 0 when \"host address-space size\" is 0"},
    {"host.cr4.pae", kSize, fields(kExit, F::host_cr4),
     [](S s) { return !s.host64() || (s[F::host_cr4] & cr4::PAE) != 0; },
     "CR4.PAE is 1 when \"host address-space size\" is 1"},
    {"host.rip.canonical", kSize, fields(kExit, F::host_rip, F::host_cr4), rip,
     "canonical (48 bits, 57 with CR4.LA57) when \"host address-space size\" is 1"},
    {"host.s_cet.canonical", kSize, fields(kExit, F::host_s_cet), cet_canonical<F::host_s_cet>,
     "canonical when \"host address-space size\" is 1"},
    {"host.ssp.canonical", kSize, fields(kExit, F::host_ssp), cet_canonical<F::host_ssp>,
     "canonical when \"host address-space size\" is 1"},
};

#undef FRED_ROW

}  // namespace

CheckSection host_checks() { return section<kRows>(); }

}  // namespace cupel::vtx
