// The instructions C++ has no words for. Where one can fault, the fault is caught and kept.
// Freestanding.
#pragma once

#include <cstdint>

#include "core/x86/registers.h"
#include "hypervisor/metal/trap.h"

namespace cupel::metal {

// One instruction whose fault lands behind it: the pair goes into the table that trap.cpp
// searches.
#define CUPEL_CAUGHT(instruction)            \
  "771: " instruction                        \
  "\n772:\n"                                 \
  ".pushsection .fixups, \"a\", @progbits\n" \
  ".quad 771b, 772b\n"                       \
  ".popsection\n"

inline void out8(uint16_t port, uint8_t v) { asm volatile("outb %0, %1" ::"a"(v), "Nd"(port)); }
inline uint8_t in8(uint16_t port) {
  uint8_t v;
  asm volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
  return v;
}
inline void pause() { asm volatile("pause" ::: "memory"); }

struct Cpuid {
  uint32_t eax, ebx, ecx, edx;
};
inline Cpuid cpuid(uint32_t leaf, uint32_t subleaf = 0) {
  Cpuid r;
  asm volatile("cpuid"
               : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
               : "a"(leaf), "c"(subleaf));
  return r;
}

// False where the instruction raises #GP(0).
inline bool read_msr(uint32_t index, uint64_t& value) {
  uint32_t low = 0, high = 0;
  clear_trap();
  asm volatile(CUPEL_CAUGHT("rdmsr") : "+a"(low), "+d"(high) : "c"(index) : "memory");
  value = static_cast<uint64_t>(high) << 32 | low;
  return !last_trap().taken;
}
inline bool write_msr(uint32_t index, uint64_t value) {
  clear_trap();
  asm volatile(CUPEL_CAUGHT("wrmsr")
               :
               : "c"(index), "a"(static_cast<uint32_t>(value)),
                 "d"(static_cast<uint32_t>(value >> 32))
               : "memory");
  return !last_trap().taken;
}

inline uint64_t read_cr0() {
  uint64_t v;
  asm volatile("mov %%cr0, %0" : "=r"(v));
  return v;
}
inline uint64_t read_cr2() {
  uint64_t v;
  asm volatile("mov %%cr2, %0" : "=r"(v));
  return v;
}
inline uint64_t read_cr3() {
  uint64_t v;
  asm volatile("mov %%cr3, %0" : "=r"(v));
  return v;
}
inline uint64_t read_cr4() {
  uint64_t v;
  asm volatile("mov %%cr4, %0" : "=r"(v));
  return v;
}
// Faults of these are kept in last_trap().
inline void write_cr0(uint64_t v) {
  clear_trap();
  asm volatile(CUPEL_CAUGHT("mov %0, %%cr0")::"r"(v) : "memory");
}
inline void write_cr2(uint64_t v) { asm volatile("mov %0, %%cr2" ::"r"(v) : "memory"); }
inline void write_cr3(uint64_t v) { asm volatile("mov %0, %%cr3" ::"r"(v) : "memory"); }
inline void write_cr4(uint64_t v) {
  clear_trap();
  asm volatile(CUPEL_CAUGHT("mov %0, %%cr4")::"r"(v) : "memory");
}

inline uint64_t rdtsc() {
  uint32_t low, high;
  asm volatile("rdtsc" : "=a"(low), "=d"(high));
  return static_cast<uint64_t>(high) << 32 | low;
}

}  // namespace cupel::metal
