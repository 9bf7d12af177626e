// Everything an exit handler works with. Freestanding.
#pragma once

#include <array>
#include <cstdint>

#include "core/clock.h"
#include "core/guest_ram.h"
#include "core/x86/exit_reason.h"
#include "core/x86/vmx_cpu.h"
#include "hypervisor/vm/guest_platform.h"
#include "hypervisor/vmx/controls.h"
#include "hypervisor/vmx/cr_policy.h"
#include "hypervisor/vmx/ept_builder.h"
#include "hypervisor/vmx/fault.h"
#include "hypervisor/vmx/guest_access.h"
#include "hypervisor/vmx/injection.h"
#include "hypervisor/vmx/vcpu_config.h"
#include "hypervisor/vmx/vmcs.h"

namespace cupel::vmx {

// What a handler asks the run loop to do.
enum class Outcome : uint8_t {
  resume,
  triple_fault,
  fault,  // details in VcpuContext::fault
};

// Recent CPUID answers of the platform, which may search a table for them. Emptied whenever the
// guest writes an MSR, because some leaves show MSR bits.
class CpuidCache {
 public:
  x86::CpuidLeaf get(vm::GuestPlatform& platform, uint32_t leaf, uint32_t subleaf) {
    Slot& slot = slots_[(leaf ^ leaf >> 27 ^ subleaf << 2) % slots_.size()];
    if (!slot.valid || slot.leaf != leaf || slot.subleaf != subleaf) {
      slot = {true, leaf, subleaf, platform.cpuid(leaf, subleaf)};
    }
    return slot.value;
  }
  void clear() {
    for (Slot& slot : slots_) slot.valid = false;
  }

 private:
  struct Slot {
    bool valid = false;
    uint32_t leaf = 0, subleaf = 0;
    x86::CpuidLeaf value;
  };
  std::array<Slot, 32> slots_{};
};

struct VcpuContext {
  VcpuContext(x86::VmxCpu& cpu_, const RamMap& ram_, vm::GuestPlatform& platform_,
              VirtualClock& clock_, const VmxCapabilities& caps_, const ControlSet& controls_,
              EptBuilder ept_, uint16_t vpid_, uint8_t physical_bits_)
      : cpu(cpu_),
        vmcs(cpu_),
        ram(ram_),
        memory(ram_.memory()),
        platform(platform_),
        clock(clock_),
        caps(caps_),
        controls(controls_),
        policy(CrPolicy::from(caps_, controls_.unrestricted())),
        ept(ept_),
        vpid(vpid_),
        physical_bits(physical_bits_) {}

  x86::VmxCpu& cpu;
  Vmcs vmcs;
  const RamMap ram;
  GuestRam& memory;
  vm::GuestPlatform& platform;
  VirtualClock& clock;
  const VmxCapabilities caps;
  const ControlSet controls;
  const CrPolicy policy;
  EptBuilder ept;
  const uint16_t vpid;
  const uint8_t physical_bits;  // MAXPHYADDR of the guest

  x86::GprFile regs;  // RSP stands in the VMCS
  EventQueue events;
  CpuidCache cpuid;
  bool halted = false;       // after HLT, until an event wakes it
  bool delivering = false;   // this exit interrupted the delivery of an event
  uint32_t exit_reason = 0;  // the whole field of the exit being handled
  uint64_t xcr0 = 1;
  uint64_t tsc_adjust = 0;
  Fault fault;

  GuestAccess access() { return {vmcs, ram, platform, physical_bits}; }

  // Finishes the exiting instruction: RIP past it, RF and the STI and MOV SS shadows gone,
  // single-step trap raised.
  Outcome advance() { return advance(vmcs.get(x86::Field32::exit_instruction_length)); }
  Outcome advance(uint32_t length);

  Outcome raise(uint8_t vector);                  // without error code
  Outcome raise(uint8_t vector, uint32_t error);  // with error code
  Outcome raise(const Event& exception);
  Outcome raise(const AccessError& error);

  // Stops the vCPU; RIP, reason and qualification are filled in.
  Outcome stop(FaultKind kind);

  unsigned cpl() { return vmcs.get(x86::Field32::guest_ss_access_rights) >> 5 & 3; }
  // False when a VMX instruction failed; fault is set.
  [[nodiscard]] bool flush_linear();          // this VPID's linear and combined mappings
  [[nodiscard]] bool flush_guest_physical();  // after EPT changes
  [[nodiscard]] bool note(VmxInstruction instruction, x86::VmxStatus status);
};

}  // namespace cupel::vmx
