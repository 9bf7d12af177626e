// Names of the control bits, for people.
#pragma once

#include <cstdint>
#include <string>

#include "hypervisor/vmx/controls.h"

namespace cupel::vmx {

// "primary processor-based controls"
const char* field_name(ControlField field);
// The SDM's names of the bits set in `bits`, comma-separated; "bit N" where there is no name.
std::string bit_names(ControlField field, uint32_t bits);

}  // namespace cupel::vmx
