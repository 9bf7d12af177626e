// VMX controls: what is asked for, what the processor allows, what comes out. Freestanding.
// SDM vol. 3C, ch. "Virtual Machine Control Structures"; vol. 3D, appendix "VMX Capability
// Reporting Facility".
#pragma once

#include <cstdint>

#include "core/result.h"
#include "core/x86/vmx_controls.h"
#include "hypervisor/vmx/capabilities.h"

namespace cupel::vmx {

enum class ControlField : uint8_t { pin, primary, secondary, exit, entry };

// One control field as asked for. Bits named nowhere follow the processor's default.
struct ControlRequest {
  uint32_t required = 0;   // must be one
  uint32_t wanted = 0;     // one where the processor allows it
  uint32_t forbidden = 0;  // must be zero
};

struct ControlRefusal {
  enum class Kind : uint8_t {
    contradiction,  // the caller requires and forbids the same bits
    unsupported,    // required, but the processor cannot set them
    forced,         // forbidden, but the processor insists on them
  };
  Kind kind;
  uint32_t bits;
};

// capability: bits 31:0 must be one, bits 63:32 may be one.
Result<uint32_t, ControlRefusal> set_control(const ControlRequest& request, uint64_t capability);

struct ControlSet {
  uint32_t pin = 0, primary = 0, secondary = 0, exit = 0, entry = 0;
  bool virtual_nmis() const { return (pin & x86::pin::virtual_nmis) != 0; }
  bool vpid() const { return (secondary & x86::proc2::enable_vpid) != 0; }
  bool unrestricted() const { return (secondary & x86::proc2::unrestricted_guest) != 0; }
};

ControlRequest core_request(ControlField field, bool unrestricted);

// The controls the core runs with. unrestricted: the guest starts in real or unpaged mode.
// Errors: control_refused.
Result<ControlSet, Fault> choose_controls(const VmxCapabilities& caps, bool unrestricted);

}  // namespace cupel::vmx
