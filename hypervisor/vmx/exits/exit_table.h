// One row for every basic exit reason. Freestanding.
#pragma once

#include <array>

#include "core/x86/exit_reason.h"
#include "hypervisor/vmx/vcpu_context.h"

namespace cupel::vmx {

struct ExitRow {
  Outcome (*handle)(VcpuContext&);
  bool delivering = false;  // may interrupt the delivery of an event: IDT-vectoring is looked at
};

// Index: basic exit reason.
extern const std::array<ExitRow, x86::kExitReasonCount> kExitTable;

}  // namespace cupel::vmx
