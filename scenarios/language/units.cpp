#include "scenarios/language/units.h"

#include <charconv>
#include <cmath>
#include <cstdio>
#include <optional>
#include <span>

namespace cupel::scenarios {
namespace {

struct Unit {
  std::string_view name;
  int64_t factor;
};

constexpr Unit kTimes[] = {{"h", 3'600'000'000'000}, {"min", 60'000'000'000}, {"s", 1'000'000'000},
                           {"ms", 1'000'000},        {"us", 1'000},           {"ns", 1}};
constexpr Unit kSizes[] = {{"TiB", 1ll << 40},
                           {"GiB", 1ll << 30},
                           {"MiB", 1ll << 20},
                           {"KiB", 1ll << 10},
                           {"TB", 1'000'000'000'000},
                           {"GB", 1'000'000'000},
                           {"MB", 1'000'000},
                           {"kB", 1'000},
                           {"B", 1}};
constexpr size_t kBinarySizes = 4;
constexpr std::string_view kTimeHint = "write a number and a unit, for example 10s, 250ms or 1h";
constexpr std::string_view kSizeHint = "write a number and a unit, for example 256MiB or 4GiB";

Failure<UnitError> wrong(std::string_view what, std::string_view hint) {
  return Failure(UnitError{std::string(what), std::string(hint)});
}

bool digit(char c) { return c >= '0' && c <= '9'; }

std::string_view take_digits(std::string_view& text) {
  size_t n = 0;
  while (n < text.size() && digit(text[n])) ++n;
  const auto digits = text.substr(0, n);
  text.remove_prefix(n);
  return digits;
}

std::optional<uint64_t> to_u64(std::string_view digits) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

// A decimal as written: whole part, and the digits behind the point.
struct Decimal {
  bool negative = false;
  std::string_view whole;
  std::string_view fraction;
};

// Takes a decimal off the front of `text`; leaves the unit.
std::optional<Decimal> take_decimal(std::string_view& text) {
  Decimal d;
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) {
    d.negative = text[0] == '-';
    text.remove_prefix(1);
  }
  d.whole = take_digits(text);
  if (d.whole.empty()) return std::nullopt;
  if (text.starts_with('.')) {
    text.remove_prefix(1);
    d.fraction = take_digits(text);
    if (d.fraction.empty()) return std::nullopt;
  }
  return d;
}

// decimal * factor, exactly: nothing is rounded away silently.
Parsed<int64_t> scale(const Decimal& d, int64_t factor, std::string_view hint) {
  constexpr size_t kMostFraction = 6;  // keeps fraction * largest factor inside 63 bits
  if (d.fraction.size() > kMostFraction) return wrong("has more than six decimal places", hint);
  const auto whole = to_u64(d.whole);
  int64_t value = 0;
  if (!whole || *whole > INT64_MAX ||
      __builtin_mul_overflow(static_cast<int64_t>(*whole), factor, &value)) {
    return wrong("is too large", hint);
  }
  if (!d.fraction.empty()) {
    int64_t power = 1;
    for (size_t i = 0; i < d.fraction.size(); ++i) power *= 10;
    const int64_t part = static_cast<int64_t>(*to_u64(d.fraction)) * factor;
    if (part % power != 0) return wrong("is finer than its smallest unit", hint);
    if (__builtin_add_overflow(value, part / power, &value)) return wrong("is too large", hint);
  }
  return d.negative ? -value : value;
}

Parsed<int64_t> parse_quantity(std::string_view text, std::span<const Unit> units,
                               std::string_view noun, std::string_view hint) {
  const auto decimal = take_decimal(text);
  if (!decimal) return wrong("is not " + std::string(noun), hint);
  while (text.starts_with(' ')) text.remove_prefix(1);
  if (text.empty()) {
    const auto value = scale(*decimal, 1, hint);
    if (value.ok() && value.value() == 0) return 0;
    return wrong("has no unit", hint);
  }
  for (const Unit& unit : units) {
    if (unit.name == text) return scale(*decimal, unit.factor, hint);
  }
  std::string known;
  for (const Unit& unit : units) known += (known.empty() ? "" : ", ") + std::string(unit.name);
  return wrong("has an unknown unit", "units are " + known);
}

std::string format(int64_t value, std::span<const Unit> units) {
  for (const Unit& unit : units) {
    if (value != 0 && value % unit.factor == 0) {
      return std::to_string(value / unit.factor) + std::string(unit.name);
    }
  }
  return std::to_string(value) + std::string(units.back().name);
}

}  // namespace

Parsed<Nanoseconds> parse_duration(std::string_view text) {
  auto value = parse_quantity(text, kTimes, "a duration", kTimeHint);
  if (!value) return std::move(value).failure();
  return Nanoseconds(value.value());
}

Parsed<uint64_t> parse_size(std::string_view text) {
  auto value = parse_quantity(text, kSizes, "a size", kSizeHint);
  if (!value) return std::move(value).failure();
  if (value.value() < 0) return wrong("is negative", kSizeHint);
  return static_cast<uint64_t>(value.value());
}

Parsed<Nanoseconds> parse_rate(std::string_view text) {
  constexpr std::string_view kHint = "write how many in what time, for example 200/s";
  const auto decimal = take_decimal(text);
  if (!decimal || !text.starts_with('/')) return wrong("is not a rate", kHint);
  text.remove_prefix(1);
  const auto count = scale(*decimal, 1, kHint);
  if (!count || count.value() <= 0) return wrong("is not a whole number above zero", kHint);
  for (const Unit& unit : kTimes) {
    if (unit.name == text) {
      const int64_t interval = unit.factor / count.value();
      if (interval == 0) return wrong("is faster than one in a nanosecond", kHint);
      return Nanoseconds(interval);
    }
  }
  return wrong("has an unknown unit of time", kHint);
}

Parsed<int64_t> parse_integer(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::result_out_of_range) return wrong("is too large", "");
  if (error != std::errc{} || end != text.data() + text.size()) {
    return wrong("is not a whole number", "write digits only, for example 4");
  }
  return value;
}

Parsed<uint64_t> parse_unsigned(std::string_view text) {
  if (const auto value = to_u64(text)) return *value;
  return wrong("is not a whole number from 0 to 18446744073709551615",
               "write digits only, for example 7");
}

Parsed<double> parse_number(std::string_view text) {
  const bool percent = text.ends_with('%');
  if (percent) text.remove_suffix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !std::isfinite(value)) {
    return wrong("is not a number", "write for example 0.25 or 25%");
  }
  return percent ? value / 100 : value;
}

Parsed<bool> parse_bool(std::string_view text) {
  for (const std::string_view yes : {"true", "yes", "on", "True"}) {
    if (text == yes) return true;
  }
  for (const std::string_view no : {"false", "no", "off", "False"}) {
    if (text == no) return false;
  }
  return wrong("is neither true nor false", "write true or false");
}

Parsed<Ipv4> parse_ipv4(std::string_view text) {
  constexpr std::string_view kHint = "write four numbers up to 255, for example 10.0.0.10";
  Ipv4 ip{};
  for (size_t i = 0; i < ip.size(); ++i) {
    if (i > 0) {
      if (!text.starts_with('.')) return wrong("is not an IPv4 address", kHint);
      text.remove_prefix(1);
    }
    const auto digits = take_digits(text);
    const auto value = to_u64(digits);
    if (!value || *value > 255 || digits.size() > 3) return wrong("is not an IPv4 address", kHint);
    ip[i] = static_cast<uint8_t>(*value);
  }
  if (!text.empty()) return wrong("is not an IPv4 address", kHint);
  if (ip[0] == 0 || ip[0] == 127 || ip[0] >= 224) {
    return wrong("cannot be the address of a VM", kHint);
  }
  return ip;
}

Parsed<MacAddress> parse_mac(std::string_view text) {
  constexpr std::string_view kHint = "write six pairs, for example 52:54:00:00:00:01";
  MacAddress mac{};
  if (text.size() != 17) return wrong("is not a MAC address", kHint);
  for (size_t i = 0; i < mac.size(); ++i) {
    const auto pair = text.substr(i * 3, 2);
    const auto [end, error] = std::from_chars(pair.data(), pair.data() + 2, mac[i], 16);
    const bool separated = i == 5 || text[i * 3 + 2] == ':';
    if (error != std::errc{} || end != pair.data() + 2 || !separated) {
      return wrong("is not a MAC address", kHint);
    }
  }
  if ((mac[0] & 1) != 0) return wrong("is a multicast address", kHint);
  return mac;
}

std::string format_duration(Nanoseconds t) { return format(t.count(), kTimes); }

std::string format_size(uint64_t bytes) {
  const auto binary = std::span(kSizes).first(kBinarySizes);
  for (const Unit& unit : binary) {
    const auto factor = static_cast<uint64_t>(unit.factor);
    if (bytes != 0 && bytes % factor == 0) {
      return std::to_string(bytes / factor) + std::string(unit.name);
    }
  }
  return std::to_string(bytes) + "B";
}

std::string format_ipv4(const Ipv4& ip) {
  char text[16];
  std::snprintf(text, sizeof text, "%u.%u.%u.%u", ip[0], ip[1], ip[2], ip[3]);
  return text;
}

std::string format_mac(const MacAddress& mac) {
  char text[18];
  std::snprintf(text, sizeof text, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
                mac[4], mac[5]);
  return text;
}

}  // namespace cupel::scenarios
