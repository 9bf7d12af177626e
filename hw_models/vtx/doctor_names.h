// Field names as people and other programs write them.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "hw_models/vtx/vmcs.h"

namespace cupel::vtx {

struct NamedField {
  F field = F::none;
  bool high = false;  // the upper half of a 64-bit field
};

// Accepts our names ("guest_cs_selector"), the SDM's ("Guest CS selector", "Address of I/O bitmap
// A"), Linux' ("GUEST_CS_SELECTOR", "CPU_BASED_VM_EXEC_CONTROL") and encodings ("0x802", "0802H");
// case and punctuation do not matter. A trailing "high" and odd encodings name the upper half.
std::optional<NamedField> find_field(std::string_view name);

// The name nearest to what was written; empty when nothing is near.
std::string nearest_field(std::string_view name);

// A number: 0x1F, 1FH, 31; `hex` says that digits without mark are hexadecimal. Underscores inside
// are skipped. nullopt: no number, or more than 64 bits.
std::optional<uint64_t> parse_number(std::string_view text, bool hex);

}  // namespace cupel::vtx
