#include "core/chips/rtc146818.h"

#include <algorithm>

#include "core/chips/civil_time.h"
#include "core/chips/fields.h"

namespace cupel::chips {
namespace {

enum Register : uint8_t {
  kSecond = 0x00,
  kSecondAlarm = 0x01,
  kMinute = 0x02,
  kMinuteAlarm = 0x03,
  kHour = 0x04,
  kHourAlarm = 0x05,
  kWeekday = 0x06,
  kDay = 0x07,
  kMonth = 0x08,
  kYear = 0x09,
  kA = 0x0a,
  kB = 0x0b,
  kC = 0x0c,
  kD = 0x0d,
  kCentury = 0x32,
};

constexpr uint8_t kUpdateInProgress = 0x80;  // A
constexpr uint8_t kSet = 0x80;               // B
constexpr uint8_t kPeriodic = 0x40;          // B enables, C flags
constexpr uint8_t kAlarm = 0x20;
constexpr uint8_t kUpdateEnded = 0x10;
constexpr uint8_t kBinary = 0x04;  // B
constexpr uint8_t k24Hours = 0x02;
constexpr uint8_t kPm = 0x80;        // hours
constexpr uint8_t kAnyValue = 0xc0;  // alarm bytes from here on match everything
constexpr int64_t kSecondNs = 1'000'000'000;
constexpr Nanoseconds kUpdateLead = 244_us;
// Keeps sums in range whatever an archive or a guest says: years -30,000 .. 30,000 or so.
constexpr int64_t kFarthest = 1'000'000'000'000;
constexpr int64_t kNoAlarm = INT64_MAX;

bool holds_time(uint8_t index) {
  return index == kCentury || (index <= kYear && (index & 1) == 0) || index == kDay ||
         index == kYear;
}

}  // namespace

Rtc146818::Rtc146818(const VirtualClock& clock, int64_t start_epoch)
    : clock_(clock), base_(std::clamp(start_epoch, -kFarthest, kFarthest)), second_(base_) {
  bytes_[kA] = 0x26;  // 32,768 Hz crystal, 1,024 Hz periodic rate: as PC firmware leaves it
  bytes_[kB] = k24Hours;
  bytes_[kD] = 0x80;  // the battery is good
  show_time(second_);
}

void Rtc146818::set_nvram(unsigned index, uint8_t value) {
  if (index > kD && index < kBytes && index != kCentury) bytes_[index] = value;
}

void Rtc146818::set_memory_size(uint64_t below_4g, uint64_t above_4g) {
  auto put = [&](unsigned index, uint64_t value, unsigned count) {
    for (unsigned i = 0; i < count; ++i)
      set_nvram(index + i, static_cast<uint8_t>(value >> (8 * i)));
  };
  auto above = [&](uint64_t start) { return below_4g > start ? below_4g - start : 0; };
  put(0x15, std::min<uint64_t>(below_4g >> 10, 640), 2);
  put(0x17, std::min<uint64_t>(above(1_MiB) >> 10, 0xffff), 2);
  put(0x30, std::min<uint64_t>(above(1_MiB) >> 10, 0xffff), 2);
  put(0x34, std::min<uint64_t>(above(16_MiB) >> 16, 0xffff), 2);
  put(0x5b, std::min<uint64_t>(above_4g >> 16, 0xffffff), 3);
}

int64_t Rtc146818::time_of_day() {
  advance(clock_.now());
  return second_;
}

bool Rtc146818::counting() const { return divider_running() && (bytes_[kB] & kSet) == 0; }

int64_t Rtc146818::seconds_at(Nanoseconds t) const {
  return base_ + (t - origin_).count() / kSecondNs;
}

Nanoseconds Rtc146818::time_of_second(int64_t second) const {
  const int64_t distance = second - base_;
  if (distance >= (INT64_MAX - std::max<int64_t>(origin_.count(), 0)) / kSecondNs)
    return Nanoseconds::max();
  return origin_ + Nanoseconds(distance * kSecondNs);
}

// The next second after `after` that the three alarm bytes match, within the coming day.
int64_t Rtc146818::next_alarm(int64_t after) const {
  auto wanted = [](uint8_t raw, int decoded) { return raw >= kAnyValue ? -1 : decoded; };
  const int hour = wanted(bytes_[kHourAlarm], decode_hour(bytes_[kHourAlarm]));
  const int minute = wanted(bytes_[kMinuteAlarm], decode(bytes_[kMinuteAlarm]));
  const int second = wanted(bytes_[kSecondAlarm], decode(bytes_[kSecondAlarm]));
  if (hour > 23 || minute > 59 || second > 59) return kNoAlarm;
  int64_t at = after + 1;
  while (at <= after + 86'400) {
    const int64_t in_day = (at % 86'400 + 86'400) % 86'400;
    if (hour >= 0 && in_day / 3600 != hour) {
      at += 3600 - in_day % 3600;
    } else if (minute >= 0 && in_day / 60 % 60 != minute) {
      at += 60 - in_day % 60;
    } else if (second >= 0 && in_day % 60 != second) {
      ++at;
    } else {
      return at;
    }
  }
  return kNoAlarm;
}

// Rates 1 and 2 repeat rates 8 and 9 on a 32,768 Hz crystal; 0 is off.
uint64_t Rtc146818::periodic_ticks() const {
  unsigned rate = bytes_[kA] & 0x0f;
  if (rate == 0 || !divider_running()) return 0;
  if (rate <= 2) rate += 7;
  return uint64_t{1} << (rate - 1);
}

Nanoseconds Rtc146818::next_periodic(Nanoseconds after) const {
  const uint64_t period = periodic_ticks();
  if (period == 0) return Nanoseconds::max();
  const uint64_t ticks = kCrystal.ticks_at(after - origin_);
  return origin_ + kCrystal.time_of((ticks / period + 1) * period);
}

void Rtc146818::advance(Nanoseconds now) {
  if (now <= now_) return;
  uint8_t flags = 0;
  if (next_periodic(now_) <= now) flags |= kPeriodic;
  now_ = now;
  if (counting()) {
    const int64_t second = seconds_at(now);
    if (second > second_) {
      flags |= kUpdateEnded;
      if (next_alarm(second_) <= second) flags |= kAlarm;
      second_ = second;
      show_time(second);
    }
  }
  bytes_[kC] |= flags;
  update_irq();
}

Nanoseconds Rtc146818::next_deadline() const {
  if (irq.level()) return Nanoseconds::max();
  const uint8_t enabled = bytes_[kB];
  Nanoseconds next = Nanoseconds::max();
  if ((enabled & kPeriodic) != 0) next = next_periodic(now_);
  if (!counting()) return next;
  if ((enabled & kUpdateEnded) != 0) next = std::min(next, time_of_second(second_ + 1));
  if ((enabled & kAlarm) != 0) {
    const int64_t alarm = next_alarm(second_);
    if (alarm != kNoAlarm) next = std::min(next, time_of_second(alarm));
  }
  return next;
}

void Rtc146818::update_irq() {
  uint8_t& c = bytes_[kC];
  const bool active = (c & bytes_[kB] & (kPeriodic | kAlarm | kUpdateEnded)) != 0;
  c = static_cast<uint8_t>((c & 0x70) | (active ? 0x80 : 0));
  irq.set(active);
}

bool Rtc146818::update_in_progress() const {
  return counting() && time_of_second(second_ + 1) - now_ <= kUpdateLead;
}

uint8_t Rtc146818::read_byte(uint64_t offset) {
  return offset == 1 ? read_data() : 0xff;  // the index is write-only
}

void Rtc146818::write_byte(uint64_t offset, uint8_t value) {
  if (offset == 0) index_ = value & 0x7f;
  if (offset == 1) write_data(value);
}

uint8_t Rtc146818::read_data() {
  advance(clock_.now());
  uint8_t value = bytes_[index_];
  if (index_ == kA && update_in_progress()) value |= kUpdateInProgress;
  if (index_ == kC) {
    bytes_[kC] = 0;
    update_irq();
  }
  return value;
}

void Rtc146818::write_data(uint8_t value) {
  advance(clock_.now());
  switch (index_) {
    case kA:
      write_register_a(value);
      return;
    case kB:
      write_register_b(value);
      return;
    case kC:
    case kD:
      return;
    default:
      break;
  }
  bytes_[index_] = value;
  if (holds_time(index_) && counting()) take_time();
}

// Releasing the divider chain from reset begins the next second half a second later.
void Rtc146818::write_register_a(uint8_t value) {
  const bool was_running = divider_running();
  bytes_[kA] = value & 0x7f;
  if (!was_running && divider_running()) {
    take_time();
    restart_at(now_ - Nanoseconds(kSecondNs / 2));
  }
}

void Rtc146818::write_register_b(uint8_t value) {
  const bool was_counting = counting();
  // Setting SET turns the update interrupt off.
  bytes_[kB] = (value & kSet) != 0 ? value & static_cast<uint8_t>(~kUpdateEnded) : value;
  // Hours are shown anew only by the next update, as in the chip.
  if (!was_counting && counting()) take_time();
  update_irq();
}

// Registers -> time of day. The phase within the second stays as it is.
void Rtc146818::take_time() {
  CivilTime t;
  const int century = decode(bytes_[kCentury]);
  t.year = century * 100 + decode(bytes_[kYear]);
  t.month = std::clamp(decode(bytes_[kMonth]), 1, 12);
  t.day = std::max(decode(bytes_[kDay]), 1);
  t.hour = decode_hour(bytes_[kHour]);
  t.minute = decode(bytes_[kMinute]);
  t.second = decode(bytes_[kSecond]);
  second_ = seconds_from_civil(t);
  base_ = second_ - (now_ - origin_).count() / kSecondNs;
}

void Rtc146818::restart_at(Nanoseconds origin) {
  origin_ = origin;
  base_ = second_;
}

// Time of day -> registers.
void Rtc146818::show_time(int64_t second) {
  const CivilTime t = civil_from_seconds(second);
  bytes_[kSecond] = encode(t.second);
  bytes_[kMinute] = encode(t.minute);
  bytes_[kHour] = encode_hour(t.hour);
  bytes_[kWeekday] = encode(t.weekday);
  bytes_[kDay] = encode(t.day);
  bytes_[kMonth] = encode(t.month);
  bytes_[kYear] = encode(static_cast<int>((t.year % 100 + 100) % 100));
  bytes_[kCentury] = encode(static_cast<int>((t.year / 100 % 100 + 100) % 100));
}

int Rtc146818::decode(uint8_t value) const {
  return (bytes_[kB] & kBinary) != 0 ? value : (value >> 4) * 10 + (value & 0x0f);
}

uint8_t Rtc146818::encode(int value) const {
  return static_cast<uint8_t>((bytes_[kB] & kBinary) != 0 ? value : value / 10 << 4 | value % 10);
}

int Rtc146818::decode_hour(uint8_t value) const {
  if ((bytes_[kB] & k24Hours) != 0) return decode(value);
  return decode(value & 0x7f) % 12 + ((value & kPm) != 0 ? 12 : 0);
}

uint8_t Rtc146818::encode_hour(int hour) const {
  if ((bytes_[kB] & k24Hours) != 0) return encode(hour);
  const int shown = hour % 12 == 0 ? 12 : hour % 12;
  return static_cast<uint8_t>(encode(shown) | (hour >= 12 ? kPm : 0));
}

void Rtc146818::save(ArchiveWriter& out) const {
  out.section("rtc146818", 1);
  fields(*this, FieldWriter(out));
}

void Rtc146818::restore(ArchiveReader& in) {
  in.section("rtc146818", 1);
  fields(*this, FieldReader(in));
  index_ &= 0x7f;
  bytes_[kA] &= 0x7f;
  now_ = std::clamp(now_, Nanoseconds(0), Nanoseconds(INT64_MAX / 4));
  origin_ = std::clamp(origin_, Nanoseconds(-kSecondNs), now_);
  base_ = std::clamp(base_, -kFarthest, kFarthest);
  second_ = std::clamp(second_, base_, kFarthest);
  irq.restore_level((bytes_[kC] & 0x80) != 0);
}

}  // namespace cupel::chips
