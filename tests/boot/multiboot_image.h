// Multiboot images for tests, one 4 KiB segment at 1 MiB filled with 0xf4 (HLT).
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

namespace cupel::boot {

struct TestImage {
  template <class T>
  void put(size_t at, T value) {
    std::memcpy(bytes.data() + at, &value, sizeof value);
  }
  void put_header(size_t at, uint32_t flags) {
    put(at, uint32_t{0x1badb002});
    put(at + 4, flags);
    put(at + 8, static_cast<uint32_t>(0 - 0x1badb002 - flags));
  }
  std::vector<std::byte> bytes;
};

// Header at 0x1000 of the file, which is loaded at 1 MiB; entry 1 MiB + 0x20.
struct MultibootElf32 : TestImage {
  static constexpr size_t kHeader = 0x1000, kLoad = 52;
  explicit MultibootElf32(uint32_t flags = 3) {
    bytes.assign(0x2000, std::byte{0xf4});
    std::fill_n(bytes.begin(), kHeader, std::byte{0});
    put(0, uint32_t{0x464c457f});
    put(4, uint32_t{0x00010101});
    put(16, uint16_t{2});
    put(18, uint16_t{3});
    put(24, uint32_t{0x100020});
    put(28, uint32_t{kLoad});
    put(42, uint16_t{32});
    put(44, uint16_t{1});
    segment(kLoad, 0x100000, 0x1000, 0x3000);
    put_header(kHeader, flags);
  }
  void segment(size_t at, uint32_t physical, uint32_t file_size, uint32_t memory_size) {
    put(at, uint32_t{1});
    put(at + 4, uint32_t{0x1000});
    put(at + 8, physical);
    put(at + 12, physical);
    put(at + 16, file_size);
    put(at + 20, memory_size);
  }
  void second_segment(uint32_t physical, uint32_t memory_size) {
    put(44, uint16_t{2});
    segment(kLoad + 32, physical, 0x10, memory_size);
  }
};

// The same with 64-bit headers, linked to the upper half.
struct MultibootElf64 : TestImage {
  MultibootElf64() {
    bytes.assign(0x2000, std::byte{0xf4});
    std::fill_n(bytes.begin(), 0x1000, std::byte{0});
    put(0, uint32_t{0x464c457f});
    put(4, uint32_t{0x00010102});
    put(16, uint16_t{2});
    put(18, uint16_t{62});
    put(24, uint64_t{0xffffffff80100020});
    put(32, uint64_t{64});
    put(54, uint16_t{56});
    put(56, uint16_t{1});
    put(64, uint32_t{1});
    put(72, uint64_t{0x1000});
    put(80, uint64_t{0xffffffff80100000});
    put(88, uint64_t{0x100000});
    put(96, uint64_t{0x1000});
    put(104, uint64_t{0x3000});
    put_header(0x1000, 3);
  }
};

// No ELF: the header's addresses place the bytes from `kBefore` before the header.
struct MultibootFlat : TestImage {
  static constexpr size_t kHeader = 0x40, kBefore = 0x20;
  MultibootFlat() {
    bytes.assign(0x1000, std::byte{0xf4});
    put_header(kHeader, 0x10003);
    addresses(0x100000 + kBefore, 0x100000, 0x100800, 0x102000, 0x100100);
  }
  void addresses(uint32_t header, uint32_t load, uint32_t load_end, uint32_t bss_end,
                 uint32_t entry) {
    size_t at = kHeader + 12;
    for (const uint32_t v : {header, load, load_end, bss_end, entry}) {
      put(at, v);
      at += 4;
    }
  }
};

}  // namespace cupel::boot
