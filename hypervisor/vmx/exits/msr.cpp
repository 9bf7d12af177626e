// RDMSR and WRMSR of everything the MSR bitmaps let exit.
#include "core/x86/msr.h"
#include "hypervisor/vmx/exits/handlers.h"

namespace cupel::vmx {
namespace {

using namespace x86;

constexpr uint64_t kDebugctlAllowed = 3;  // LBR, BTF

// MSRs of the processor itself; all others are the platform's.
bool read(VcpuContext& vcpu, uint32_t index, uint64_t& value) {
  switch (index) {
    case msr::TSC:
      value = vcpu.cpu.rdtsc() + vcpu.vmcs.get(Field64::tsc_offset);
      return true;
    case msr::TSC_ADJUST:
      value = vcpu.tsc_adjust;
      return true;
    case msr::DEBUGCTL:
      value = vcpu.vmcs.get(Field64::guest_debugctl);
      return true;
    default:
      return vcpu.platform.read_msr(index, value);
  }
}

// A change of the TSC shows in TSC_ADJUST and the other way round. SDM vol. 3B, "Time-Stamp
// Counter Adjustment".
void move_tsc(VcpuContext& vcpu, uint64_t delta) {
  vcpu.tsc_adjust += delta;
  vcpu.vmcs.set(Field64::tsc_offset, vcpu.vmcs.get(Field64::tsc_offset) + delta);
}

bool write(VcpuContext& vcpu, uint32_t index, uint64_t value) {
  switch (index) {
    case msr::TSC:
      move_tsc(vcpu, value - vcpu.cpu.rdtsc() - vcpu.vmcs.get(Field64::tsc_offset));
      return true;
    case msr::TSC_ADJUST:
      move_tsc(vcpu, value - vcpu.tsc_adjust);
      return true;
    case msr::DEBUGCTL:
      if ((value & ~kDebugctlAllowed) != 0) return false;
      vcpu.vmcs.set(Field64::guest_debugctl, value);
      return true;
    default:
      vcpu.cpuid.clear();
      return vcpu.platform.write_msr(index, value);
  }
}

}  // namespace

Outcome handle_rdmsr(VcpuContext& vcpu) {
  uint64_t value = 0;
  if (!read(vcpu, static_cast<uint32_t>(vcpu.regs[Gpr::rcx]), value)) return vcpu.raise(kGP, 0);
  vcpu.regs[Gpr::rax] = value & 0xffffffff;
  vcpu.regs[Gpr::rdx] = value >> 32;
  return vcpu.advance();
}

Outcome handle_wrmsr(VcpuContext& vcpu) {
  const uint64_t value = (vcpu.regs[Gpr::rax] & 0xffffffff) | (vcpu.regs[Gpr::rdx] & 0xffffffff)
                                                                  << 32;
  if (!write(vcpu, static_cast<uint32_t>(vcpu.regs[Gpr::rcx]), value)) return vcpu.raise(kGP, 0);
  return vcpu.advance();
}

}  // namespace cupel::vmx
