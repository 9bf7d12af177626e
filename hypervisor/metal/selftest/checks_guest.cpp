// Checks on the guest-state area except segmentation: exit reason 33.
// SDM vol. 3C, "Checks on the Guest State Area".
#include "core/x86/exit_qualification.h"
#include "hypervisor/metal/selftest/check_rows.h"
#include "hypervisor/metal/selftest/guest_modes.h"
#include "hypervisor/metal/selftest/suites.h"

namespace cupel::metal {
namespace {

using namespace x86;
using V = TestVm&;

constexpr auto kCr0 = FieldN::guest_cr0, kCr4 = FieldN::guest_cr4, kFlags = FieldN::guest_rflags;
constexpr auto kBlocking = Field32::guest_interruptibility_state,
               kActivity = Field32::guest_activity_state;
constexpr uint8_t kPdpteFailure = 2, kLinkPointerFailure = 4;
constexpr Controls kUnrestricted{.secondary = proc2::enable_ept | proc2::unrestricted_guest};
constexpr Controls kDebug{.entry = entryctl::load_debug_controls};
constexpr Controls kPat{.entry = entryctl::load_pat};
constexpr Controls kEfer{.entry = entryctl::load_efer};
constexpr Controls kEpt{.secondary = proc2::enable_ept};
constexpr uint32_t kInterrupt = 0x80000050, kNmi = 0x80000202, kUndefined = 0x80000306;

bool has_pcide(Lab& lab) { return (lab.caps.cr4_fixed1 & cr4::PCIDE) != 0; }
bool has_hlt(Lab& lab) { return (lab.caps.misc >> 6 & 1) != 0; }
bool has_shutdown(Lab& lab) { return (lab.caps.misc >> 7 & 1) != 0; }
bool has_wait_for_sipi(Lab& lab) { return (lab.caps.misc >> 8 & 1) != 0; }

void interruptible(V vm) { vm.set(kFlags, rflags::fixed1 | rflags::IF); }
void halted(V vm) { vm.set(kActivity, 1u); }
void shut_down(V vm) { vm.set(kActivity, 2u); }
void sti_blocking(V vm) {
  interruptible(vm);
  vm.set(kBlocking, interruptibility::sti);
}
void mov_ss_blocking(V vm) { vm.set(kBlocking, interruptibility::mov_ss); }
template <auto information>
void inject_value(V vm) {
  inject(vm, information);
}
void set_reserved_cr4(V vm) {
  const uint64_t may_not = ~vm.lab().caps.cr4_fixed1;
  vm.set(kCr4, vm.get(kCr4) | (may_not & (~may_not + 1)));
}

constexpr CheckRow kRegisters[] = {
    {"guest.cr0.fixed", {}, nullptr, clear_bits<kCr0, cr0::NE>, set_bits<kCr0, cr0::TS>},
    {"guest.cr0.fixed/paging", {}, nullptr, clear_bits<kCr0, cr0::PG>, nullptr},
    {"guest.cr0.pg_without_pe", kUnrestricted, guest_32bit, clear_bits<kCr0, cr0::PE>,
     clear_bits<kCr0, cr0::PG>},
    {"guest.cr4.fixed", {}, nullptr, clear_bits<kCr4, cr4::VMXE>, set_bits<kCr4, cr4::TSD>},
    {"guest.cr4.fixed/reserved", {}, nullptr, set_reserved_cr4, nullptr},
    {"guest.debugctl.reserved", kDebug, nullptr, set_value<Field64::guest_debugctl, 0x20u>,
     set_value<Field64::guest_debugctl, 2u>},
    {"guest.debugctl.reserved/not_loaded", kDebug, nullptr,
     set_value<Field64::guest_debugctl, 1ull << 63>, nullptr},
    {"guest.ia32e.paging", {}, nullptr, clear_bits<kCr4, cr4::PAE>, nullptr},
    {"guest.ia32e.paging/pg", kUnrestricted, nullptr, clear_bits<kCr0, cr0::PG>, nullptr},
    {"guest.cr4.pcide",
     {},
     nullptr,
     [](V vm) {
       guest_32bit(vm);
       set_bits<kCr4, cr4::PCIDE>(vm);
     },
     set_bits<kCr4, cr4::PCIDE>,
     0,
     has_pcide},
    {"guest.cr3.width",
     {},
     nullptr,
     set_beyond_width<FieldN::guest_cr3>,
     [](V vm) { vm.set(FieldN::guest_cr3, beyond_width(vm) - 4096); }},
    {"guest.dr7.high", kDebug, nullptr, set_value<FieldN::guest_dr7, 1ull << 32 | 0x400>,
     set_value<FieldN::guest_dr7, 0x401u>},
    {"guest.sysenter_esp.canonical",
     {},
     nullptr,
     set_not_canonical<FieldN::guest_sysenter_esp>,
     set_highest_low<FieldN::guest_sysenter_esp>},
    {"guest.sysenter_eip.canonical",
     {},
     nullptr,
     set_not_canonical<FieldN::guest_sysenter_eip>,
     set_lowest_high<FieldN::guest_sysenter_eip>},
    {"guest.pat.types", kPat, nullptr, set_value<Field64::guest_pat, 0x0007040600070402ull>,
     set_value<Field64::guest_pat, 0x0007010500070406ull>},
    {"guest.pat.types/last", kPat, nullptr, set_value<Field64::guest_pat, 0x0307040600070406ull>,
     nullptr},
    {"guest.efer.reserved", kEfer, nullptr, set_bits<Field64::guest_efer, 2u>,
     set_bits<Field64::guest_efer, efer::SCE>},
    {"guest.efer.lma", kEfer, nullptr, clear_bits<Field64::guest_efer, efer::LMA | efer::LME>,
     nullptr},
    {"guest.efer.lme", kEfer, nullptr, clear_bits<Field64::guest_efer, efer::LME>, nullptr},
    {"guest.rip.linear",
     {},
     nullptr,
     set_value<FieldN::guest_rip, 1ull << 48>,
     set_value<FieldN::guest_rip, 0xffff800000000000ull>},
    // "Bits 63:N must be identical": bit N-1 is not among them.
    {"guest.rip.linear/bit_47_free",
     {},
     nullptr,
     set_value<FieldN::guest_rip, 0x7fff800000000000ull>,
     set_value<FieldN::guest_rip, 0x0000800000000000ull>},
    {"guest.rip.high",
     {},
     guest_32bit,
     set_bits<FieldN::guest_rip, 1ull << 32>,
     set_value<FieldN::guest_rip, 0xffffffffull>},
    {"guest.rflags.reserved",
     {},
     nullptr,
     clear_bits<kFlags, rflags::fixed1>,
     set_bits<kFlags, rflags::CF | rflags::PF | rflags::AF | rflags::ZF | rflags::SF | rflags::DF |
                          rflags::OF | rflags::IOPL | rflags::NT | rflags::AC | rflags::ID>},
    {"guest.rflags.reserved/bit_3", {}, nullptr, set_bits<kFlags, 8u>, nullptr},
    {"guest.rflags.reserved/bit_15", {}, nullptr, set_bits<kFlags, 1u << 15>, nullptr},
    {"guest.rflags.reserved/bit_22", {}, nullptr, set_bits<kFlags, 1u << 22>, nullptr},
    {"guest.rflags.reserved/bit_63", {}, nullptr, set_bits<kFlags, 1ull << 63>, nullptr},
    {"guest.rflags.vm", {}, nullptr, set_bits<kFlags, rflags::VM>, guest_virtual_8086},
    {"guest.rflags.if_injection", {}, inject_value<kInterrupt>, [](V) {}, interruptible},
};

constexpr CheckRow kState[] = {
    {"guest.activity.value", {}, nullptr, set_value<kActivity, 4u>, halted, 0, has_hlt},
    {"guest.activity.value/reserved_bit", {}, nullptr, set_value<kActivity, 0x80000000u>, nullptr},
    {"guest.activity.hlt_dpl", {}, guest_cpl3, halted, nullptr, 0, has_hlt},
    {"guest.activity.blocking", {}, sti_blocking, halted, nullptr, 0, has_hlt},
    {"guest.activity.blocking/mov_ss", {}, mov_ss_blocking, halted, nullptr, 0, has_hlt},
    {"guest.activity.injection",
     {},
     halted,
     inject_value<kUndefined>,
     inject_value<kNmi>,
     0,
     has_hlt},
    {"guest.activity.injection/hlt_software",
     {},
     [](V vm) {
       halted(vm);
       vm.set(Field32::entry_instruction_length, 2u);
     },
     inject_value<0x80000450u>,
     inject_value<0x80000301u>,
     0,
     has_hlt},
    {"guest.activity.injection/shutdown",
     {},
     [](V vm) {
       interruptible(vm);
       shut_down(vm);
     },
     inject_value<kInterrupt>,
     inject_value<kNmi>,
     0,
     has_shutdown},
    {"guest.activity.injection/wait_for_sipi",
     {},
     nullptr,
     [](V vm) {
       vm.set(kActivity, 3u);
       inject(vm, kNmi);
     },
     inject_value<kNmi>,
     0,
     has_wait_for_sipi},
    {"guest.interruptibility.reserved",
     {},
     nullptr,
     set_value<kBlocking, 0x20u>,
     set_value<kBlocking, interruptibility::mov_ss>},
    {"guest.interruptibility.reserved/bit_31",
     {},
     nullptr,
     set_value<kBlocking, 1u << 31>,
     set_value<kBlocking, interruptibility::nmi>},
    {"guest.interruptibility.sti_mov_ss",
     {},
     interruptible,
     set_value<kBlocking, 3u>,
     set_value<kBlocking, 1u>},
    {"guest.interruptibility.sti_if",
     {},
     set_value<kBlocking, interruptibility::sti>,
     [](V) {},
     interruptible},
    {"guest.interruptibility.injected_interrupt",
     {},
     [](V vm) {
       interruptible(vm);
       inject(vm, kInterrupt);
     },
     set_value<kBlocking, interruptibility::sti>,
     nullptr},
    {"guest.interruptibility.injected_interrupt/mov_ss",
     {},
     [](V vm) {
       interruptible(vm);
       inject(vm, kInterrupt);
     },
     set_value<kBlocking, interruptibility::mov_ss>,
     nullptr},
    {"guest.interruptibility.injected_nmi", {}, inject_value<kNmi>, mov_ss_blocking, nullptr},
    {"guest.interruptibility.smi",
     {},
     nullptr,
     set_value<kBlocking, interruptibility::smi>,
     nullptr},
    {"guest.interruptibility.virtual_nmi",
     {.pin = pin::nmi_exiting | pin::virtual_nmis},
     inject_value<kNmi>,
     set_value<kBlocking, interruptibility::nmi>,
     nullptr},
    {"guest.interruptibility.enclave_sgx",
     {},
     nullptr,
     set_value<kBlocking, interruptibility::enclave>,
     nullptr},
    {"guest.pending_debug.reserved",
     {},
     nullptr,
     set_value<FieldN::guest_pending_debug_exceptions, 0x10u>,
     nullptr},
    {"guest.pending_debug.reserved/bit_13",
     {},
     nullptr,
     set_value<FieldN::guest_pending_debug_exceptions, 1u << 13>,
     nullptr},
    {"guest.pending_debug.reserved/bit_63",
     {},
     nullptr,
     set_value<FieldN::guest_pending_debug_exceptions, 1ull << 63>,
     nullptr},
    {"guest.pending_debug.bs",
     {},
     mov_ss_blocking,
     set_bits<kFlags, rflags::TF>,
     [](V vm) {
       set_bits<kFlags, rflags::TF>(vm);
       vm.set(FieldN::guest_pending_debug_exceptions, uint64_t{1 << 14});
     }},
    {"guest.pending_debug.bs/without_tf",
     {},
     mov_ss_blocking,
     set_value<FieldN::guest_pending_debug_exceptions, 1u << 14>,
     nullptr},
    {"guest.pending_debug.bs/sti", {}, sti_blocking, set_bits<kFlags, rflags::TF>, nullptr},
    {"guest.pending_debug.bs/hlt", {}, halted, set_bits<kFlags, rflags::TF>, nullptr, 0, has_hlt},
    {"guest.pending_debug.bs/btf", kDebug,
     [](V vm) {
       mov_ss_blocking(vm);
       set_bits<kFlags, rflags::TF>(vm);
       vm.set(Field64::guest_debugctl, uint64_t{2});
     },
     set_value<FieldN::guest_pending_debug_exceptions, 1u << 14>, nullptr},
};

void link_to(V vm, uint64_t address) { vm.set(Field64::vmcs_link_pointer, address); }

constexpr CheckRow kLinkAndPdptes[] = {
    {"guest.link_pointer.address",
     {},
     nullptr,
     [](V vm) { link_to(vm, vm.lab().other_vmcs.value() + 0x800); },
     [](V vm) { link_to(vm, vm.lab().other_vmcs.value()); },
     kLinkPointerFailure},
    {"guest.link_pointer.address/beyond_width",
     {},
     nullptr,
     [](V vm) { link_to(vm, vm.lab().other_vmcs.value() | beyond_width(vm)); },
     nullptr,
     kLinkPointerFailure},
    {"guest.link_pointer.revision",
     {},
     nullptr,
     [](V vm) { link_to(vm, vm.lab().zero_page.value()); },
     nullptr,
     kLinkPointerFailure},
    {"guest.link_pointer.current",
     {},
     nullptr,
     [](V vm) { link_to(vm, vm.lab().vmcs.value()); },
     nullptr,
     kLinkPointerFailure},
    {"guest.link_pointer.shadow",
     {.secondary = proc2::vmcs_shadowing},
     nullptr,
     [](V vm) { link_to(vm, vm.lab().other_vmcs.value()); },
     nullptr,
     kLinkPointerFailure},
    {"guest.pdpte0.reserved", kEpt, guest_pae, set_bits<Field64::guest_pdpte0, 2u>,
     set_value<Field64::guest_pdpte0, 0x1e6u>, kPdpteFailure},
    {"guest.pdpte1.reserved", kEpt, guest_pae, set_bits<Field64::guest_pdpte1, 0x20u>,
     set_value<Field64::guest_pdpte1, ~1ull>, kPdpteFailure},
    {"guest.pdpte2.reserved", kEpt, guest_pae, set_bits<Field64::guest_pdpte2, 0x100u>,
     set_bits<Field64::guest_pdpte2, 0x18u>, kPdpteFailure},
    {"guest.pdpte3.reserved", kEpt, guest_pae, set_beyond_width<Field64::guest_pdpte3>, nullptr,
     kPdpteFailure},
    {"guest.pdptes.memory",
     {},
     guest_pae,
     [](V) { pae_pdptes()[2] |= 2; },
     [](V) { pae_pdptes()[2] = 0x1e6; },
     kPdpteFailure},
    {"guest.pdptes.memory/beyond_width",
     {},
     guest_pae,
     [](V vm) { pae_pdptes()[3] |= beyond_width(vm); },
     nullptr,
     kPdpteFailure},
};

}  // namespace

void test_checks_guest(Tap& tap, Lab& lab) {
  test_check_rows(tap, lab, CheckStage::guest, kRegisters);
  test_check_rows(tap, lab, CheckStage::guest, kState);
  test_check_rows(tap, lab, CheckStage::guest, kLinkAndPdptes);
}

}  // namespace cupel::metal
