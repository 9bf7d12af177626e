// A VM whose VMCS passes every check, ready to be broken.
// SDM vol. 3C, ch. "Virtual Machine Control Structures", "VM Entries".
#include <array>

#include "core/x86/msr.h"
#include "hypervisor/metal/console.h"
#include "hypervisor/metal/instructions.h"
#include "hypervisor/metal/lab.h"
#include "hypervisor/metal/trap.h"
#include "hypervisor/vmx/segment_fields.h"

namespace cupel::metal {

using namespace x86;

namespace {

struct alignas(16) GuestStack {
  std::array<uint8_t, 16384> bytes;
};
std::array<GuestStack, MOST_PROCESSORS> guest_stacks;

constexpr uint32_t kCode64 = 0xa09b, kData = 0xc093, kBusyTss = 0x8b;
constexpr uint64_t kDr7 = 0x400;

struct SegmentValue {
  Seg seg;
  uint16_t selector;
  uint32_t limit, access;
};
constexpr SegmentValue kSegments[] = {
    {Seg::es, selector::data, 0xffffffff, kData}, {Seg::cs, selector::code, 0xffffffff, kCode64},
    {Seg::ss, selector::data, 0xffffffff, kData}, {Seg::ds, selector::data, 0xffffffff, kData},
    {Seg::fs, 0, 0, Segment::kUnusable},          {Seg::gs, 0, 0, Segment::kUnusable},
    {Seg::ldtr, 0, 0, Segment::kUnusable},
};

constexpr Field32 kZeroControls[] = {Field32::exception_bitmap,
                                     Field32::page_fault_error_code_mask,
                                     Field32::page_fault_error_code_match,
                                     Field32::cr3_target_count,
                                     Field32::exit_msr_store_count,
                                     Field32::exit_msr_load_count,
                                     Field32::entry_msr_load_count,
                                     Field32::entry_interruption_info,
                                     Field32::entry_exception_error_code,
                                     Field32::entry_instruction_length};

}  // namespace

TestVm::TestVm(Lab& lab, const Controls& controls) : lab_(lab), vmcs_(lab.cpu) {
  offered_ = choose(lab.caps, controls, controls_);
  if (!offered_) return;
  lab.on();
  if (!lab.outcome(lab.cpu.vmptrld(lab.vmcs)).ok()) bail_out("VMPTRLD fails");
  write_controls();
  write_host();
  write_guest();
  if (vmcs_.failed()) bail_out("VMWRITE fails for field ", Hex{vmcs_.failed_field()});
}

bool TestVm::ready(Report& report) const {
  if (!offered_) report.skip("controls not offered");
  return offered_;
}

void TestVm::write_controls() {
  set(Field32::pin_based_controls, controls_.pin);
  set(Field32::primary_processor_controls, controls_.primary);
  if ((controls_.primary & proc::secondary_controls) != 0) {
    set(Field32::secondary_processor_controls, controls_.secondary);
  }
  set(Field32::exit_controls, controls_.exit);
  set(Field32::entry_controls, controls_.entry);
  for (const Field32 field : kZeroControls) set(field, uint32_t{0});
  write_conditional_controls();
  set(Field64::tsc_offset, uint64_t{0});
  set(FieldN::cr0_guest_host_mask, uint64_t{0});
  set(FieldN::cr4_guest_host_mask, uint64_t{0});
  set(FieldN::cr0_read_shadow, uint64_t{0});
  set(FieldN::cr4_read_shadow, uint64_t{0});
  set(Field64::vmcs_link_pointer, ~uint64_t{0});
}

// What the enabled controls need: zeroed pages, so that nothing exits by a bitmap.
void TestVm::write_conditional_controls() {
  const uint64_t zero = lab_.zero_page.value();
  const auto primary = [&](uint32_t bit) { return (controls_.primary & bit) != 0; };
  const auto secondary = [&](uint32_t bit) { return (controls_.secondary & bit) != 0; };
  if (primary(proc::io_bitmaps)) {
    set(Field64::io_bitmap_a, zero);
    set(Field64::io_bitmap_b, zero);
  }
  if (primary(proc::msr_bitmaps)) set(Field64::msr_bitmap, zero);
  if (primary(proc::tpr_shadow)) {
    set(Field64::virtual_apic_address, lab_.virtual_apic_page.value());
    set(Field32::tpr_threshold, uint32_t{0});
  }
  if (secondary(proc2::enable_vpid)) set(Field16::vpid, uint16_t{1});
  if (secondary(proc2::enable_ept)) set(Field64::ept_pointer, lab_.identity_eptp());
  if (secondary(proc2::virtualize_apic_accesses)) {
    set(Field64::apic_access_address, lab_.apic_access_page.value());
  }
  if (secondary(proc2::virtual_interrupt_delivery)) {
    for (const Field64 f : {Field64::eoi_exit_bitmap_0, Field64::eoi_exit_bitmap_1,
                            Field64::eoi_exit_bitmap_2, Field64::eoi_exit_bitmap_3}) {
      set(f, uint64_t{0});
    }
    set(Field16::guest_interrupt_status, uint16_t{0});
  }
  if (secondary(proc2::enable_vmfunc)) set(Field64::vm_function_controls, uint64_t{0});
  if (secondary(proc2::vmcs_shadowing)) {
    set(Field64::vmread_bitmap, zero);
    set(Field64::vmwrite_bitmap, zero);
  }
  if (secondary(proc2::enable_pml)) {
    set(Field64::pml_address, lab_.scratch_page.value());
    set(Field16::pml_index, uint16_t{511});
  }
  if (secondary(proc2::ept_violation_ve)) {
    set(Field64::ve_information_address, lab_.scratch_page.value());
  }
  if (secondary(proc2::enable_xsaves)) set(Field64::xss_exiting_bitmap, uint64_t{0});
  if (secondary(proc2::encls_exiting)) set(Field64::encls_exiting_bitmap, uint64_t{0});
  if (secondary(proc2::tsc_scaling)) set(Field64::tsc_multiplier, uint64_t{1} << 48);
  if ((controls_.pin & pin::preemption_timer) != 0) {
    set(Field32::preemption_timer_value, uint32_t{0});
  }
}

void TestVm::write_host() {
  const vmx::HostState host = host_state();
  uint64_t efer = 0, pat = 0;
  if (!lab_.cpu.rdmsr(msr::EFER, efer) || !lab_.cpu.rdmsr(msr::PAT, pat)) {
    bail_out("IA32_EFER or IA32_PAT cannot be read");
  }
  set(FieldN::host_cr0, read_cr0());
  set(FieldN::host_cr3, read_cr3());
  set(FieldN::host_cr4, read_cr4());
  if ((controls_.exit & exitctl::load_efer) != 0) set(Field64::host_efer, efer);
  if ((controls_.exit & exitctl::load_pat) != 0) set(Field64::host_pat, pat);
  if ((controls_.entry & entryctl::load_efer) != 0) set(Field64::guest_efer, efer);
  if ((controls_.entry & entryctl::load_pat) != 0) set(Field64::guest_pat, pat);
  set(Field16::host_cs_selector, host.cs);
  set(Field16::host_ss_selector, host.ss);
  set(Field16::host_ds_selector, host.ds);
  set(Field16::host_es_selector, host.es);
  set(Field16::host_fs_selector, host.fs);
  set(Field16::host_gs_selector, host.gs);
  set(Field16::host_tr_selector, host.tr);
  set(FieldN::host_fs_base, host.fs_base);
  set(FieldN::host_gs_base, host.gs_base);
  set(FieldN::host_tr_base, host.tr_base);
  set(FieldN::host_gdtr_base, host.gdtr_base);
  set(FieldN::host_idtr_base, host.idtr_base);
  set(Field32::host_sysenter_cs, uint32_t{0});
  set(FieldN::host_sysenter_esp, uint64_t{0});
  set(FieldN::host_sysenter_eip, uint64_t{0});
  set(FieldN::host_rip, MetalVmx::exit_address());
  set(FieldN::host_rsp, uint64_t{0});
}

void TestVm::write_guest() {
  const vmx::HostState host = host_state();
  for (const SegmentValue& s : kSegments) {
    const vmx::SegmentFields& f = vmx::fields_of(s.seg);
    set(f.selector, s.selector);
    set(f.limit, s.limit);
    set(f.access, s.access);
    set(f.base, uint64_t{0});
  }
  set(Field16::guest_tr_selector, host.tr);
  set(Field32::guest_tr_limit, tss_limit());
  set(Field32::guest_tr_access_rights, kBusyTss);
  set(FieldN::guest_tr_base, host.tr_base);
  set(FieldN::guest_gdtr_base, host.gdtr_base);
  set(Field32::guest_gdtr_limit, uint32_t{gdt_limit()});
  set(FieldN::guest_idtr_base, host.idtr_base);
  set(Field32::guest_idtr_limit, uint32_t{0xfff});
  set(FieldN::guest_cr0, read_cr0());
  set(FieldN::guest_cr3, read_cr3());
  set(FieldN::guest_cr4, read_cr4());
  set(FieldN::guest_dr7, kDr7);
  set(FieldN::guest_rsp, reinterpret_cast<uint64_t>(&guest_stacks[this_processor()] + 1));
  set(FieldN::guest_rflags, rflags::fixed1);
  set(FieldN::guest_pending_debug_exceptions, uint64_t{0});
  set(Field32::guest_sysenter_cs, uint32_t{0});
  set(FieldN::guest_sysenter_esp, uint64_t{0});
  set(FieldN::guest_sysenter_eip, uint64_t{0});
  set(Field64::guest_debugctl, uint64_t{0});
  set(Field32::guest_interruptibility_state, uint32_t{0});
  set(Field32::guest_activity_state, uint32_t{0});
}

Outcome TestVm::launch(const void* code) {
  set(FieldN::guest_rip, reinterpret_cast<uint64_t>(code));
  return launch_here();
}

Outcome TestVm::launch_here() {
  if (vmcs_.failed()) bail_out("VMWRITE fails for field ", Hex{vmcs_.failed_field()});
  return entered(lab_.cpu.vmlaunch(regs));
}

// What was caught belongs to the guest when the entry succeeded, and to the entry when not.
Outcome TestVm::entered(VmxStatus status) {
  guest_trap_ = last_trap();
  return status == VmxStatus::succeed ? kSucceed : lab_.outcome(status);
}

Outcome TestVm::resume() {
  if (vmcs_.failed()) bail_out("VMWRITE fails for field ", Hex{vmcs_.failed_field()});
  return entered(lab_.cpu.vmresume(regs));
}

ExitRecord TestVm::exit() {
  ExitRecord r;
  r.reason = get(Field32::exit_reason);
  r.qualification = get(FieldN::exit_qualification);
  r.length = get(Field32::exit_instruction_length);
  r.instruction_info = get(Field32::exit_instruction_info);
  r.interruption = get(Field32::exit_interruption_info);
  r.interruption_error = get(Field32::exit_interruption_error_code);
  r.vectoring = get(Field32::idt_vectoring_info);
  r.vectoring_error = get(Field32::idt_vectoring_error_code);
  r.rip = get(FieldN::guest_rip);
  r.rflags = get(FieldN::guest_rflags);
  return r;
}

bool TestVm::expect(Report& report, Outcome entered, ExitReason reason) {
  if (!report.equal("entry", entered, kSucceed)) return false;
  const uint32_t field = get(Field32::exit_reason);
  return report.equal("entry failure", field >> 31 != 0, false) &&
         report.equal("exit reason", static_cast<ExitReason>(field & 0xffff), reason);
}

bool TestVm::run(Report& report, const void* code, ExitReason reason) {
  return expect(report, launch(code), reason);
}

bool TestVm::run_on(Report& report, ExitReason reason) { return expect(report, resume(), reason); }

void TestVm::skip_instruction() {
  set(FieldN::guest_rip, get(FieldN::guest_rip) + get(Field32::exit_instruction_length));
}

}  // namespace cupel::metal
