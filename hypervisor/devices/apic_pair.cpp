#include "hypervisor/devices/apic_pair.h"

#include "core/x86/msr.h"

namespace cupel::devices {

namespace msr = x86::msr;

ApicPair::ApicPair(const VirtualClock& clock, const chips::LocalApicConfig& config,
                   chips::DualPic8259& pic)
    : pic_(pic), local_(clock, config) {
  bus_.attach(local_);
  io_apic_.set_message_sink([this](const chips::ApicMessage& m) { return bus_.deliver(m); });
  local_.set_eoi_sink([this](uint8_t vector) { io_apic_.end_of_interrupt(vector); });
  // INIT and start-up to the only processor are ignored: nobody else could wake it again.
  local_.set_event_sink([this](chips::DeliveryMode mode, uint8_t) {
    if (mode == chips::DeliveryMode::nmi) nmi_ = true;
  });
  pic_.intr.connect([this](bool level) { local_.set_lint(0, level); });
  local_.enable_virtual_wire();
}

uint8_t ApicPair::acknowledge() {
  if (local_.highest_pending() >= 0 || !local_.extint_pending()) return local_.acknowledge();
  local_.extint_taken();
  return pic_.acknowledge();
}

bool ApicPair::take_nmi() {
  const bool taken = nmi_;
  nmi_ = false;
  return taken;
}

BusDevice* ApicPair::find(Gpa at, unsigned size, uint64_t& offset) {
  const auto inside = [&](uint64_t start) {
    offset = at.value() - start;
    return at.value() >= start && offset <= kPageSize - size;
  };
  if (local_.hardware_enabled() && inside(local_.apic_base() & ~(kPageSize - 1))) return &local_;
  if (inside(kIoApicAddress)) return &io_apic_;
  return nullptr;
}

bool ApicPair::mmio_read(Gpa at, unsigned size, uint64_t& value) {
  uint64_t offset = 0;
  BusDevice* chip = find(at, size, offset);
  if (chip == nullptr) return false;
  value = chip->read(offset, size);
  return true;
}

bool ApicPair::mmio_write(Gpa at, unsigned size, uint64_t value) {
  uint64_t offset = 0;
  BusDevice* chip = find(at, size, offset);
  if (chip == nullptr) return false;
  chip->write(offset, size, value);
  return true;
}

ApicPair::MsrResult ApicPair::read_msr(uint32_t index, uint64_t& value) {
  if (index == msr::APIC_BASE) {
    value = local_.apic_base();
  } else if (index == msr::TSC_DEADLINE) {
    value = local_.tsc_deadline();
  } else if (index >= msr::X2APIC_FIRST && index <= msr::X2APIC_LAST) {
    const auto read = local_.read_msr(index);
    value = read.value_or(0);
    return {true, read.has_value()};
  } else {
    return {};
  }
  return {true, true};
}

ApicPair::MsrResult ApicPair::write_msr(uint32_t index, uint64_t value) {
  if (index == msr::APIC_BASE) return {true, local_.set_apic_base(value)};
  if (index >= msr::X2APIC_FIRST && index <= msr::X2APIC_LAST)
    return {true, local_.write_msr(index, value)};
  if (index != msr::TSC_DEADLINE) return {};
  local_.set_tsc_deadline(value);
  return {true, true};
}

void ApicPair::save(ArchiveWriter& out) const {
  out.section("apic-pair", 1);
  out.put(static_cast<uint8_t>(nmi_));
  local_.save(out);
  io_apic_.save(out);
}

void ApicPair::restore(ArchiveReader& in) {
  in.section("apic-pair", 1);
  nmi_ = in.get<uint8_t>() != 0;
  local_.restore(in);
  io_apic_.restore(in);
}

}  // namespace cupel::devices
