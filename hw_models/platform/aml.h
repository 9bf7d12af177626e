// Writes ACPI Machine Language: what a definition block without code needs.
// Source: ACPI 6.5, sections 20.2 "AML Grammar Definition" and 6.4 "Resource Data Types for ACPI".
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <vector>

namespace cupel::platform::aml {

// A term, object or list of terms, encoded.
using Bytes = std::vector<uint8_t>;

Bytes operator+(Bytes a, const Bytes& b);

// The shortest of ZeroOp, OneOp, BytePrefix ... QWordPrefix.
Bytes integer(uint64_t value);
// At most 255 elements, each an encoded object.
Bytes package(std::initializer_list<Bytes> elements);
Bytes buffer(const Bytes& bytes);
// "PNP0A03": three capital letters, four hexadecimal digits; the number EISAID() gives.
Bytes eisa_id(std::string_view id);

// Names: at most four characters, filled up with '_'; a '\' in front starts at the root.
Bytes name(std::string_view path, const Bytes& object);
Bytes scope(std::string_view path, const Bytes& terms);
Bytes device(std::string_view path, const Bytes& terms);

// Resource descriptors, to be joined and closed with resources(). Ranges are of a bridge, which
// hands them on (ResourceProducer), but for io_ports(), which the device itself answers.
Bytes io_ports(uint16_t first, uint8_t count);
Bytes irq(unsigned line);  // 0..15, edge-triggered
Bytes bus_numbers(uint16_t first, uint16_t last);
Bytes io_range(uint16_t first, uint16_t last);
Bytes memory_range(uint32_t first, uint32_t last);
// The value of _CRS: a buffer ending with an end tag.
Bytes resources(const Bytes& descriptors);

}  // namespace cupel::platform::aml
