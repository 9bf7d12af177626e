// Quantities as people write them in scenarios: 250ms, 256MiB, 200/s, 10.0.0.2, 52:54:00:00:00:01.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/net_port.h"
#include "core/result.h"
#include "core/types.h"

namespace cupel::scenarios {

// What is wrong with the text ("has no unit") and how to write it ("for example 10s or 250ms").
struct UnitError {
  std::string what;
  std::string hint;
};
template <class T>
using Parsed = Result<T, UnitError>;

// Units ns, us, ms, s, min, h; a decimal point with at most six digits behind it; "0" needs no
// unit. A leading minus is understood, so that a range check can name the limit.
Parsed<Nanoseconds> parse_duration(std::string_view text);
// Bytes. Units B, KiB, MiB, GiB, TiB (powers of 1024) and kB, MB, GB, TB (powers of 1000).
Parsed<uint64_t> parse_size(std::string_view text);
// A rate as "200/s" (also /ms, /min), returned as the time between two events.
Parsed<Nanoseconds> parse_rate(std::string_view text);
// Decimal, optional minus.
Parsed<int64_t> parse_integer(std::string_view text);
// Decimal, all 64 bits.
Parsed<uint64_t> parse_unsigned(std::string_view text);
// Decimal with optional point and exponent, finite; "5%" is 0.05.
Parsed<double> parse_number(std::string_view text);
// true, false (also yes/no, on/off).
Parsed<bool> parse_bool(std::string_view text);

using Ipv4 = std::array<uint8_t, 4>;
// Dotted quad of a host: not 0.x, loopback, multicast or broadcast.
Parsed<Ipv4> parse_ipv4(std::string_view text);
// Unicast, six hexadecimal pairs with colons.
Parsed<MacAddress> parse_mac(std::string_view text);

// The largest unit that needs no fraction: "1500ms", "256MiB".
std::string format_duration(Nanoseconds t);
std::string format_size(uint64_t bytes);
std::string format_ipv4(const Ipv4& ip);
std::string format_mac(const MacAddress& mac);

}  // namespace cupel::scenarios
