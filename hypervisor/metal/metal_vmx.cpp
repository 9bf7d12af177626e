#include "hypervisor/metal/metal_vmx.h"

#include "hypervisor/metal/instructions.h"

extern "C" {
uint32_t metal_vmx_enter(cupel::x86::GprFile* regs, uint32_t launch);
extern const char metal_vmx_exit[];
}

namespace cupel::metal {

using x86::VmxStatus;

namespace {

// SDM vol. 3C, "Conventions": CF is VMfailInvalid, ZF is VMfailValid.
VmxStatus status(bool cf, bool zf) {
  if (last_trap().taken || cf) return VmxStatus::fail_invalid;
  return zf ? VmxStatus::fail_valid : VmxStatus::succeed;
}

VmxStatus enter(x86::GprFile& regs, bool launch) {
  clear_trap();
  const uint32_t result = metal_vmx_enter(&regs, launch ? 1 : 0);
  if (result == 0) return VmxStatus::succeed;
  // No exit took place: that is a failure, whatever the flags say.
  return (result & 0x100) != 0 && !last_trap().taken ? VmxStatus::fail_valid
                                                     : VmxStatus::fail_invalid;
}

}  // namespace

// An instruction with its CF and ZF. Only the operand constraints differ.
#define CUPEL_VMX(instruction, ...)                                                            \
  bool cf = false, zf = false;                                                                 \
  clear_trap();                                                                                \
  asm volatile(CUPEL_CAUGHT(instruction) : "=@ccc"(cf), "=@ccz"(zf) : __VA_ARGS__ : "memory"); \
  return status(cf, zf)

uint64_t MetalVmx::exit_address() { return reinterpret_cast<uint64_t>(metal_vmx_exit); }

VmxStatus MetalVmx::vmxon(Hpa region) { CUPEL_VMX("vmxon %[at]", [at] "m"(region)); }
VmxStatus MetalVmx::vmclear(Hpa vmcs) { CUPEL_VMX("vmclear %[at]", [at] "m"(vmcs)); }
VmxStatus MetalVmx::vmptrld(Hpa vmcs) { CUPEL_VMX("vmptrld %[at]", [at] "m"(vmcs)); }
VmxStatus MetalVmx::vmptrst(Hpa& vmcs) { CUPEL_VMX("vmptrst (%[at])", [at] "r"(&vmcs)); }
VmxStatus MetalVmx::vmxoff() { CUPEL_VMX("vmxoff", ); }
VmxStatus MetalVmx::vmcall() { CUPEL_VMX("vmcall", ); }
VmxStatus MetalVmx::vmwrite(uint32_t encoding, uint64_t value) {
  CUPEL_VMX("vmwrite %[value], %[field]", [value] "r"(value), [field] "r"(uint64_t{encoding}));
}
VmxStatus MetalVmx::invept(uint64_t type, const x86::InveptDescriptor& descriptor) {
  CUPEL_VMX("invept (%[at]), %[type]", [at] "r"(&descriptor), [type] "r"(type));
}
VmxStatus MetalVmx::invvpid(uint64_t type, const x86::InvvpidDescriptor& descriptor) {
  // The instruction reads 128 bits: VPID, 48 zero bits, linear address.
  const uint64_t memory[2] = {descriptor.vpid, descriptor.linear_address};
  CUPEL_VMX("invvpid (%[at]), %[type]", [at] "r"(memory), [type] "r"(type));
}

#undef CUPEL_VMX

VmxStatus MetalVmx::vmread(uint32_t encoding, uint64_t& value) {
  bool cf = false, zf = false;
  clear_trap();
  asm volatile(CUPEL_CAUGHT("vmread %[field], %[value]")
               : "=@ccc"(cf), "=@ccz"(zf), [value] "+r"(value)
               : [field] "r"(uint64_t{encoding})
               : "memory");
  return status(cf, zf);
}

VmxStatus MetalVmx::vmlaunch(x86::GprFile& regs) { return enter(regs, true); }
VmxStatus MetalVmx::vmresume(x86::GprFile& regs) { return enter(regs, false); }

bool MetalVmx::rdmsr(uint32_t index, uint64_t& value) { return read_msr(index, value); }
bool MetalVmx::wrmsr(uint32_t index, uint64_t value) { return write_msr(index, value); }
uint64_t MetalVmx::read_cr0() { return metal::read_cr0(); }
uint64_t MetalVmx::read_cr3() { return metal::read_cr3(); }
uint64_t MetalVmx::read_cr4() { return metal::read_cr4(); }
void MetalVmx::write_cr0(uint64_t value) { metal::write_cr0(value); }
void MetalVmx::write_cr4(uint64_t value) { metal::write_cr4(value); }
uint64_t MetalVmx::read_cr2() { return metal::read_cr2(); }
void MetalVmx::write_cr2(uint64_t value) { metal::write_cr2(value); }
uint64_t MetalVmx::rdtsc() { return metal::rdtsc(); }

uint64_t MetalVmx::read_dr(unsigned n) {
  uint64_t v = 0;
  switch (n) {
    case 0:
      asm volatile("mov %%dr0, %0" : "=r"(v));
      break;
    case 1:
      asm volatile("mov %%dr1, %0" : "=r"(v));
      break;
    case 2:
      asm volatile("mov %%dr2, %0" : "=r"(v));
      break;
    case 3:
      asm volatile("mov %%dr3, %0" : "=r"(v));
      break;
    default:
      asm volatile("mov %%dr6, %0" : "=r"(v));
      break;
  }
  return v;
}

void MetalVmx::write_dr(unsigned n, uint64_t v) {
  switch (n) {
    case 0:
      asm volatile("mov %0, %%dr0" ::"r"(v));
      break;
    case 1:
      asm volatile("mov %0, %%dr1" ::"r"(v));
      break;
    case 2:
      asm volatile("mov %0, %%dr2" ::"r"(v));
      break;
    case 3:
      asm volatile("mov %0, %%dr3" ::"r"(v));
      break;
    default:
      asm volatile("mov %0, %%dr6" ::"r"(v));
      break;
  }
}

void MetalVmx::fxsave(uint8_t* area512) { asm volatile("fxsave64 (%0)" ::"r"(area512) : "memory"); }
void MetalVmx::fxrstor(const uint8_t* area512) {
  asm volatile("fxrstor64 (%0)" ::"r"(area512) : "memory");
}

}  // namespace cupel::metal
