// Checks on the host-state area.
#include "hw_models/vtx/entry_checks.h"

namespace cupel::vtx {
namespace {

using namespace x86;
using S = const EntryState&;

constexpr const char* kRegisters = "Checks on Host Control Registers, MSRs, and SSP";
constexpr const char* kSegments = "Checks on Host Segment and Descriptor-Table Registers";
constexpr const char* kSize = "Checks Related to Address-Space Size";

constexpr F kExit = F::exit_controls, kEntry = F::entry_controls;

bool fixed(uint64_t value, uint64_t must, uint64_t may) {
  return (value & must) == must && (value & ~may) == 0;
}

bool host64(S s) { return s.exit(exitctl::host_address_space_size); }

template <F field>
bool selector(S s) {
  return (s[field] & 7) == 0;
}
template <F field>
bool canonical(S s) {
  return s.canonical(s[field]);
}
constexpr const char* kSelector = "RPL (bits 1:0) and TI (bit 2) are 0";
constexpr const char* kCanonical = "canonical";

constexpr CheckRow kRows[] = {
    {"host.cr0.fixed", kRegisters, fields(F::host_cr0),
     [](S s) {
       return fixed(s[F::host_cr0], s.capabilities.cr0_fixed0, s.capabilities.cr0_fixed1);
     },
     "as IA32_VMX_CR0_FIXED0/1 (486H, 487H) require"},
    {"host.cr4.fixed", kRegisters, fields(F::host_cr4),
     [](S s) {
       return fixed(s[F::host_cr4], s.capabilities.cr4_fixed0, s.capabilities.cr4_fixed1);
     },
     "as IA32_VMX_CR4_FIXED0/1 (488H, 489H) require"},
    {"host.cr3.width", kRegisters, fields(F::host_cr3),
     [](S s) { return s.physical(s[F::host_cr3]); },
     "bits beyond the physical-address width are 0"},
    {"host.sysenter_esp.canonical", kRegisters, fields(F::host_sysenter_esp),
     canonical<F::host_sysenter_esp>, kCanonical},
    {"host.sysenter_eip.canonical", kRegisters, fields(F::host_sysenter_eip),
     canonical<F::host_sysenter_eip>, kCanonical},
    {"host.pat.types", kRegisters, fields(kExit, F::host_pat),
     [](S s) { return !s.exit(exitctl::load_pat) || pat_types_valid(s[F::host_pat]); },
     "each byte is 0, 1, 4, 5, 6 or 7 when \"load IA32_PAT\" is 1"},
    {"host.efer.reserved", kRegisters, fields(kExit, F::host_efer),
     [](S s) {
       constexpr uint64_t defined = efer::SCE | efer::LME | efer::LMA | efer::NXE;
       return !s.exit(exitctl::load_efer) || (s[F::host_efer] & ~defined) == 0;
     },
     "reserved bits are 0 when \"load IA32_EFER\" is 1"},
    {"host.efer.address_space_size", kRegisters, fields(kExit, F::host_efer),
     [](S s) {
       if (!s.exit(exitctl::load_efer)) return true;
       const uint64_t both = efer::LME | efer::LMA;
       return (s[F::host_efer] & both) == (host64(s) ? both : 0);
     },
     "LMA and LME both equal \"host address-space size\""},

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
     [](S s) { return host64(s) || s[F::host_ss_selector] != 0; },
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

    {"host.address_space_size.mode", kSize, fields(kExit, kEntry),
     [](S s) { return s.host.ia32e() ? host64(s) : !host64(s) && !s.ia32e_guest(); },
     "1 when the processor is in IA-32e mode at VM entry; else 0, with \"IA-32e mode guest\" 0"},
    {"host.address_space_size.guest", kSize, fields(kExit, kEntry),
     [](S s) { return host64(s) || !s.ia32e_guest(); },
     "\"IA-32e mode guest\" is 0 when \"host address-space size\" is 0"},
    {"host.cr4.pcide", kSize, fields(kExit, F::host_cr4),
     [](S s) { return host64(s) || (s[F::host_cr4] & cr4::PCIDE) == 0; },
     "CR4.PCIDE is 0 when \"host address-space size\" is 0"},
    {"host.cr4.pae", kSize, fields(kExit, F::host_cr4),
     [](S s) { return !host64(s) || (s[F::host_cr4] & cr4::PAE) != 0; },
     "CR4.PAE is 1 when \"host address-space size\" is 1"},
    {"host.rip", kSize, fields(kExit, F::host_rip),
     [](S s) { return host64(s) ? s.canonical(s[F::host_rip]) : s[F::host_rip] >> 32 == 0; },
     "canonical; bits 63:32 are 0 when \"host address-space size\" is 0"},
};

}  // namespace

std::span<const CheckRow> host_checks() { return kRows; }

}  // namespace cupel::vtx
