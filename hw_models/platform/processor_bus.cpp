#include "hw_models/platform/processor_bus.h"

#include "core/x86/msr.h"

namespace cupel::platform {
namespace {

namespace msr = x86::msr;

constexpr uint64_t kIoApic = 0xfec00000;

uint64_t ones(unsigned size) { return size >= 8 ? ~0ull : (1ull << (8 * size)) - 1; }

bool inside_page(Hpa at, unsigned size, uint64_t page, uint64_t& offset) {
  offset = at.value() - page;
  return at.value() >= page && offset <= kPageSize - size;
}

}  // namespace

void ProcessorBus::apic_touched() {
  board_.apic_touched(cpu_);
  board_.settle();
}

// In x2APIC mode, or disabled, the local APIC leaves its page to the board.
BusDevice* ProcessorBus::find(Hpa at, unsigned size, uint64_t& offset) {
  const uint64_t base = apic_.apic_base() & ~(kPageSize - 1);
  if (apic_.hardware_enabled() && !apic_.x2apic_mode() && inside_page(at, size, base, offset))
    return &apic_;
  return inside_page(at, size, kIoApic, offset) ? &board_.io_apic_ : nullptr;
}

uint64_t ProcessorBus::read(Hpa at, unsigned size) {
  uint64_t offset = 0, value = ~0ull;
  if (BusDevice* chip = find(at, size, offset)) {
    value = chip->read(offset, size);
    apic_touched();
  } else {
    board_.pci_.mmio_read(Gpa(at.value()), size, value);
  }
  return value & ones(size);
}

void ProcessorBus::write(Hpa at, unsigned size, uint64_t value) {
  uint64_t offset = 0;
  if (BusDevice* chip = find(at, size, offset)) {
    chip->write(offset, size, value & ones(size));
    apic_touched();
  } else {
    board_.pci_.mmio_write(Gpa(at.value()), size, value & ones(size));
  }
}

cpu::SystemBus::MsrOutcome ProcessorBus::read_msr(uint32_t index, uint64_t& value) {
  if (index == msr::APIC_BASE) {
    value = apic_.apic_base();
    return MsrOutcome::done;
  }
  if (index == msr::TSC_DEADLINE) {
    value = apic_.tsc_deadline();
    apic_touched();
    return MsrOutcome::done;
  }
  if (index < msr::X2APIC_FIRST || index > msr::X2APIC_LAST) return MsrOutcome::absent;
  const auto read = apic_.read_msr(index);
  if (!read) return MsrOutcome::refused;
  value = *read;
  apic_touched();
  return MsrOutcome::done;
}

cpu::SystemBus::MsrOutcome ProcessorBus::write_msr(uint32_t index, uint64_t value) {
  bool done = true;
  if (index == msr::APIC_BASE) {
    done = apic_.set_apic_base(value);
  } else if (index == msr::TSC_DEADLINE) {
    apic_.set_tsc_deadline(value);
  } else if (index >= msr::X2APIC_FIRST && index <= msr::X2APIC_LAST) {
    done = apic_.write_msr(index, value);
  } else {
    return MsrOutcome::absent;
  }
  apic_touched();
  return done ? MsrOutcome::done : MsrOutcome::refused;
}

void ProcessorBus::set_cr8(uint8_t value) {
  apic_.set_task_priority(static_cast<uint8_t>(value << 4));
  board_.settle();
}

}  // namespace cupel::platform
