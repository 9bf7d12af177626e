// Names of the control bits, and how to take one away from a profile.
// SDM vol. 3C, "VM-Execution Control Fields", "VM-Exit Control Fields", "VM-Entry Control Fields".
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "hw_models/vtx/capabilities.h"
#include "hw_models/vtx/vmcs.h"

namespace cupel::vtx {

enum class ControlWord : uint8_t {
  pin,
  primary,
  secondary,
  tertiary,
  exit,
  secondary_exit,
  entry,
  vm_function
};

struct ControlName {
  ControlWord word;
  uint8_t bit;
  const char* name;  // as the SDM spells it: "HLT exiting"
};

// Every defined control, by word and bit.
std::span<const ControlName> control_names();
// nullptr for a bit that the architecture does not define.
const char* control_name(ControlWord word, unsigned bit);

F field_of(ControlWord word);
std::optional<ControlWord> control_word_of(F field);

// Bits of the word that may be 1, and those that must be.
uint64_t allowed_bits(const CapabilityProfile& profile, ControlWord word);
uint64_t required_bits(const CapabilityProfile& profile, ControlWord word);

// The profile as if the processor had never had the control, and with it those that need it. "load
// IA32_PAT" takes both controls of that name; "exit: load IA32_PAT" and "entry: load IA32_PAT" one.
// A control that is 1 by default on old processors ("CR3-load exiting") loses its 0-setting
// instead. nullopt: no control has that name.
std::optional<CapabilityProfile> without(CapabilityProfile profile, std::string_view control);

// Takes away what needs a control that is not there.
void drop_dependents(CapabilityProfile& profile);

}  // namespace cupel::vtx
