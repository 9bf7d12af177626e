#include "hw_models/platform/aml.h"

#include <cassert>

namespace cupel::platform::aml {
namespace {

constexpr uint8_t kZeroOp = 0x00, kOneOp = 0x01, kNameOp = 0x08, kBytePrefix = 0x0a,
                  kWordPrefix = 0x0b, kDwordPrefix = 0x0c, kQwordPrefix = 0x0e, kScopeOp = 0x10,
                  kBufferOp = 0x11, kPackageOp = 0x12, kExtension = 0x5b, kDeviceOp = 0x82;
// Address space descriptors: "General Flags", minimum and maximum fixed, produced.
constexpr uint8_t kFixedRange = 1 << 2 | 1 << 3;
constexpr uint8_t kMemory = 0, kIo = 1, kBus = 2;

Bytes little_endian(uint64_t value, unsigned size) {
  Bytes bytes;
  for (unsigned i = 0; i < size; ++i) bytes.push_back(static_cast<uint8_t>(value >> (8 * i)));
  return bytes;
}

// "Package Length Encoding": counts its own bytes too. Up to 63 in one byte; above, the first byte
// has the number of others and four bits.
Bytes with_length(const Bytes& body) {
  if (body.size() + 1 < 0x40) return Bytes{static_cast<uint8_t>(body.size() + 1)} + body;
  for (unsigned more = 1; more <= 3; ++more) {
    const uint64_t length = body.size() + 1 + more;
    if (length >> (4 + 8 * more) != 0) continue;
    return Bytes{static_cast<uint8_t>(more << 6 | (length & 0xf))} +
           little_endian(length >> 4, more) + body;
  }
  assert(false && "a package of 256 MiB");
  return {};
}

Bytes name_string(std::string_view path) {
  Bytes bytes;
  if (path.starts_with('\\')) {
    bytes.push_back('\\');
    path.remove_prefix(1);
  }
  assert(!path.empty() && path.size() <= 4);
  for (size_t i = 0; i < 4; ++i)
    bytes.push_back(i < path.size() ? static_cast<uint8_t>(path[i]) : '_');
  return bytes;
}

// Word and DWord address space descriptors: granularity, minimum, maximum, translation, length.
Bytes address_space(uint8_t tag, unsigned width, uint8_t type, uint8_t type_flags, uint64_t first,
                    uint64_t last) {
  Bytes body{type, kFixedRange, type_flags};
  for (const uint64_t v : {uint64_t{0}, first, last, uint64_t{0}, last - first + 1})
    body = body + little_endian(v, width);
  return Bytes{tag} + little_endian(body.size(), 2) + body;
}

}  // namespace

Bytes operator+(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

Bytes integer(uint64_t value) {
  if (value == 0) return {kZeroOp};
  if (value == 1) return {kOneOp};
  if (value <= 0xff) return Bytes{kBytePrefix} + little_endian(value, 1);
  if (value <= 0xffff) return Bytes{kWordPrefix} + little_endian(value, 2);
  if (value <= 0xffffffff) return Bytes{kDwordPrefix} + little_endian(value, 4);
  return Bytes{kQwordPrefix} + little_endian(value, 8);
}

Bytes package(std::initializer_list<Bytes> elements) {
  Bytes body{static_cast<uint8_t>(elements.size())};
  for (const Bytes& e : elements) body = body + e;
  return Bytes{kPackageOp} + with_length(body);
}

Bytes buffer(const Bytes& bytes) {
  return Bytes{kBufferOp} + with_length(integer(bytes.size()) + bytes);
}

// Three letters of five bits each, then four digits; big-endian in the number's memory image.
Bytes eisa_id(std::string_view id) {
  assert(id.size() == 7);
  uint32_t value = 0;
  for (size_t i = 0; i < 3; ++i) value = value << 5 | static_cast<uint32_t>(id[i] - '@');
  for (size_t i = 3; i < 7; ++i) {
    const char c = id[i];
    value = value << 4 | static_cast<uint32_t>(c <= '9' ? c - '0' : c - 'A' + 10);
  }
  return Bytes{kDwordPrefix} + little_endian(__builtin_bswap32(value), 4);
}

Bytes name(std::string_view path, const Bytes& object) {
  return Bytes{kNameOp} + name_string(path) + object;
}
Bytes scope(std::string_view path, const Bytes& terms) {
  return Bytes{kScopeOp} + with_length(name_string(path) + terms);
}
Bytes device(std::string_view path, const Bytes& terms) {
  return Bytes{kExtension, kDeviceOp} + with_length(name_string(path) + terms);
}

Bytes io_ports(uint16_t first, uint8_t count) {
  constexpr uint8_t kTag = 0x47, kDecodes16Bits = 1, kAlignment = 1;
  return Bytes{kTag, kDecodes16Bits} + little_endian(first, 2) + little_endian(first, 2) +
         Bytes{kAlignment, count};
}
Bytes irq(unsigned line) {
  assert(line < 16);
  return Bytes{0x22} + little_endian(1u << line, 2);
}
Bytes bus_numbers(uint16_t first, uint16_t last) {
  return address_space(0x88, 2, kBus, 0, first, last);
}
Bytes io_range(uint16_t first, uint16_t last) {
  constexpr uint8_t kEntireRange = 3;
  return address_space(0x88, 2, kIo, kEntireRange, first, last);
}
Bytes memory_range(uint32_t first, uint32_t last) {
  constexpr uint8_t kReadWrite = 1;
  return address_space(0x87, 4, kMemory, kReadWrite, first, last);
}
Bytes resources(const Bytes& descriptors) { return buffer(descriptors + Bytes{0x79, 0}); }

}  // namespace cupel::platform::aml
