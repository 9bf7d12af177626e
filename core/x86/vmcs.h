// VMCS field encodings as types: one enum class a width, so that a wrong width does not compile.
// Freestanding. Rows: vmcs_fields.def.
#pragma once

#include <cstdint>

namespace cupel::x86 {

#define CUPEL_VMCS_SELECT_16_16(name, enc) name = enc,
#define CUPEL_VMCS_SELECT_32_32(name, enc) name = enc,
#define CUPEL_VMCS_SELECT_64_64(name, enc) name = enc,
#define CUPEL_VMCS_SELECT_N_N(name, enc) name = enc,
#define CUPEL_VMCS_SELECT_16_32(name, enc)
#define CUPEL_VMCS_SELECT_16_64(name, enc)
#define CUPEL_VMCS_SELECT_16_N(name, enc)
#define CUPEL_VMCS_SELECT_32_16(name, enc)
#define CUPEL_VMCS_SELECT_32_64(name, enc)
#define CUPEL_VMCS_SELECT_32_N(name, enc)
#define CUPEL_VMCS_SELECT_64_16(name, enc)
#define CUPEL_VMCS_SELECT_64_32(name, enc)
#define CUPEL_VMCS_SELECT_64_N(name, enc)
#define CUPEL_VMCS_SELECT_N_16(name, enc)
#define CUPEL_VMCS_SELECT_N_32(name, enc)
#define CUPEL_VMCS_SELECT_N_64(name, enc)

enum class Field16 : uint32_t {
#define CUPEL_VMCS_FIELD(width, name, enc) CUPEL_VMCS_SELECT_16_##width(name, enc)
#include "core/x86/vmcs_fields.def"
#undef CUPEL_VMCS_FIELD
};
enum class Field32 : uint32_t {
#define CUPEL_VMCS_FIELD(width, name, enc) CUPEL_VMCS_SELECT_32_##width(name, enc)
#include "core/x86/vmcs_fields.def"
#undef CUPEL_VMCS_FIELD
};
enum class Field64 : uint32_t {
#define CUPEL_VMCS_FIELD(width, name, enc) CUPEL_VMCS_SELECT_64_##width(name, enc)
#include "core/x86/vmcs_fields.def"
#undef CUPEL_VMCS_FIELD
};
enum class FieldN : uint32_t {
#define CUPEL_VMCS_FIELD(width, name, enc) CUPEL_VMCS_SELECT_N_##width(name, enc)
#include "core/x86/vmcs_fields.def"
#undef CUPEL_VMCS_FIELD
};

// The parts of a field encoding. SDM vol. 3C, "Field Encoding in VMCS" (structure of an encoding).
enum class FieldType : uint8_t { control = 0, read_only = 1, guest_state = 2, host_state = 3 };
enum class FieldWidth : uint8_t { bits16 = 0, bits64 = 1, bits32 = 2, natural = 3 };
constexpr FieldType field_type(uint32_t encoding) {
  return static_cast<FieldType>(encoding >> 10 & 3);
}
constexpr FieldWidth field_width(uint32_t encoding) {
  return static_cast<FieldWidth>(encoding >> 13 & 3);
}
constexpr bool is_high_access(uint32_t encoding) { return (encoding & 1) != 0; }

}  // namespace cupel::x86
