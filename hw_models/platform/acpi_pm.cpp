#include "hw_models/platform/acpi_pm.h"

namespace cupel::platform {
namespace {

constexpr uint16_t kTimerEvent = 1 << 0;  // TMR_STS, TMR_EN
// PM1 enable: TMR, GBL, PWRBTN, SLPBTN, RTC. PM1 control: BM_RLD, SLP_TYP; SLP_EN reads 0.
constexpr uint16_t kEnableBits = 1 << 0 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 10;
constexpr uint16_t kSciEnable = 1, kControlBits = 1 << 1 | 7 << 10, kSleepEnable = 1 << 13;
constexpr unsigned kHalfPeriod = 31;  // bit whose change sets TMR_STS

uint64_t ones(unsigned size) { return (1ull << (8 * size)) - 1; }

}  // namespace

// The 32-bit register block that holds `offset`.
uint64_t AcpiPm::block(uint64_t offset) const {
  switch (offset & ~3ull) {
    case kEvent:
      return static_cast<uint32_t>(enable_) << 16 | status_;
    case kControl:
      return control_;
    case kTimer:
      return timer();
    default:
      return ~0ull;
  }
}

uint64_t AcpiPm::read(uint64_t offset, unsigned size) {
  if ((offset & 3) + size > 4) return ~0ull;
  advance(clock_.now());
  return block(offset) >> (8 * (offset & 3)) & ones(size);
}

void AcpiPm::write(uint64_t offset, unsigned size, uint64_t value) {
  if ((offset & 3) + size > 4) return;
  advance(clock_.now());
  const unsigned shift = 8 * (offset & 3);
  const uint64_t mask = ones(size) << shift, bits = value << shift & mask;
  if ((offset & ~3ull) == kEvent) {
    status_ = static_cast<uint16_t>(status_ & ~bits);
    enable_ = static_cast<uint16_t>((enable_ & ~(mask >> 16)) | (bits >> 16 & kEnableBits));
  } else if ((offset & ~3ull) == kControl) {
    write_control(static_cast<uint16_t>((control_ & ~mask) | bits));
  }
  update();
}

void AcpiPm::write_control(uint16_t value) {
  control_ = (value & kControlBits) | kSciEnable;
  if ((value & kSleepEnable) != 0 && (value >> 10 & 7) == kSoftOff && on_off_) on_off_();
}

void AcpiPm::update() { sci.set((status_ & enable_) != 0); }

void AcpiPm::advance(Nanoseconds now) {
  const uint64_t half = kClock.ticks_at(now) >> kHalfPeriod;
  if (half <= half_) return;
  half_ = half;
  status_ |= kTimerEvent;
  update();
}

// Nobody hears a carry while it is not enabled or has been seen already; reads catch up.
Nanoseconds AcpiPm::next_deadline() const {
  if ((enable_ & kTimerEvent) == 0 || (status_ & kTimerEvent) != 0) return Nanoseconds::max();
  return kClock.time_of((half_ + 1) << kHalfPeriod);
}

void AcpiPm::save(ArchiveWriter& out) const {
  out.section("acpi-pm", 1);
  fields(*this, chips::FieldWriter(out));
}

void AcpiPm::restore(ArchiveReader& in) {
  in.section("acpi-pm", 1);
  fields(*this, chips::FieldReader(in));
  status_ &= kTimerEvent;
  enable_ &= kEnableBits;
  control_ = (control_ & kControlBits) | kSciEnable;
  half_ &= 0xffffffff;  // so that the next one can be told in ticks
  sci.restore_level((status_ & enable_) != 0);
}

}  // namespace cupel::platform
