#include "hw_models/vtx/vmcs.h"

#include <cstring>

namespace cupel::vtx {
namespace {

struct Row {
  uint32_t encoding;
  const char* name;
};
constexpr Row kRows[] = {
#define CUPEL_VMCS_FIELD(width, name, encoding) {encoding, #name},
#include "core/x86/vmcs_fields.def"
#undef CUPEL_VMCS_FIELD
};
static_assert(std::size(kRows) == kFieldCount);

constexpr auto make_lookup() {
  std::array<F, kLookupSize> table{};
  for (auto& f : table) f = F::none;
  for (size_t i = 0; i < kFieldCount; ++i)
    table[lookup_slot(kRows[i].encoding)] = static_cast<F>(i);
  return table;
}
constexpr auto kLookup = make_lookup();

constexpr bool table_fits() {
  for (size_t i = 0; i < kFieldCount; ++i) {
    if (!lookup_covers(kRows[i].encoding)) return false;
    if (kLookup[lookup_slot(kRows[i].encoding)] != static_cast<F>(i)) return false;  // twice
  }
  return true;
}
static_assert(table_fits());

constexpr uint64_t kLaunchOffset = 8, kEpochOffset = 12, kFieldsOffset = 16;
static_assert(kFieldsOffset + kFieldCount * 8 <= kPageSize);

}  // namespace

uint32_t encoding_of(F field) { return kRows[static_cast<size_t>(field)].encoding; }
const char* name_of(F field) { return kRows[static_cast<size_t>(field)].name; }

uint64_t width_mask(x86::FieldWidth width) {
  switch (width) {
    case x86::FieldWidth::bits16:
      return 0xffff;
    case x86::FieldWidth::bits32:
      return 0xffffffff;
    case x86::FieldWidth::bits64:
    case x86::FieldWidth::natural:
      break;
  }
  return ~0ull;
}

FieldInfo field_info(uint32_t encoding) {
  if (!lookup_covers(encoding)) return {};
  return {kLookup[lookup_slot(encoding)], x86::field_width(encoding), x86::field_type(encoding)};
}

uint32_t region_revision(const PhysicalMemory& memory, Hpa region) {
  return memory.read<uint32_t>(region);
}

void load_region(const PhysicalMemory& memory, Hpa region, Vmcs& vmcs) {
  const auto launch = memory.read<uint32_t>(region + kLaunchOffset);
  vmcs.launch = LaunchState::undefined;
  if (launch == static_cast<uint32_t>(LaunchState::clear)) vmcs.launch = LaunchState::clear;
  if (launch == static_cast<uint32_t>(LaunchState::launched)) vmcs.launch = LaunchState::launched;
  vmcs.vmxon_epoch = memory.read<uint32_t>(region + kEpochOffset);
  for (size_t i = 0; i < kFieldCount; ++i) {
    vmcs.values[i] = memory.read<uint64_t>(region + kFieldsOffset + i * 8) &
                     width_mask(x86::field_width(kRows[i].encoding));
  }
}

void store_region(PhysicalMemory& memory, Hpa region, const Vmcs& vmcs) {
  store_launch_state(memory, region, vmcs.launch);
  memory.write(region + kEpochOffset, vmcs.vmxon_epoch);
  memory.write(region + kFieldsOffset, vmcs.values);
}

uint64_t read_region_field(const PhysicalMemory& memory, Hpa region, F field) {
  return memory.read<uint64_t>(region + kFieldsOffset + static_cast<size_t>(field) * 8) &
         width_mask(x86::field_width(encoding_of(field)));
}
void write_region_field(PhysicalMemory& memory, Hpa region, F field, uint64_t value) {
  memory.write(region + kFieldsOffset + static_cast<size_t>(field) * 8, value);
}

void store_launch_state(PhysicalMemory& memory, Hpa region, LaunchState state) {
  memory.write(region + kLaunchOffset, static_cast<uint32_t>(state));
}

void store_abort_indicator(PhysicalMemory& memory, Hpa region, uint32_t indicator) {
  memory.write(region + 4, indicator);
}

}  // namespace cupel::vtx
