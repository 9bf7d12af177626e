// The VMX instructions of one logical processor: the seam between a hypervisor and its VT-x.
//
// Implemented by hw_models/vtx (the software model) and by inline assembly on metal; used by
// hypervisor/vmx. It stands in core so that neither side includes the other. Freestanding.
// Source: SDM vol. 3C, ch. "VMX Instruction Reference", "Conventions".
#pragma once

#include <cstdint>

#include "core/types.h"
#include "core/x86/registers.h"
#include "core/x86/vmcs.h"

namespace cupel::x86 {

// CF and ZF after a VMX instruction.
enum class VmxStatus : uint8_t {
  succeed,       // VMsucceed: all flags clear
  fail_invalid,  // VMfailInvalid: CF, there is no current VMCS to hold an error number
  fail_valid,    // VMfailValid: ZF, the number is in the VM-instruction error field
};

struct InveptDescriptor {
  uint64_t eptp = 0;
  uint64_t reserved = 0;
};
struct InvvpidDescriptor {
  uint16_t vpid = 0;
  uint64_t linear_address = 0;
};

// Every outcome must be looked at: a failed VMREAD is not a zero.
class VmxCpu {
 public:
  virtual ~VmxCpu() = default;

  [[nodiscard]] virtual VmxStatus vmxon(Hpa region) = 0;
  [[nodiscard]] virtual VmxStatus vmxoff() = 0;
  [[nodiscard]] virtual VmxStatus vmclear(Hpa vmcs) = 0;
  [[nodiscard]] virtual VmxStatus vmptrld(Hpa vmcs) = 0;
  [[nodiscard]] virtual VmxStatus vmptrst(Hpa& vmcs) = 0;
  [[nodiscard]] virtual VmxStatus vmread(uint32_t encoding, uint64_t& value) = 0;
  [[nodiscard]] virtual VmxStatus vmwrite(uint32_t encoding, uint64_t value) = 0;
  [[nodiscard]] virtual VmxStatus invept(uint64_t type, const InveptDescriptor& descriptor) = 0;
  [[nodiscard]] virtual VmxStatus invvpid(uint64_t type, const InvvpidDescriptor& descriptor) = 0;

  // Loads the guest's general registers (RSP excepted: it is a VMCS field), enters, and returns
  // after the next VM exit with the guest's registers in `regs`. Anything but succeed means that
  // no VM exit took place. A VM-entry failure after the checks on controls and host state is an
  // exit with bit 31 of the exit reason set, and returns succeed.
  [[nodiscard]] virtual VmxStatus vmlaunch(GprFile& regs) = 0;
  [[nodiscard]] virtual VmxStatus vmresume(GprFile& regs) = 0;

  // State that VM entries and exits do not switch and that a hypervisor handles itself.
  // rdmsr/wrmsr return false where the instruction would raise #GP(0).
  [[nodiscard]] virtual bool rdmsr(uint32_t index, uint64_t& value) = 0;
  [[nodiscard]] virtual bool wrmsr(uint32_t index, uint64_t value) = 0;
  virtual uint64_t read_cr0() = 0;
  virtual uint64_t read_cr3() = 0;
  virtual uint64_t read_cr4() = 0;
  virtual void write_cr0(uint64_t value) = 0;
  virtual void write_cr4(uint64_t value) = 0;
  virtual uint64_t read_cr2() = 0;
  virtual void write_cr2(uint64_t value) = 0;
  virtual uint64_t read_dr(unsigned n) = 0;  // 0-3, 6
  virtual void write_dr(unsigned n, uint64_t value) = 0;
  virtual void fxsave(uint8_t* area512) = 0;
  virtual void fxrstor(const uint8_t* area512) = 0;
  virtual uint64_t rdtsc() = 0;

  // Typed access: a wrong width does not compile.
  [[nodiscard]] VmxStatus read(Field16 f, uint16_t& v) { return read_as(f, v); }
  [[nodiscard]] VmxStatus read(Field32 f, uint32_t& v) { return read_as(f, v); }
  [[nodiscard]] VmxStatus read(Field64 f, uint64_t& v) { return read_as(f, v); }
  [[nodiscard]] VmxStatus read(FieldN f, uint64_t& v) { return read_as(f, v); }
  [[nodiscard]] VmxStatus write(Field16 f, uint16_t v) {
    return vmwrite(static_cast<uint32_t>(f), v);
  }
  [[nodiscard]] VmxStatus write(Field32 f, uint32_t v) {
    return vmwrite(static_cast<uint32_t>(f), v);
  }
  [[nodiscard]] VmxStatus write(Field64 f, uint64_t v) {
    return vmwrite(static_cast<uint32_t>(f), v);
  }
  [[nodiscard]] VmxStatus write(FieldN f, uint64_t v) {
    return vmwrite(static_cast<uint32_t>(f), v);
  }

 private:
  template <class Field, class Value>
  VmxStatus read_as(Field field, Value& value) {
    uint64_t raw = 0;
    const VmxStatus status = vmread(static_cast<uint32_t>(field), raw);
    value = static_cast<Value>(raw);
    return status;
  }
};

}  // namespace cupel::x86
