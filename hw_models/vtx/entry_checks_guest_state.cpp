// Checks on the guest's RIP, RFLAGS and SSP, on its non-register state and on PDPTEs.
#include "hw_models/vtx/entry_checks.h"

namespace cupel::vtx {
namespace {

using namespace x86;
using S = const EntryState&;

constexpr const char* kRip = "Checks on Guest RIP, RFLAGS, and SSP";
constexpr const char* kState = "Checks on Guest Non-Register State";
constexpr const char* kPdptes = "Checks on Guest Page-Directory-Pointer-Table Entries";

constexpr F kEntry = F::entry_controls, kProc = F::primary_processor_controls,
            kProc2 = F::secondary_processor_controls;
constexpr F kInfo = F::entry_interruption_info;
constexpr F kBlocking = F::guest_interruptibility_state, kActivity = F::guest_activity_state;

// Exit qualifications of VM-entry failures due to invalid guest state.
// SDM vol. 3C, "VM-Entry Failures During or After Loading Guest State".
constexpr uint8_t kPdpteFailure = 2, kNmiFailure = 3, kLinkPointerFailure = 4;

// --- RIP ---------------------------------------------------------------------------------------
// Low values need no look at CS.
bool code64(S s) { return s.ia32e_guest() && (s[F::guest_cs_access_rights] >> 13 & 1) != 0; }
bool rip_high(S s) {
  const uint64_t rip = s[F::guest_rip];
  return rip >> 32 == 0 || code64(s);
}
// "The guest RIP value is not required to be canonical; the value of bit N-1 may differ from that
// of bit N."
bool rip_linear(S s) {
  const uint64_t rip = s[F::guest_rip];
  return rip >> 32 == 0 || !code64(s) || s.fits_linear(rip);
}

// --- Non-register state ------------------------------------------------------------------------
bool blocked(S s, uint64_t bits) { return (s[kBlocking] & bits) != 0; }

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

// Bits 63:17, 15, 13 and 11:4 but for what the processor has: 16 RTM, 11 bus-lock debugging.
bool pending_debug_reserved(S s) {
  const auto& f = s.capabilities.features;
  const uint64_t defined = 0x500f | uint64_t{f.rtm} << 16 | uint64_t{f.bus_lock_debug} << 11;
  return (s[F::guest_pending_debug_exceptions] & ~defined) == 0;
}
// RTM: a #DB inside a transactional region. Nothing else is pending then but bit 12.
bool pending_rtm(S s) { return (s[F::guest_pending_debug_exceptions] >> 16 & 1) != 0; }
bool pending_rtm_alone(S s) {
  return !pending_rtm(s) || (s[F::guest_pending_debug_exceptions] & 0xffff) == 1 << 12;
}

// --- VMCS link pointer -------------------------------------------------------------------------
// A link that is aligned and inside the width, so that memory can be looked at.
bool linked(S s) {
  return s[F::vmcs_link_pointer] != ~0ull && s.structure(s[F::vmcs_link_pointer]);
}
uint32_t link_word(S s) { return region_revision(s.memory, Hpa(s[F::vmcs_link_pointer])); }
bool link_revision(S s) {
  return !linked(s) || (link_word(s) & 0x7fffffff) == s.capabilities.revision;
}
bool link_shadow(S s) {
  return !linked(s) || (link_word(s) >> 31 != 0) == s.proc2(proc2::vmcs_shadowing);
}
// In SMM it must differ from the executive-VMCS pointer instead, unless the entry stays in SMM.
bool link_current(S s) {
  if (s[F::vmcs_link_pointer] == ~0ull) return true;
  const bool leaves_smm = s.host.in_smm && !s.entry(entryctl::entry_to_smm);
  const uint64_t other = leaves_smm ? s[F::executive_vmcs_pointer] : s.current_vmcs.value();
  return s[F::vmcs_link_pointer] != other;
}

// --- PDPTEs ------------------------------------------------------------------------------------

bool pae_paging(S s) {
  return (s[F::guest_cr0] & cr0::PG) != 0 && (s[F::guest_cr4] & cr4::PAE) != 0 && !s.ia32e_guest();
}

// SDM vol. 3A, "PDPTE Registers": a present entry with a reserved bit set cannot be loaded.
bool pdpte_valid(S s, uint64_t entry) {
  return (entry & 1) == 0 || ((entry & 0x1e6) == 0 && s.physical(entry));
}

template <F field>
bool pdpte_field(S s) {
  return !s.ept() || !pae_paging(s) || pdpte_valid(s, s[field]);
}

bool pdptes_in_memory(S s) {
  if (s.ept() || !pae_paging(s)) return true;
  const Hpa table(s[F::guest_cr3] & 0xffffffe0);
  for (uint64_t n = 0; n < 4; ++n)
    if (!pdpte_valid(s, s.memory.read<uint64_t>(table + 8 * n))) return false;
  return true;
}

constexpr CheckRow kRows[] = {
    {"guest.rip.high", kRip, fields(F::guest_rip, F::guest_cs_access_rights, kEntry), rip_high,
     "bits 63:32 are 0 unless \"IA-32e mode guest\" and CS.L are 1"},
    {"guest.rip.linear", kRip, fields(F::guest_rip, F::guest_cs_access_rights, kEntry), rip_linear,
     "bits 63:N are identical in 64-bit mode, N the linear-address width"},
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
    {"guest.ssp.alignment", kRip, fields(kEntry, F::guest_ssp),
     [](S s) { return !s.entry(entryctl::load_cet) || (s[F::guest_ssp] & 3) == 0; },
     "bits 1:0 are 0 when \"load CET state\" is 1"},
    {"guest.ssp.linear", kRip, fields(kEntry, F::guest_ssp),
     [](S s) { return !s.entry(entryctl::load_cet) || s.fits_linear(s[F::guest_ssp]); },
     "bits 63:N are identical when \"load CET state\" is 1, N the linear-address width"},

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
    {"guest.activity.smm", kState, fields(kActivity, kEntry),
     [](S s) {
       return !s.entry(entryctl::entry_to_smm) ||
              s[kActivity] != static_cast<uint64_t>(Activity::wait_for_sipi);
     },
     "not wait-for-SIPI when \"entry to SMM\" is 1"},
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
     [](S s) { return s.host.in_smm || !blocked(s, interruptibility::smi); },
     "no blocking by SMI outside SMM"},
    {"guest.interruptibility.entry_to_smm", kState, fields(kBlocking, kEntry),
     [](S s) { return !s.entry(entryctl::entry_to_smm) || blocked(s, interruptibility::smi); },
     "blocking by SMI when \"entry to SMM\" is 1"},
    {"guest.interruptibility.nmi_sti", kState, fields(kBlocking, kInfo),
     [](S s) {
       return !s.capabilities.features.nmi_needs_no_sti_blocking || !s.injects(EventType::nmi) ||
              !blocked(s, interruptibility::sti);
     },
     "no blocking by STI when an NMI is injected, on a processor that requires it", kNmiFailure},
    {"guest.interruptibility.virtual_nmi", kState, fields(kBlocking, kInfo, F::pin_based_controls),
     [](S s) {
       return !s.pin(pin::virtual_nmis) || !s.injects(EventType::nmi) ||
              !blocked(s, interruptibility::nmi);
     },
     "no blocking by NMI when an NMI is injected with \"virtual NMIs\""},
    {"guest.interruptibility.enclave_sgx", kState, fields(kBlocking),
     [](S s) { return s.capabilities.features.sgx || !blocked(s, interruptibility::enclave); },
     "enclave interruption (bit 4) only on a processor with SGX"},
    {"guest.interruptibility.enclave_mov_ss", kState, fields(kBlocking),
     [](S s) {
       return !blocked(s, interruptibility::enclave) || !blocked(s, interruptibility::mov_ss);
     },
     "no blocking by MOV SS with enclave interruption (bit 4)"},
    {"guest.pending_debug.reserved", kState, fields(F::guest_pending_debug_exceptions),
     pending_debug_reserved,
     "bits 63:17, 15, 13 and 11:4 are 0; 16 too without RTM; 11 may be 1 with bus-lock debugging"},
    {"guest.pending_debug.bs", kState,
     fields(F::guest_pending_debug_exceptions, kBlocking, kActivity, F::guest_rflags,
            F::guest_debugctl),
     pending_bs,
     "while blocking by STI or MOV SS or in HLT: BS is 1 exactly when RFLAGS.TF is 1 and "
     "IA32_DEBUGCTL.BTF is 0"},
    {"guest.pending_debug.rtm", kState, fields(F::guest_pending_debug_exceptions),
     pending_rtm_alone, "with RTM (bit 16), bit 12 is 1 and bits 11:0 and 15:13 are 0"},
    {"guest.pending_debug.rtm_mov_ss", kState, fields(F::guest_pending_debug_exceptions, kBlocking),
     [](S s) { return !pending_rtm(s) || !blocked(s, interruptibility::mov_ss); },
     "no blocking by MOV SS with RTM (bit 16)"},
    {"guest.link_pointer.address", kState, fields(F::vmcs_link_pointer),
     [](S s) { return s[F::vmcs_link_pointer] == ~0ull || s.structure(s[F::vmcs_link_pointer]); },
     "FFFFFFFF_FFFFFFFFH, or 4-KByte aligned and inside the physical-address width",
     kLinkPointerFailure},
    {"guest.link_pointer.revision", kState, fields(F::vmcs_link_pointer), link_revision,
     "bits 30:0 of the region's first 4 bytes are the VMCS revision identifier",
     kLinkPointerFailure, true},
    {"guest.link_pointer.shadow", kState, fields(F::vmcs_link_pointer, kProc, kProc2), link_shadow,
     "bit 31 of the region's first 4 bytes equals \"VMCS shadowing\"", kLinkPointerFailure, true},
    {"guest.link_pointer.current", kState,
     fields(F::vmcs_link_pointer, F::executive_vmcs_pointer, kEntry), link_current,
     "not the current VMCS (in SMM: not the executive VMCS)", kLinkPointerFailure},

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
     "reserved bits are 0 in the present entries at CR3 (PAE paging without EPT)", kPdpteFailure,
     true},
};

}  // namespace

CheckSection guest_state_checks() { return section<kRows>(); }

}  // namespace cupel::vtx
