#include "hypervisor/metal/lab.h"

#include "core/x86/msr.h"
#include "hypervisor/metal/console.h"
#include "hypervisor/metal/instructions.h"
#include "hypervisor/metal/trap.h"
#include "hypervisor/vmx/ept_builder.h"

namespace cupel::metal {

using x86::VmxStatus;
namespace msr = x86::msr;

Shown show(const Outcome& outcome) {
  switch (outcome.kind) {
    case Outcome::Kind::succeed:
      return {"VMsucceed", 0, false};
    case Outcome::Kind::fail_invalid:
      return {"VMfailInvalid", 0, false};
    case Outcome::Kind::fail_valid:
      return {"VMfailValid", outcome.number, true};
    case Outcome::Kind::fault:
      if (outcome.number == x86::kUD) return {"#UD", 0, false};
      if (outcome.number == x86::kGP) return {"#GP", 0, false};
      if (outcome.number == x86::kPF) return {"#PF", 0, false};
      return {"exception", outcome.number, true};
  }
  return {};
}

namespace {

// SDM vol. 3C, "Discovering Support for VMX".
void require_vmx() {
  if ((cpuid(1).ecx >> 5 & 1) == 0) bail_out("the processor has no VMX");
}

// SDM vol. 3C, "Enabling and Entering VMX Operation".
void open_feature_control(MetalVmx& cpu) {
  constexpr uint64_t lock = 1, outside_smx = 4;
  uint64_t value = 0;
  if (!cpu.rdmsr(msr::FEATURE_CONTROL, value)) bail_out("IA32_FEATURE_CONTROL cannot be read");
  if ((value & (lock | outside_smx)) == (lock | outside_smx)) return;
  if ((value & lock) != 0) bail_out("IA32_FEATURE_CONTROL is locked with VMX off");
  if (!cpu.wrmsr(msr::FEATURE_CONTROL, value | lock | outside_smx)) {
    bail_out("IA32_FEATURE_CONTROL cannot be written");
  }
}

}  // namespace

Lab::Lab(vmx::FrameAllocator& frame_allocator) : frames(frame_allocator) {
  require_vmx();
  open_feature_control(cpu);
  auto read = vmx::VmxCapabilities::read(cpu);
  if (!read.ok()) bail_out("capability MSR ", Hex{read.error().number}, " cannot be read");
  caps = read.value();
  if (cpuid(0x80000000).eax >= 0x80000008) {
    const uint32_t widths = cpuid(0x80000008).eax;
    physical_bits = static_cast<uint8_t>(widths);
    linear_bits = static_cast<uint8_t>(widths >> 8);
  }
  cpu.write_cr0((cpu.read_cr0() | caps.cr0_fixed0) & caps.cr0_fixed1);
  cpu.write_cr4((cpu.read_cr4() | caps.cr4_fixed0 | x86::cr4::VMXE) & caps.cr4_fixed1);
  vmxon_region = region();
  vmcs = region();
  other_vmcs = region();
  zero_page = frame();
  scratch_page = frame();
  virtual_apic_page = frame();
  apic_access_page = frame();
}

Hpa Lab::frame() {
  auto made = frames.allocate();
  if (!made.ok()) bail_out("out of frames");
  return made.value();
}

Hpa Lab::region() {
  const Hpa made = frame();
  set_revision(made, caps.revision());
  return made;
}

void Lab::set_revision(Hpa at, uint32_t revision) {
  *reinterpret_cast<volatile uint32_t*>(at.value()) = revision;
}

uint64_t Lab::identity_eptp() {
  if (identity_eptp_ != 0) return identity_eptp_;
  auto made = vmx::EptBuilder::create(frames, vmx::EptOptions::from(caps));
  if (!made.ok() || !made->map(Gpa(0), Hpa(0), 4_GiB).ok()) bail_out("no frames for EPT");
  identity_eptp_ = made->pointer();
  return identity_eptp_;
}

void Lab::on() {
  const Outcome made = outcome(cpu.vmxon(vmxon_region));
  // Already on: VMfailInvalid without a current VMCS, VMfailValid(15) with one.
  if (made.kind == Outcome::Kind::fault) bail_out("VMXON faults");
  for (const Hpa at : {vmcs, other_vmcs}) {
    if (!outcome(cpu.vmclear(at)).ok()) bail_out("VMCLEAR fails");
  }
}

void Lab::off() {
  // Outside VMX operation this is #UD, which is caught.
  (void)cpu.vmxoff();
}

Outcome Lab::outcome(VmxStatus status) {
  if (last_trap().taken) return {Outcome::Kind::fault, last_trap().vector};
  if (status == VmxStatus::succeed) return kSucceed;
  if (status == VmxStatus::fail_invalid) return kFailInvalid;
  uint32_t error = 0;
  if (cpu.read(x86::Field32::vm_instruction_error, error) != VmxStatus::succeed) error = ~0u;
  return fail_valid(error);
}

namespace {

uint32_t required(const Controls& wanted, vmx::ControlField field) {
  switch (field) {
    case vmx::ControlField::pin:
      return wanted.pin;
    case vmx::ControlField::primary:
      return wanted.primary | (wanted.secondary != 0 ? x86::proc::secondary_controls : 0);
    case vmx::ControlField::secondary:
      return wanted.secondary;
    case vmx::ControlField::exit:
      return wanted.exit | x86::exitctl::host_address_space_size;
    case vmx::ControlField::entry:
      return wanted.entry | x86::entryctl::ia32e_mode_guest;
  }
  return 0;
}

bool choose_one(const Controls& wanted, vmx::ControlField field, uint64_t capability,
                uint32_t& out) {
  auto made = vmx::set_control({required(wanted, field), 0, 0}, capability);
  if (!made.ok()) return false;
  out = made.value();
  return true;
}

}  // namespace

bool choose(const vmx::VmxCapabilities& caps, const Controls& wanted, vmx::ControlSet& out) {
  using vmx::ControlField;
  return choose_one(wanted, ControlField::pin, caps.pin, out.pin) &&
         choose_one(wanted, ControlField::primary, caps.primary, out.primary) &&
         choose_one(wanted, ControlField::secondary, caps.secondary, out.secondary) &&
         choose_one(wanted, ControlField::exit, caps.exit, out.exit) &&
         choose_one(wanted, ControlField::entry, caps.entry, out.entry);
}

bool Lab::offers(const Controls& wanted) const {
  vmx::ControlSet unused;
  return choose(caps, wanted, unused);
}

}  // namespace cupel::metal
