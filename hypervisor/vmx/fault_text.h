// A Fault as a sentence for people.
#pragma once

#include "core/error.h"
#include "hypervisor/vmx/fault.h"

namespace cupel::vmx {

Error to_error(const Fault& fault);
// SDM vol. 3C, "VM-Instruction Error Numbers".
const char* instruction_error_text(uint32_t number);

}  // namespace cupel::vmx
