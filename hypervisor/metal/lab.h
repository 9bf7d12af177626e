// What the self-test works with: the processor, frames, and VMs that are built new for each test.
// Freestanding.
#pragma once

#include <cstdint>

#include "core/x86/exit_reason.h"
#include "core/x86/vmx_controls.h"
#include "hypervisor/metal/metal_vmx.h"
#include "hypervisor/metal/tap.h"
#include "hypervisor/metal/trap.h"
#include "hypervisor/vmx/capabilities.h"
#include "hypervisor/vmx/controls.h"
#include "hypervisor/vmx/frame_allocator.h"
#include "hypervisor/vmx/vmcs.h"

namespace cupel::metal {

// How a VMX instruction ended, faults included.
struct Outcome {
  enum class Kind : uint8_t { succeed, fail_invalid, fail_valid, fault } kind = Kind::succeed;
  uint32_t number = 0;  // VM-instruction error, or vector
  bool operator==(const Outcome&) const = default;
  bool ok() const { return kind == Kind::succeed; }
};
inline constexpr Outcome kSucceed{};
inline constexpr Outcome kFailInvalid{Outcome::Kind::fail_invalid, 0};
inline constexpr Outcome kUndefinedOpcode{Outcome::Kind::fault, x86::kUD};
inline constexpr Outcome kGeneralProtection{Outcome::Kind::fault, x86::kGP};
constexpr Outcome fail_valid(uint32_t error) { return {Outcome::Kind::fail_valid, error}; }
Shown show(const Outcome& outcome);

// The control bits a test needs beside what a 64-bit guest needs. `primary` gets "activate
// secondary controls" by itself when `secondary` is not 0.
struct Controls {
  uint32_t pin = 0, primary = 0, secondary = 0, exit = 0, entry = 0;
};

// The smallest controls that hold `wanted`; false when the processor does not offer them.
bool choose(const vmx::VmxCapabilities& caps, const Controls& wanted, vmx::ControlSet& out);

// The processor in VMX operation or out of it, and the regions it works on.
class Lab {
 public:
  // Reads the capabilities, opens IA32_FEATURE_CONTROL and sets the CR bits that VMX fixes. Ends
  // the run when the processor has no VMX.
  explicit Lab(vmx::FrameAllocator& frames);

  MetalVmx cpu;
  vmx::VmxCapabilities caps;
  vmx::FrameAllocator& frames;
  Hpa vmxon_region, vmcs, other_vmcs;
  Hpa zero_page;  // stays zero
  Hpa scratch_page, virtual_apic_page, apic_access_page;
  uint8_t physical_bits = 36, linear_bits = 48;

  Hpa frame();  // zeroed, or the run ends
  // A region with the processor's revision identifier.
  Hpa region();
  void set_revision(Hpa region, uint32_t revision);

  // An EPT pointer that maps the first 4 GiB one to one; built at the first call.
  uint64_t identity_eptp();

  // VMXON and VMXOFF where they are needed. The VMCS stays clear and not current.
  void on();
  void off();

  // From the flags of the last VMX instruction and the fault it may have raised.
  Outcome outcome(x86::VmxStatus status);
  bool offers(const Controls& controls) const;

 private:
  uint64_t identity_eptp_ = 0;
};

// One VM exit as the VMCS has it.
struct ExitRecord {
  uint32_t reason = 0;  // the whole field
  uint64_t qualification = 0;
  uint32_t length = 0, instruction_info = 0;
  uint32_t interruption = 0, interruption_error = 0;
  uint32_t vectoring = 0, vectoring_error = 0;
  uint64_t rip = 0, rflags = 0;
  x86::ExitReason basic() const { return static_cast<x86::ExitReason>(reason & 0xffff); }
  bool entry_failure() const { return reason >> 31 != 0; }
};

// A VM whose VMCS passes every check: a 64-bit guest at CPL 0 that shares the image's page
// tables, GDT and IDT, without EPT. Tests change fields before they run it.
class TestVm {
 public:
  TestVm(Lab& lab, const Controls& controls);

  // False when the processor does not offer the controls; the report then says "skipped".
  bool ready(Report& report) const;

  template <class Field, class Value>
  void set(Field field, Value value) {
    vmcs_.set(field, value);
  }
  template <class Field>
  auto get(Field field) {
    return vmcs_.get(field);
  }
  vmx::Vmcs& vmcs() { return vmcs_; }
  Lab& lab() { return lab_; }
  const vmx::ControlSet& controls() const { return controls_; }

  x86::GprFile regs;

  // Enters at `code`, or where the guest stands; the outcome of the entry.
  Outcome launch(const void* code);
  Outcome launch_here();
  Outcome resume();
  // After an entry that succeeded.
  ExitRecord exit();
  // The last exception that a handler took while the guest ran, which shares the image's IDT.
  const Trap& guest_trap() const { return guest_trap_; }

  // Enters at `code` and reports anything but an exit for `reason`.
  bool run(Report& report, const void* code, x86::ExitReason reason);
  bool run_on(Report& report, x86::ExitReason reason);  // from where the guest stands
  // Moves RIP behind the instruction that exited.
  void skip_instruction();

 private:
  void write_controls();
  void write_conditional_controls();
  void write_host();
  void write_guest();
  Outcome entered(x86::VmxStatus status);
  bool expect(Report& report, Outcome entered, x86::ExitReason reason);

  Lab& lab_;
  vmx::Vmcs vmcs_;
  vmx::ControlSet controls_;
  bool offered_ = false;
  Trap guest_trap_;
};

// Guest code, written in the assembler's words: what comes before, the one instruction under test,
// and what follows. A VMCALL ends it. All three parts may be empty.
struct GuestCode {
  const char* code;
  const char* at;    // the instruction under test
  const char* next;  // the one behind it
  uint32_t length() const { return static_cast<uint32_t>(next - at); }
};
#define CUPEL_GUEST(name, before, instruction, after)                                           \
  extern "C" const char name##_code[], name##_at[], name##_next[];                              \
  asm(".pushsection .text\n" #name "_code:\n" before "\n" #name "_at:\n" instruction "\n" #name \
      "_next:\n" after "\n vmcall\n 1: hlt\n jmp 1b\n .popsection");                            \
  constexpr GuestCode name { name##_code, name##_at, name##_next }

}  // namespace cupel::metal
