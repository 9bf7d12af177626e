// Checks on the guest-state area except segmentation: control registers, MSRs, RIP, RFLAGS,
// non-register state and PDPTEs.
#include "hw_models/vtx/entry_checks.h"

namespace cupel::vtx {
namespace {

using namespace x86;
using S = const EntryState&;

constexpr const char* kRegisters = "Checks on Guest Control Registers, Debug Registers, and MSRs";
constexpr const char* kRip = "Checks on Guest RIP, RFLAGS, and SSP";
constexpr const char* kState = "Checks on Guest Non-Register State";
constexpr const char* kPdptes = "Checks on Guest Page-Directory-Pointer-Table Entries";

constexpr F kEntry = F::entry_controls, kProc = F::primary_processor_controls,
            kProc2 = F::secondary_processor_controls;
constexpr F kInfo = F::entry_interruption_info;
constexpr F kBlocking = F::guest_interruptibility_state, kActivity = F::guest_activity_state;

// Exit qualifications of VM-entry failures due to invalid guest state.
// SDM vol. 3C, "VM-Entry Failures During or After Loading Guest State".
constexpr uint8_t kPdpteFailure = 2, kLinkPointerFailure = 4;

bool fixed(uint64_t value, uint64_t must, uint64_t may) {
  return (value & must) == must && (value & ~may) == 0;
}

bool cr0_fixed(S s) {
  uint64_t must = s.capabilities.cr0_fixed0;
  if (s.unrestricted()) must &= ~(cr0::PE | cr0::PG);
  return fixed(s[F::guest_cr0], must, s.capabilities.cr0_fixed1);
}

bool efer_lme(S s) {
  if (!s.entry(entryctl::load_efer) || (s[F::guest_cr0] & cr0::PG) == 0) return true;
  const uint64_t value = s[F::guest_efer];
  return ((value & efer::LMA) != 0) == ((value & efer::LME) != 0);
}

// Low values need no look at CS.
bool rip_width(S s) {
  const uint64_t rip = s[F::guest_rip];
  if (rip >> 32 == 0) return true;
  const bool code64 = s.ia32e_guest() && (s[F::guest_cs_access_rights] >> 13 & 1) != 0;
  return code64 && s.canonical(rip);
}

bool activity_injection(S s) {
  const auto info = s.injection();
  if (!info.valid) return true;
  const bool exception = info.type == EventType::hardware_exception;
  switch (static_cast<Activity>(s[kActivity])) {
    case Activity::hlt:
      return info.type == EventType::external_interrupt || info.type == EventType::nmi ||
             info.type == EventType::other ||
             (exception && (info.vector == kDB || info.vector == kMC));
    case Activity::shutdown:
      return info.type == EventType::nmi || (exception && info.vector == kMC);
    case Activity::wait_for_sipi:
      return false;
    default:
      return true;
  }
}

// A single-step trap must be pending where TF is set and the trap is being held back.
bool pending_bs(S s) {
  const bool held = (s[kBlocking] & (interruptibility::sti | interruptibility::mov_ss)) != 0 ||
                    s[kActivity] == static_cast<uint64_t>(Activity::hlt);
  if (!held) return true;
  const bool bs = (s[F::guest_pending_debug_exceptions] >> 14 & 1) != 0;
  const bool single_step =
      (s[F::guest_rflags] & rflags::TF) != 0 && (s[F::guest_debugctl] & 2) == 0;
  return bs == single_step;
}

bool link_pointer(S s) {
  const uint64_t link = s[F::vmcs_link_pointer];
  if (link == ~0ull) return true;
  if (!s.structure(link) || link == s.current_vmcs.value()) return false;
  const uint32_t shadow = s.proc2(proc2::vmcs_shadowing) ? 1u << 31 : 0;
  return region_revision(s.memory, Hpa(link)) == (s.capabilities.revision | shadow);
}

bool pae_paging(S s) {
  return (s[F::guest_cr0] & cr0::PG) != 0 && (s[F::guest_cr4] & cr4::PAE) != 0 && !s.ia32e_guest();
}

// SDM vol. 3A, "PDPTE Registers": a present entry with a reserved bit set cannot be loaded.
bool pdpte_valid(S s, uint64_t entry) {
  return (entry & 1) == 0 || ((entry & 0x1e6) == 0 && s.physical(entry));
}

template <F field>
bool pdpte_field(S s) {
  return !s.proc2(proc2::enable_ept) || !pae_paging(s) || pdpte_valid(s, s[field]);
}

bool pdptes_in_memory(S s) {
  if (s.proc2(proc2::enable_ept) || !pae_paging(s)) return true;
  const Hpa table(s[F::guest_cr3] & 0xffffffe0);
  for (uint64_t n = 0; n < 4; ++n)
    if (!pdpte_valid(s, s.memory.read<uint64_t>(table + 8 * n))) return false;
  return true;
}

constexpr CheckRow kRows[] = {
    {"guest.cr0.fixed", kRegisters, fields(F::guest_cr0, kProc, kProc2), cr0_fixed,
     "as IA32_VMX_CR0_FIXED0/1 (486H, 487H) require; PE and PG free for an unrestricted guest"},
    {"guest.cr0.pg_without_pe", kRegisters, fields(F::guest_cr0),
     [](S s) { return (s[F::guest_cr0] & cr0::PG) == 0 || (s[F::guest_cr0] & cr0::PE) != 0; },
     "PG only with PE"},
    {"guest.cr4.fixed", kRegisters, fields(F::guest_cr4),
     [](S s) {
       return fixed(s[F::guest_cr4], s.capabilities.cr4_fixed0, s.capabilities.cr4_fixed1);
     },
     "as IA32_VMX_CR4_FIXED0/1 (488H, 489H) require"},
    {"guest.debugctl.reserved", kRegisters, fields(kEntry, F::guest_debugctl),
     [](S s) {
       return !s.entry(entryctl::load_debug_controls) || (s[F::guest_debugctl] & ~0xdfc3ull) == 0;
     },
     "bits 63:16, 13 and 5:2 are 0 when \"load debug controls\" is 1"},
    {"guest.ia32e.paging", kRegisters, fields(kEntry, F::guest_cr0, F::guest_cr4),
     [](S s) {
       return !s.ia32e_guest() ||
              ((s[F::guest_cr0] & cr0::PG) != 0 && (s[F::guest_cr4] & cr4::PAE) != 0);
     },
     "\"IA-32e mode guest\" needs CR0.PG and CR4.PAE"},
    {"guest.cr4.pcide", kRegisters, fields(kEntry, F::guest_cr4),
     [](S s) { return s.ia32e_guest() || (s[F::guest_cr4] & cr4::PCIDE) == 0; },
     "CR4.PCIDE needs \"IA-32e mode guest\""},
    {"guest.cr3.width", kRegisters, fields(F::guest_cr3),
     [](S s) { return s.physical(s[F::guest_cr3]); },
     "bits beyond the physical-address width are 0"},
    {"guest.dr7.high", kRegisters, fields(kEntry, F::guest_dr7),
     [](S s) { return !s.entry(entryctl::load_debug_controls) || s[F::guest_dr7] >> 32 == 0; },
     "bits 63:32 are 0 when \"load debug controls\" is 1"},
    {"guest.sysenter_esp.canonical", kRegisters, fields(F::guest_sysenter_esp),
     [](S s) { return s.canonical(s[F::guest_sysenter_esp]); }, "canonical"},
    {"guest.sysenter_eip.canonical", kRegisters, fields(F::guest_sysenter_eip),
     [](S s) { return s.canonical(s[F::guest_sysenter_eip]); }, "canonical"},
    {"guest.pat.types", kRegisters, fields(kEntry, F::guest_pat),
     [](S s) { return !s.entry(entryctl::load_pat) || pat_types_valid(s[F::guest_pat]); },
     "each byte is 0, 1, 4, 5, 6 or 7 when \"load IA32_PAT\" is 1"},
    {"guest.efer.reserved", kRegisters, fields(kEntry, F::guest_efer),
     [](S s) {
       constexpr uint64_t defined = efer::SCE | efer::LME | efer::LMA | efer::NXE;
       return !s.entry(entryctl::load_efer) || (s[F::guest_efer] & ~defined) == 0;
     },
     "reserved bits are 0 when \"load IA32_EFER\" is 1"},
    {"guest.efer.lma", kRegisters, fields(kEntry, F::guest_efer),
     [](S s) {
       return !s.entry(entryctl::load_efer) ||
              ((s[F::guest_efer] & efer::LMA) != 0) == s.ia32e_guest();
     },
     "LMA equals \"IA-32e mode guest\" when \"load IA32_EFER\" is 1"},
    {"guest.efer.lme", kRegisters, fields(kEntry, F::guest_efer, F::guest_cr0), efer_lme,
     "LME equals LMA when CR0.PG is 1 and \"load IA32_EFER\" is 1"},

    {"guest.rip", kRip, fields(F::guest_rip, F::guest_cs_access_rights, kEntry), rip_width,
     "bits 63:32 are 0 outside 64-bit mode; canonical in it"},
    {"guest.rflags.reserved", kRip, fields(F::guest_rflags),
     [](S s) { return (s[F::guest_rflags] & ~0x3f7fd7ull) == 0 && (s[F::guest_rflags] & 2) != 0; },
     "bits 63:22, 15, 5 and 3 are 0, bit 1 is 1"},
    {"guest.rflags.vm", kRip, fields(F::guest_rflags, kEntry, F::guest_cr0),
     [](S s) {
       return (s[F::guest_rflags] & rflags::VM) == 0 ||
              (!s.ia32e_guest() && (s[F::guest_cr0] & cr0::PE) != 0);
     },
     "VM is 0 in IA-32e mode and with CR0.PE 0"},
    {"guest.rflags.if_injection", kRip, fields(F::guest_rflags, kInfo),
     [](S s) {
       return !s.injects(EventType::external_interrupt) || (s[F::guest_rflags] & rflags::IF) != 0;
     },
     "IF is 1 when an external interrupt is injected"},

    {"guest.activity.value", kState, fields(kActivity),
     [](S s) { return s.capabilities.activity_supported(s[kActivity]); },
     "0 active, 1 HLT, 2 shutdown, 3 wait-for-SIPI, as IA32_VMX_MISC[8:6] offers"},
    {"guest.activity.hlt_dpl", kState, fields(kActivity, F::guest_ss_access_rights),
     [](S s) { return s[kActivity] != 1 || (s[F::guest_ss_access_rights] >> 5 & 3) == 0; },
     "HLT only with SS.DPL 0"},
    {"guest.activity.blocking", kState, fields(kActivity, kBlocking),
     [](S s) {
       return s[kActivity] == 0 ||
              (s[kBlocking] & (interruptibility::sti | interruptibility::mov_ss)) == 0;
     },
     "active when blocking by STI or by MOV SS"},
    {"guest.activity.injection", kState, fields(kActivity, kInfo), activity_injection,
     "the injected event can be taken in the activity state"},
    {"guest.interruptibility.reserved", kState, fields(kBlocking),
     [](S s) { return (s[kBlocking] & ~0x1full) == 0; }, "bits 31:5 are 0"},
    {"guest.interruptibility.sti_mov_ss", kState, fields(kBlocking),
     [](S s) { return (s[kBlocking] & 3) != 3; }, "not blocking by STI and by MOV SS at once"},
    {"guest.interruptibility.sti_if", kState, fields(kBlocking, F::guest_rflags),
     [](S s) {
       return (s[kBlocking] & interruptibility::sti) == 0 || (s[F::guest_rflags] & rflags::IF) != 0;
     },
     "blocking by STI only with RFLAGS.IF 1"},
    {"guest.interruptibility.injected_interrupt", kState, fields(kBlocking, kInfo),
     [](S s) {
       return !s.injects(EventType::external_interrupt) ||
              (s[kBlocking] & (interruptibility::sti | interruptibility::mov_ss)) == 0;
     },
     "no blocking by STI or MOV SS when an external interrupt is injected"},
    {"guest.interruptibility.injected_nmi", kState, fields(kBlocking, kInfo),
     [](S s) {
       return !s.injects(EventType::nmi) || (s[kBlocking] & interruptibility::mov_ss) == 0;
     },
     "no blocking by MOV SS when an NMI is injected"},
    {"guest.interruptibility.smi", kState, fields(kBlocking),
     [](S s) { return (s[kBlocking] & interruptibility::smi) == 0; },
     "no blocking by SMI outside SMM"},
    {"guest.interruptibility.virtual_nmi", kState, fields(kBlocking, kInfo, F::pin_based_controls),
     [](S s) {
       return !s.pin(pin::virtual_nmis) || !s.injects(EventType::nmi) ||
              (s[kBlocking] & interruptibility::nmi) == 0;
     },
     "no blocking by NMI when an NMI is injected with \"virtual NMIs\""},
    {"guest.interruptibility.enclave", kState, fields(kBlocking),
     [](S s) { return (s[kBlocking] & interruptibility::enclave) == 0; },
     "enclave interruption is 0 on a processor without SGX"},
    {"guest.pending_debug.reserved", kState, fields(F::guest_pending_debug_exceptions),
     [](S s) { return (s[F::guest_pending_debug_exceptions] & ~0x500full) == 0; },
     "bits 63:15, 13 and 11:4 are 0 on a processor without RTM"},
    {"guest.pending_debug.bs", kState,
     fields(F::guest_pending_debug_exceptions, kBlocking, kActivity, F::guest_rflags,
            F::guest_debugctl),
     pending_bs,
     "while blocking by STI or MOV SS or in HLT: BS is 1 exactly when RFLAGS.TF is 1 and "
     "IA32_DEBUGCTL.BTF is 0"},
    {"guest.link_pointer", kState, fields(F::vmcs_link_pointer, kProc, kProc2), link_pointer,
     "FFFFFFFF_FFFFFFFFH, or the region of another VMCS with this processor's revision identifier",
     kLinkPointerFailure},

    {"guest.pdpte0.reserved", kPdptes,
     fields(F::guest_pdpte0, F::guest_cr0, F::guest_cr4, kEntry, kProc, kProc2),
     pdpte_field<F::guest_pdpte0>, "reserved bits are 0 in a present entry", kPdpteFailure},
    {"guest.pdpte1.reserved", kPdptes,
     fields(F::guest_pdpte1, F::guest_cr0, F::guest_cr4, kEntry, kProc, kProc2),
     pdpte_field<F::guest_pdpte1>, "reserved bits are 0 in a present entry", kPdpteFailure},
    {"guest.pdpte2.reserved", kPdptes,
     fields(F::guest_pdpte2, F::guest_cr0, F::guest_cr4, kEntry, kProc, kProc2),
     pdpte_field<F::guest_pdpte2>, "reserved bits are 0 in a present entry", kPdpteFailure},
    {"guest.pdpte3.reserved", kPdptes,
     fields(F::guest_pdpte3, F::guest_cr0, F::guest_cr4, kEntry, kProc, kProc2),
     pdpte_field<F::guest_pdpte3>, "reserved bits are 0 in a present entry", kPdpteFailure},
    {"guest.pdptes.memory", kPdptes,
     fields(F::guest_cr3, F::guest_cr0, F::guest_cr4, kEntry, kProc, kProc2), pdptes_in_memory,
     "reserved bits are 0 in the present entries at CR3 (PAE paging without EPT)", kPdpteFailure},
};

}  // namespace

std::span<const CheckRow> guest_checks() { return kRows; }

}  // namespace cupel::vtx
