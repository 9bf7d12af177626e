// MC146818A real-time clock with CMOS RAM. Source: Motorola MC146818A data sheet; the century byte
// at 0x32 is the PC convention.
#pragma once

#include <array>
#include <cstdint>

#include "core/chips/byte_device.h"
#include "core/chips/chip.h"
#include "core/chips/frequency.h"
#include "core/clock.h"
#include "core/irq_line.h"

namespace cupel::chips {

// Two ports: 0x70 index (bit 7 masks NMI and is ignored), 0x71 data; 128 bytes. `irq` is IRQ 8.
//
// Deviations: an update takes no time, so UIP is up for the 244 us before it only; the day of the
// week is computed from the date; the square-wave output and daylight saving are not there.
class Rtc146818 : public ByteDevice, public Chip {
 public:
  static constexpr unsigned kBytes = 128;

  // start_epoch: the time of day at virtual time 0, in seconds since 1970-01-01 00:00.
  Rtc146818(const VirtualClock& clock, int64_t start_epoch);

  // CMOS RAM as a firmware sets it up, index 0x0e..0x7f without the century; others are ignored.
  void set_nvram(unsigned index, uint8_t value);
  uint8_t nvram(unsigned index) const { return index < kBytes ? bytes_[index] : 0xff; }
  // Memory size where PC firmware leaves it: below 1 MiB 0x15-16, above in KiB 0x17-18 and 0x30-31,
  // above 16 MiB in 64 KiB units 0x34-35, above 4 GiB in 64 KiB units 0x5b-5d.
  void set_memory_size(uint64_t below_4g, uint64_t above_4g);
  // Seconds since 1970-01-01 that the clock shows.
  int64_t time_of_day();

  void advance(Nanoseconds now) override;
  Nanoseconds next_deadline() const override;
  void save(ArchiveWriter& out) const override;
  void restore(ArchiveReader& in) override;

  IrqLine irq;

 protected:
  uint8_t read_byte(uint64_t offset) override;
  void write_byte(uint64_t offset, uint8_t value) override;

 private:
  static constexpr Frequency kCrystal{32768};

  bool divider_running() const { return (bytes_[0x0a] & 0x60) != 0x60; }
  bool counting() const;
  bool update_in_progress() const;
  int64_t seconds_at(Nanoseconds t) const;
  Nanoseconds time_of_second(int64_t second) const;
  int64_t next_alarm(int64_t after) const;
  uint64_t periodic_ticks() const;
  Nanoseconds next_periodic(Nanoseconds after) const;

  uint8_t read_data();
  void write_data(uint8_t value);
  void write_register_a(uint8_t value);
  void write_register_b(uint8_t value);
  void show_time(int64_t second);
  void take_time();
  void restart_at(Nanoseconds origin);
  int decode(uint8_t value) const;
  uint8_t encode(int value) const;
  int decode_hour(uint8_t value) const;
  uint8_t encode_hour(int hour) const;
  void update_irq();

  template <class Self, class Visit>
  static void fields(Self& s, Visit&& visit) {
    visit(s.index_, s.bytes_, s.now_, s.origin_, s.second_, s.base_);
  }

  const VirtualClock& clock_;
  uint8_t index_ = 0;
  std::array<uint8_t, kBytes> bytes_{};
  Nanoseconds now_;     // up to which flags are right
  Nanoseconds origin_;  // when the divider chain last began a second; may lie before the run
  int64_t base_;        // time of day at origin_
  int64_t second_;      // time of day that the registers show
};

}  // namespace cupel::chips
