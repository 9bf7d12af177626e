#include "bench/guest_loop.h"

#include <cstring>

namespace cupel::bench {
namespace {

using namespace x86;

constexpr uint64_t kGdt = 0x2000, kIdt = 0x3000, kStack = 0x7000, kCode = 0x8000, kTables = 0x10000;
constexpr uint64_t kPresentWritable = 3, kLargePage = 0x80;

void put(std::span<std::byte> ram, uint64_t at, uint64_t value) {
  std::memcpy(ram.data() + at, &value, sizeof value);
}

void place_page_tables(std::span<std::byte> ram) {
  put(ram, kTables, (kTables + 0x1000) | kPresentWritable);
  put(ram, kTables + 0x1000 + 8 * 0, (kTables + 0x2000) | kPresentWritable);
  put(ram, kTables + 0x1000 + 8 * 3, (kTables + 0x3000) | kPresentWritable);
  for (uint64_t n = 0; n < 512; ++n) {
    put(ram, kTables + 0x2000 + 8 * n, n << 21 | kLargePage | kPresentWritable);
    put(ram, kTables + 0x3000 + 8 * n, (3_GiB + (n << 21)) | kLargePage | kPresentWritable);
  }
}

void place_descriptors(std::span<std::byte> ram) {
  put(ram, kGdt + 8, 0x00af9b000000ffffull);   // 64-bit code
  put(ram, kGdt + 16, 0x00cf93000000ffffull);  // data
  // An interrupt gate, whose high half stays 0.
  put(ram, kIdt + 16 * kLoopVector, (kCode & 0xffff) | 8ull << 16 | 0x8eull << 40);
}

}  // namespace

CpuState place_loop(std::span<std::byte> ram, LoopKind kind) {
  place_page_tables(ram);
  place_descriptors(ram);
  const auto code = guest_code(kind);
  std::memcpy(ram.data() + kCode, code.data(), code.size());

  CpuState s = CpuState::after_reset();
  s[Seg::cs] = Segment{0x08, 0xa09b, 0xffffffff, 0};
  for (const Seg seg : {Seg::ss, Seg::ds, Seg::es, Seg::fs, Seg::gs})
    s[seg] = Segment{0x10, 0xc093, 0xffffffff, 0};
  s[Seg::tr] = Segment{0x18, 0x8b, 0x67, 0};
  s.gdtr = {kGdt, 0x1f};
  s.idtr = {kIdt, 0xfff};
  s.cr0 = cr0::PG | cr0::WP | cr0::NE | cr0::ET | cr0::PE;
  s.cr3 = kTables;
  s.cr4 = cr4::PAE;
  s.efer = efer::LME | efer::LMA | efer::NXE;
  s.rip = kCode;
  s.gpr[Gpr::rsp] = kStack;
  s.gpr[Gpr::r15] = ~0ull;
  return s;
}

}  // namespace cupel::bench
