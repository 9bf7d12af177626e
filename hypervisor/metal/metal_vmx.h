// The VMX instructions themselves. Freestanding.
// SDM vol. 3C, ch. "VMX Instruction Reference".
#pragma once

#include "core/x86/vmx_cpu.h"

namespace cupel::metal {

// One logical processor: the one that executes this. A fault of an instruction (#UD, #GP) comes
// back as fail_invalid and stays in last_trap(), which every call clears first. Host RSP is
// written by the entries themselves; host RIP must be exit_address().
class MetalVmx : public x86::VmxCpu {
 public:
  static uint64_t exit_address();

  x86::VmxStatus vmxon(Hpa region) override;
  x86::VmxStatus vmxoff() override;
  x86::VmxStatus vmclear(Hpa vmcs) override;
  x86::VmxStatus vmptrld(Hpa vmcs) override;
  x86::VmxStatus vmptrst(Hpa& vmcs) override;
  x86::VmxStatus vmread(uint32_t encoding, uint64_t& value) override;
  x86::VmxStatus vmwrite(uint32_t encoding, uint64_t value) override;
  x86::VmxStatus invept(uint64_t type, const x86::InveptDescriptor& descriptor) override;
  x86::VmxStatus invvpid(uint64_t type, const x86::InvvpidDescriptor& descriptor) override;
  x86::VmxStatus vmlaunch(x86::GprFile& regs) override;
  x86::VmxStatus vmresume(x86::GprFile& regs) override;
  x86::VmxStatus vmcall();

  bool rdmsr(uint32_t index, uint64_t& value) override;
  bool wrmsr(uint32_t index, uint64_t value) override;
  uint64_t read_cr0() override;
  uint64_t read_cr3() override;
  uint64_t read_cr4() override;
  void write_cr0(uint64_t value) override;
  void write_cr4(uint64_t value) override;
  uint64_t read_cr2() override;
  void write_cr2(uint64_t value) override;
  uint64_t read_dr(unsigned n) override;
  void write_dr(unsigned n, uint64_t value) override;
  void fxsave(uint8_t* area512) override;
  void fxrstor(const uint8_t* area512) override;
  uint64_t rdtsc() override;
};

}  // namespace cupel::metal
