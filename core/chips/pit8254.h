// 8254 interval timer of a PC, and system control port B (0x61). Source: Intel 8254 data sheet;
// Intel 82371AB (PIIX4) data sheet for port 0x61.
#pragma once

#include <array>
#include <cstdint>

#include "core/chips/byte_device.h"
#include "core/chips/chip.h"
#include "core/chips/frequency.h"
#include "core/chips/pit_counter.h"
#include "core/clock.h"
#include "core/irq_line.h"

namespace cupel::chips {

// Four ports, 0x40-0x43. Counters run at 1,193,182 Hz of virtual time; counter 0 drives `irq`
// (IRQ 0); counters 0 and 1 are always gated on.
class Pit8254 : public ByteDevice, public Chip {
 public:
  static constexpr uint64_t kHz = 1'193'182;

  explicit Pit8254(const VirtualClock& clock) : clock_(clock) {}

  // Counter 2, for port B.
  void set_gate2(bool level);
  bool gate2() const { return counters_[2].gate(); }
  bool output2();
  // Ticks since the start of the run.
  uint64_t ticks();

  void advance(Nanoseconds now) override;
  Nanoseconds next_deadline() const override;
  void save(ArchiveWriter& out) const override;
  void restore(ArchiveReader& in) override;

  IrqLine irq;

 protected:
  uint8_t read_byte(uint64_t offset) override;
  void write_byte(uint64_t offset, uint8_t value) override;

 private:
  static constexpr Frequency kClock{kHz};

  void read_back(uint8_t command);

  const VirtualClock& clock_;
  uint64_t tick_ = 0;  // up to which outputs have been shown
  std::array<PitCounter, 3> counters_{PitCounter(true), PitCounter(true), PitCounter(false)};
};

// One port: bit 0 gate of counter 2, 1 speaker, 2-3 stored (parity and channel check off), 4 RAM
// refresh (toggles every 18 ticks of counter 1), 5 OUT of counter 2, 6-7 no error.
class SystemControlPortB : public ByteDevice, public Chip {
 public:
  explicit SystemControlPortB(Pit8254& pit) : pit_(pit) {}
  bool speaker_on() const { return (stored_ & 0x02) != 0; }
  void save(ArchiveWriter& out) const override;
  void restore(ArchiveReader& in) override;

 protected:
  uint8_t read_byte(uint64_t offset) override;
  void write_byte(uint64_t offset, uint8_t value) override;

 private:
  Pit8254& pit_;
  uint8_t stored_ = 0;
};

}  // namespace cupel::chips
