// A bare processor with a little memory, for tests that execute real instructions.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <initializer_list>
#include <memory>
#include <vector>

#include "hw_models/cpu/processor.h"

namespace cupel::cpu::testing {

// Records traps and says exit to those in `exit_on`; identity memory.
class RecordingMonitor : public Monitor {
 public:
  explicit RecordingMonitor(PhysicalMemory& memory) : memory_(memory) {}
  bool on_trap(Trap& trap) override {
    traps.push_back(trap);
    for (const TrapKind k : exit_on)
      if (k == trap.kind) return true;
    return trap.kind == TrapKind::triple_fault;
  }
  PhysicalTranslation translate(const PhysicalAccess& a) override {
    if (a.gpa.value() >= hole_start && a.gpa.value() < hole_start + 0x1000) return {};
    const Hpa hpa(a.gpa.value());
    return {memory_.contains(hpa, 1), hpa, true, true};
  }
  void on_translation_fault(const PhysicalAccess& a) override { refused.push_back(a); }
  bool on_boundary() override {
    ++boundaries;
    return exit_on_boundary;
  }

  std::vector<TrapKind> exit_on;
  std::vector<Trap> traps;
  std::vector<PhysicalAccess> refused;
  uint64_t hole_start = ~0ull - 0x2000;
  int boundaries = 0;
  bool exit_on_boundary = true;

 private:
  PhysicalMemory& memory_;
};

class Machine {
 public:
  static constexpr uint64_t kSize = 16_MiB;
  static constexpr uint64_t kCode = 0x8000, kStack = 0x7000, kGdt = 0x1000, kIdt = 0x2000,
                            kTss = 0x3000, kPml4 = 0x10000;

  Machine() : memory(PhysicalMemory::create(kSize).value().release()), monitor(*memory) {
    auto made = Processor::create(*memory, clock, {server_profile(), 1'000'000'000, 0});
    EXPECT_TRUE(made.ok()) << (made.ok() ? "" : describe(made.error()));
    cpu = std::move(made).value();
    cpu->set_monitor(&monitor);
  }

  void load(uint64_t at, std::initializer_list<int> bytes) {
    for (const int b : bytes) *memory->at(Hpa(at++), 1) = static_cast<std::byte>(b);
  }
  template <class T>
  void poke(uint64_t at, T value) {
    memory->write(Hpa(at), value);
  }
  template <class T>
  T peek(uint64_t at) {
    return memory->read<T>(Hpa(at));
  }

  x86::CpuState real_mode() {
    auto s = x86::CpuState::after_reset();
    s[x86::Seg::cs] = {0, 0x9b, 0xffff, 0};
    s.rip = kCode;
    s.gpr[x86::Gpr::rsp] = kStack;
    return s;
  }

  x86::CpuState protected_mode() {
    write_gdt();
    auto s = real_mode();
    s.cr0 = x86::cr0::PE | x86::cr0::ET | x86::cr0::NE;
    s[x86::Seg::cs] = {8, 0xc09b, 0xffffffff, 0};
    for (const auto seg : {x86::Seg::ss, x86::Seg::ds, x86::Seg::es, x86::Seg::fs, x86::Seg::gs})
      s[seg] = {16, 0xc093, 0xffffffff, 0};
    s[x86::Seg::tr] = {0x28, 0x8b, 0x67, kTss};
    s.gdtr = {kGdt, 0x7f};
    s.idtr = {kIdt, 0x7ff};
    return s;
  }

  x86::CpuState long_mode() {
    auto s = protected_mode();
    // Identity map of 1 GiB with 2 MiB pages.
    poke<uint64_t>(kPml4, (kPml4 + 0x1000) | 7);
    poke<uint64_t>(kPml4 + 0x1000, (kPml4 + 0x2000) | 7);
    for (uint64_t i = 0; i < 512; ++i) poke<uint64_t>(kPml4 + 0x2000 + 8 * i, (i << 21) | 0x87);
    s.cr0 |= x86::cr0::PG | x86::cr0::WP;
    s.cr3 = kPml4;
    s.cr4 = x86::cr4::PAE | x86::cr4::OSFXSR | x86::cr4::OSXMMEXCPT;
    s.efer = x86::efer::LME | x86::efer::LMA | x86::efer::NXE | x86::efer::SCE;
    s[x86::Seg::cs] = {0x18, 0xa09b, 0xffffffff, 0};
    s.idtr = {kIdt, 0xfff};
    return s;
  }

  void gate32(unsigned vector, uint32_t handler, uint8_t type = 0x8e, uint16_t selector = 8) {
    poke<uint64_t>(kIdt + 8 * vector, (handler & 0xffffull) | uint64_t{selector} << 16 |
                                          uint64_t{type} << 40 | (handler & 0xffff0000ull) << 32);
  }
  void gate64(unsigned vector, uint64_t handler, uint8_t type = 0x8e, uint8_t ist = 0) {
    poke<uint64_t>(kIdt + 16 * vector, (handler & 0xffffull) | 0x18ull << 16 | uint64_t{ist} << 32 |
                                           uint64_t{type} << 40 | (handler & 0xffff0000ull) << 32);
    poke<uint64_t>(kIdt + 16 * vector + 8, handler >> 32);
  }

  void write_gdt() {
    poke<uint64_t>(kGdt + 0x00, 0);
    poke<uint64_t>(kGdt + 0x08, 0x00cf9b000000ffffull);  // code 32
    poke<uint64_t>(kGdt + 0x10, 0x00cf93000000ffffull);  // data
    poke<uint64_t>(kGdt + 0x18, 0x00af9b000000ffffull);  // code 64
    poke<uint64_t>(kGdt + 0x20, 0);
    poke<uint64_t>(kGdt + 0x28, 0x0000890000000067ull | kTss << 16);
    poke<uint64_t>(kGdt + 0x30, 0);
    poke<uint64_t>(kGdt + 0x38, 0x00cffb000000ffffull);  // user code 32
    poke<uint64_t>(kGdt + 0x40, 0x00cff3000000ffffull);  // user data
    poke<uint64_t>(kGdt + 0x48, 0x00affb000000ffffull);  // user code 64
  }

  VirtualClock clock;
  std::unique_ptr<PhysicalMemory> memory;
  RecordingMonitor monitor;
  std::unique_ptr<Processor> cpu;
};

}  // namespace cupel::cpu::testing
