// ACPI fixed hardware: power management event and control registers, PM timer.
// Source: ACPI 6.5, section 4.8 "ACPI Register Model"; addresses as on a PIIX4 under QEMU.
#pragma once

#include <cstdint>
#include <functional>

#include "core/bus.h"
#include "core/chips/chip.h"
#include "core/chips/fields.h"
#include "core/chips/frequency.h"
#include "core/clock.h"
#include "core/irq_line.h"

namespace cupel::platform {

// Twelve ports: 0 PM1 status (16 bits, write 1 to clear), 2 PM1 enable, 4 PM1 control, 8 PM timer
// (32 bits, 3,579,545 Hz of virtual time). The machine is always in ACPI mode: SCI_EN reads 1.
// Writing SLP_EN with SLP_TYP = kSoftOff turns the power off; other sleep types do nothing.
//
// Deviations: of the PM1 events only the PM timer's carry (TMR) exists; GBL_RLS and BM_RLD are
// stored without effect.
class AcpiPm : public BusDevice, public chips::Chip {
 public:
  static constexpr uint16_t kPort = 0x600, kPorts = 12;
  static constexpr unsigned kEvent = 0, kControl = 4, kTimer = 8;  // offsets of the blocks
  static constexpr uint8_t kSoftOff = 0;                           // SLP_TYP of \_S5
  static constexpr uint64_t kHz = 3'579'545;
  static constexpr unsigned kSci = 9;  // ISA IRQ of `sci`

  explicit AcpiPm(const VirtualClock& clock) : clock_(clock) {}

  void set_power_off_handler(std::function<void()> handler) { on_off_ = std::move(handler); }

  // Aligned accesses of 1, 2 and 4 bytes inside one register; others read as ones, are dropped.
  uint64_t read(uint64_t offset, unsigned size) override;
  void write(uint64_t offset, unsigned size, uint64_t value) override;
  void advance(Nanoseconds now) override;
  Nanoseconds next_deadline() const override;
  void save(ArchiveWriter& out) const override;
  void restore(ArchiveReader& in) override;

  IrqLine sci;  // level, active high

 private:
  static constexpr chips::Frequency kClock{kHz};

  uint32_t timer() const { return static_cast<uint32_t>(kClock.ticks_at(clock_.now())); }
  uint64_t block(uint64_t offset) const;
  void write_control(uint16_t value);
  void update();

  template <class Self, class Visit>
  static void fields(Self& s, Visit&& visit) {
    visit(s.status_, s.enable_, s.control_, s.half_);
  }

  const VirtualClock& clock_;
  std::function<void()> on_off_;
  uint16_t status_ = 0;
  uint16_t enable_ = 0;
  uint16_t control_ = 1;  // SCI_EN
  uint64_t half_ = 0;     // half periods of the timer seen: each sets TMR_STS
};

}  // namespace cupel::platform
