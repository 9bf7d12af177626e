// Border states of the checks on the guest's RIP, RFLAGS, SSP, non-register state and PDPTEs.
#include "tests/vtx/check_cases.h"

namespace cupel::vtx::testing {
namespace {

using namespace x86;
using B = CheckBench&;

constexpr F kEntry = F::entry_controls, kInfo = F::entry_interruption_info;
constexpr F kBlocking = F::guest_interruptibility_state, kActivity = F::guest_activity_state;
constexpr F kPending = F::guest_pending_debug_exceptions;

template <F field, uint64_t value>
void put(B b) {
  b.set(field, value);
}
void with_cet(B b) { b.set_bits(kEntry, entryctl::load_cet); }
void in_smm(B b) {
  b.host.in_smm = true;
  b.changed_host();
}
void to_smm(B b) {
  in_smm(b);
  b.set(kBlocking, interruptibility::smi);
  b.set_bits(kEntry, entryctl::entry_to_smm);
}
void linked(B b) {
  b.memory->write(kOtherVmcs, b.profile.revision);
  b.set(F::vmcs_link_pointer, kOtherVmcs.value());
}
void with_rtm(B b) {
  b.needs(b.profile.features.rtm);
  b.set(kPending, 0x11000);
}

template <F entry>
void present(B b) {
  b.needs(b.profile.proc2.offers(proc2::enable_ept));
  pae_mode(b);
  b.set(entry, (b.beyond() - 0x1000) | 0xe19);
}
template <F entry>
void pdpte_beyond(B b) {
  b.set(entry, b.beyond() | 1);
}
template <F entry>
void pdpte_writable(B b) {
  b.set(entry, 3);
}
#define PDPTE_CASES(n)                                                                           \
  {"guest.pdpte" #n ".reserved", present<F::guest_pdpte##n>, pdpte_beyond<F::guest_pdpte##n>}, { \
    "guest.pdpte" #n ".reserved", present<F::guest_pdpte##n>, pdpte_writable<F::guest_pdpte##n>  \
  }

const CheckCase kCases[] = {
    {"guest.rip.high",
     [](B b) {
       b.set(F::guest_cs_access_rights, 0xc09b);
       b.set(F::guest_rip, 0xffffffff);
     },
     put<F::guest_rip, 1ull << 32>},
    {"guest.rip.high",
     [](B b) {
       protected_mode(b);
       b.set(F::guest_rip, 0xffffffff);
     },
     put<F::guest_rip, 0xffffffff81000000>},
    {"guest.rip.linear",  // need not be canonical
     [](B b) { b.set(F::guest_rip, b.beyond_linear() - 1); },
     [](B b) { b.set(F::guest_rip, b.beyond_linear()); }},
    {"guest.rflags.reserved", put<F::guest_rflags, 0x3d7cd7>, put<F::guest_rflags, 0xa>},
    {"guest.rflags.reserved", nothing, put<F::guest_rflags, 0>},
    {"guest.rflags.reserved", nothing, put<F::guest_rflags, 1ull << 22 | 2>},
    {"guest.rflags.vm", v86_mode,
     [](B b) {
       b.set_bits(kEntry, entryctl::ia32e_mode_guest);
       if ((b.get(kEntry) & entryctl::load_efer) != 0) b.set(F::guest_efer, efer::LMA | efer::LME);
       b.set_bits(F::guest_cr4, cr4::PAE);
     }},
    {"guest.rflags.if_injection",
     [](B b) {
       b.set(F::guest_rflags, 0x202);
       b.set(kInfo, 0x80000030);
     },
     put<F::guest_rflags, 2>},
    {"guest.ssp.alignment",
     [](B b) {
       with_cet(b);
       b.set(F::guest_ssp, 4);
     },
     put<F::guest_ssp, 2>},
    {"guest.ssp.linear",
     [](B b) {
       with_cet(b);
       b.set(F::guest_ssp, b.beyond_linear() - 4);
     },
     [](B b) { b.set(F::guest_ssp, b.beyond_linear()); }},

    {"guest.activity.value",
     [](B b) { b.set(kActivity, b.profile.activity_wait_for_sipi ? 3 : 0); }, put<kActivity, 4>},
    {"guest.activity.value",
     [](B b) {
       b.profile.activity_shutdown = false;
       b.set(kActivity, 1);
     },
     put<kActivity, 2>},
    {"guest.activity.hlt_dpl",
     [](B b) {
       b.set_bits(F::guest_ss_access_rights, 3 << 5);
       b.set_bits(F::guest_cs_access_rights, 3 << 5);
       b.set(F::guest_cs_selector, 3);
       b.set(F::guest_ss_selector, 3);
     },
     put<kActivity, 1>},
    {"guest.activity.blocking", put<kBlocking, interruptibility::mov_ss>, put<kActivity, 1>},
    {"guest.activity.blocking",
     [](B b) {
       b.set(F::guest_rflags, 0x202);
       b.set(kBlocking, interruptibility::sti);
     },
     put<kActivity, 2>},
    {"guest.activity.injection",  // HLT takes #DB, not #UD
     [](B b) {
       b.set(kActivity, 1);
       b.set(kInfo, 0x80000301);
     },
     put<kInfo, 0x80000306>},
    {"guest.activity.injection",  // shutdown takes NMIs, not #DB
     [](B b) {
       b.set(kActivity, 2);
       b.set(kInfo, 0x80000202);
     },
     put<kInfo, 0x80000301>},
    {"guest.activity.injection", put<kActivity, 3>, put<kInfo, 0x80000202>},
    {"guest.activity.smm", to_smm, put<kActivity, 3>},
    {"guest.interruptibility.reserved", put<kBlocking, interruptibility::nmi>,
     put<kBlocking, 1 << 5>},
    {"guest.interruptibility.sti_mov_ss",
     [](B b) {
       b.set(F::guest_rflags, 0x202);
       b.set(kBlocking, interruptibility::mov_ss);
     },
     put<kBlocking, 3>},
    {"guest.interruptibility.sti_if",
     [](B b) {
       b.set(F::guest_rflags, 0x202);
       b.set(kBlocking, interruptibility::sti);
     },
     put<F::guest_rflags, 2>},
    {"guest.interruptibility.injected_interrupt",
     [](B b) {
       b.set(F::guest_rflags, 0x202);
       b.set(kBlocking, interruptibility::nmi);
       b.set(kInfo, 0x80000030);
     },
     put<kBlocking, interruptibility::sti>},
    {"guest.interruptibility.injected_interrupt",
     [](B b) {
       b.set(F::guest_rflags, 0x202);
       b.set(kInfo, 0x80000030);
     },
     put<kBlocking, interruptibility::mov_ss>},
    {"guest.interruptibility.injected_nmi", put<kInfo, 0x80000202>,
     put<kBlocking, interruptibility::mov_ss>},
    {"guest.interruptibility.smi",
     [](B b) {
       in_smm(b);
       b.set(kBlocking, interruptibility::smi);
     },
     [](B b) {
       b.host.in_smm = false;
       b.changed_host();
     }},
    {"guest.interruptibility.entry_to_smm", to_smm, put<kBlocking, 0>},
    {"guest.interruptibility.nmi_sti",
     [](B b) {
       b.profile.features.nmi_needs_no_sti_blocking = true;
       b.set(F::guest_rflags, 0x202);
       b.set(kInfo, 0x80000202);
     },
     put<kBlocking, interruptibility::sti>},
    {"guest.interruptibility.virtual_nmi",
     [](B b) {
       b.set(kInfo, 0x80000202);
       b.set(kBlocking, interruptibility::nmi);
     },
     [](B b) { b.set_bits(F::pin_based_controls, pin::virtual_nmis); }},
    {"guest.interruptibility.enclave_sgx", nothing,
     [](B b) {
       b.profile.features.sgx = false;
       b.set(kBlocking, interruptibility::enclave);
     }},
    {"guest.interruptibility.enclave_mov_ss",
     [](B b) {
       b.profile.features.sgx = true;
       b.set(kBlocking, interruptibility::enclave);
     },
     put<kBlocking, interruptibility::enclave | interruptibility::mov_ss>},
    {"guest.pending_debug.reserved", put<kPending, 0x100f>, put<kPending, 1 << 4>},
    {"guest.pending_debug.reserved", nothing,
     [](B b) {
       b.profile.features.bus_lock_debug = false;
       b.set(kPending, 1 << 11);
     }},
    {"guest.pending_debug.reserved",
     [](B b) {
       b.profile.features.bus_lock_debug = true;
       b.set(kPending, 1 << 11);
     },
     put<kPending, 1 << 13>},
    {"guest.pending_debug.reserved", nothing, put<kPending, 1 << 17>},
    {"guest.pending_debug.bs",
     [](B b) {
       b.set(F::guest_rflags, 0x102);
       b.set(kBlocking, interruptibility::mov_ss);
       b.set(kPending, 1 << 14);
     },
     put<kPending, 0>},
    {"guest.pending_debug.bs",  // HLT, no single-stepping
     put<kActivity, 1>, put<kPending, 1 << 14>},
    {"guest.pending_debug.bs",  // BTF: traps on branches only
     [](B b) {
       b.set(F::guest_rflags, 0x102);
       b.set(F::guest_debugctl, 2);
       b.set(kBlocking, interruptibility::mov_ss);
     },
     put<F::guest_debugctl, 0>},
    {"guest.pending_debug.rtm", with_rtm, put<kPending, 0x10000>},
    {"guest.pending_debug.rtm", with_rtm, put<kPending, 0x11001>},
    {"guest.pending_debug.rtm_mov_ss", with_rtm, put<kBlocking, interruptibility::mov_ss>},

    {"guest.link_pointer.address", linked, put<F::vmcs_link_pointer, 0x3800>},
    {"guest.link_pointer.address", linked, [](B b) { b.set(F::vmcs_link_pointer, b.beyond()); }},
    {"guest.link_pointer.revision", linked,
     [](B b) {
       b.memory->write(kOtherVmcs, b.profile.revision ^ 1);
       b.due |= CheckTable::instance().reading_memory();
     }},
    {"guest.link_pointer.shadow", linked,
     [](B b) {
       b.memory->write(kOtherVmcs, b.profile.revision | 1u << 31);
       b.due |= CheckTable::instance().reading_memory();
     }},
    {"guest.link_pointer.shadow",
     [](B b) {
       linked(b);
       b.memory->write(kOtherVmcs, b.profile.revision | 1u << 31);
       b.set_bits(F::secondary_processor_controls, proc2::vmcs_shadowing);
     },
     [](B b) { b.clear_bits(F::secondary_processor_controls, proc2::vmcs_shadowing); }},
    {"guest.link_pointer.current", linked, put<F::vmcs_link_pointer, kVmcs.value()>},
    {"guest.link_pointer.current",  // in SMM it is the executive VMCS
     [](B b) {
       in_smm(b);
       linked(b);
       b.set(F::vmcs_link_pointer, kVmcs.value());
     },
     put<F::executive_vmcs_pointer, kVmcs.value()>},

    PDPTE_CASES(0),
    PDPTE_CASES(1),
    PDPTE_CASES(2),
    PDPTE_CASES(3),
    {"guest.pdptes.memory",
     [](B b) {
       pae_mode(b);
       no_ept(b);
       b.set(F::guest_cr3, 0x9fe0);
       b.memory->write<uint64_t>(Hpa(0x9ff8), (b.beyond() - 0x1000) | 0xe19);
     },
     [](B b) {
       b.memory->write<uint64_t>(Hpa(0x9ff8), 0x21);
       b.due |= CheckTable::instance().reading_memory();
     }},
    {"guest.pdptes.memory",
     [](B b) {
       pae_mode(b);
       b.memory->write<uint64_t>(Hpa(0x9000), 2 | 1);
       b.set(F::guest_cr3, 0xa000);
       no_ept(b);
     },
     put<F::guest_cr3, 0x9000>},
};

}  // namespace

std::span<const CheckCase> guest_state_cases() { return kCases; }

}  // namespace cupel::vtx::testing
