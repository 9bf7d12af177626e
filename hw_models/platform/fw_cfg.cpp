#include "hw_models/platform/fw_cfg.h"

namespace cupel::platform {
namespace {

constexpr uint32_t kTraditionalInterface = 1;
// Bit 14 once asked for writing: it selects the same item.
constexpr uint16_t kItemBits = 0xbfff;

}  // namespace

FwCfg::FwCfg(uint64_t ram, unsigned processor_count) {
  items_[signature] = "QEMU";
  set(id, kTraditionalInterface, 4);
  set(ram_size, ram, 8);
  set(no_graphic, 1, 2);
  set(processors, processor_count, 2);
  set(max_processors, processor_count, 2);
  set(max_ram, ram, 8);
  set(file_directory, 0, 4);
}

void FwCfg::set(Item item, uint64_t value, unsigned size) {
  std::string& bytes = items_[item];
  for (unsigned i = 0; i < size; ++i) bytes += static_cast<char>(value >> (8 * i));
}

uint64_t FwCfg::read(uint64_t, unsigned size) {
  if (size != 1) return ~0ull;
  const auto item = items_.find(selected_);
  if (item == items_.end() || next_ >= item->second.size()) return 0;
  return static_cast<uint8_t>(item->second[next_++]);
}

void FwCfg::write(uint64_t offset, unsigned size, uint64_t value) {
  if (offset != 0 || size != 2) return;
  selected_ = static_cast<uint16_t>(value) & kItemBits;
  next_ = 0;
}

void FwCfg::save(ArchiveWriter& out) const {
  out.section("fw-cfg", 1);
  out.put(selected_);
  out.put(next_);
}

void FwCfg::restore(ArchiveReader& in) {
  in.section("fw-cfg", 1);
  in.get(selected_);
  in.get(next_);
}

}  // namespace cupel::platform
