// The VMCS: its data as the processor caches it, and its region in memory.
// SDM vol. 3C, ch. "Virtual Machine Control Structures".
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "core/physical_memory.h"
#include "core/x86/vmcs.h"

namespace cupel::vtx {

// Compact index of a field: the row number in vmcs_fields.def.
enum class F : uint8_t {
#define CUPEL_VMCS_FIELD(width, name, encoding) name,
#include "core/x86/vmcs_fields.def"
#undef CUPEL_VMCS_FIELD
  none
};
inline constexpr size_t kFieldCount = static_cast<size_t>(F::none);

struct FieldInfo {
  F index = F::none;  // none: no such field
  x86::FieldWidth width = x86::FieldWidth::bits16;
  x86::FieldType type = x86::FieldType::control;
};

// Encodings of the table fit in 10 bits: width, type and 6 bits of index.
inline constexpr size_t kLookupSize = 1024;
constexpr size_t lookup_slot(uint32_t encoding) {
  return (encoding >> 13 & 3) << 8 | (encoding >> 10 & 3) << 6 | (encoding >> 1 & 63);
}
// True when nothing but width, type, a 6-bit index and the access type is set.
constexpr bool lookup_covers(uint32_t encoding) { return (encoding & ~0x6c7fu) == 0; }

// Encoding of a field, its name, and the bits it can hold.
uint32_t encoding_of(F field);
const char* name_of(F field);
uint64_t width_mask(x86::FieldWidth width);
// The field of an encoding (access type ignored); F::none when the table has none.
FieldInfo field_info(uint32_t encoding);

enum class LaunchState : uint32_t {
  // What a region that no VMCLEAR has initialized may hold; neither VMLAUNCH nor VMRESUME takes it.
  undefined = 0,
  clear = 0x434c4541,
  launched = 0x4c4e4348,
};

struct Vmcs {
  std::array<uint64_t, kFieldCount> values{};
  LaunchState launch = LaunchState::undefined;
  uint32_t vmxon_epoch = 0;  // the VMX operation in which it was launched

  uint64_t operator[](F f) const { return values[static_cast<size_t>(f)]; }
  uint64_t& operator[](F f) { return values[static_cast<size_t>(f)]; }
};

// VMCS region, 4 KiB: 0 revision identifier, 4 VMX-abort indicator (both architectural), 8 launch
// state, 12 VMX operation, 16 the fields, 8 bytes each, in table order. Any contents are safe to
// load: values are cut to their field's width. The region lies inside memory or reads as ones.
uint32_t region_revision(const PhysicalMemory& memory, Hpa region);
void load_region(const PhysicalMemory& memory, Hpa region, Vmcs& vmcs);
void store_region(PhysicalMemory& memory, Hpa region, const Vmcs& vmcs);
// One field of a VMCS that is not current.
uint64_t read_region_field(const PhysicalMemory& memory, Hpa region, F field);
void write_region_field(PhysicalMemory& memory, Hpa region, F field, uint64_t value);
void store_launch_state(PhysicalMemory& memory, Hpa region, LaunchState state);
void store_abort_indicator(PhysicalMemory& memory, Hpa region, uint32_t indicator);

}  // namespace cupel::vtx
