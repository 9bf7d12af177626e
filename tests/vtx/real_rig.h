// The VT-x model over the real processor, hosted: guests that really execute.
#pragma once

#include <gtest/gtest.h>

#include <initializer_list>
#include <memory>

#include "tests/vtx/rig.h"

namespace cupel::vtx::testing {

// A 64-bit guest, identity-mapped by its own tables and by EPT up to 16 MiB.
class RealRig : public ::testing::Test {
 protected:
  static constexpr uint64_t kCode = 0x100000, kStack = 0x200000, kGdt = 0x210000, kIdt = 0x211000,
                            kGuestPml4 = 0x220000, kEptPd = 0x12000, kEptPt = 0x13000;

  void SetUp() override {
    memory = std::move(PhysicalMemory::create(16_MiB)).value();
    auto made = cpu::Processor::create(*memory, clock, {cpu::server_profile(), 1'000'000'000, 0});
    ASSERT_TRUE(made.ok()) << describe(made.error());
    processor = std::move(made).value();
    vmx = std::make_unique<LogicalProcessor>(*processor);
    memory->write(kVmxonRegion, vmx->capabilities().revision);
    vmx->write_cr4(vmx->read_cr4() | x86::cr4::VMXE);
    ASSERT_EQ(vmx->vmxon(kVmxonRegion), VmxStatus::succeed);
    good_vmcs(*vmx, *memory);
    map_guest();
    set(F::guest_rip, kCode);
    set(F::guest_rsp, kStack);
    set(F::guest_cr3, kGuestPml4);
    set(F::guest_gdtr_base, kGdt);
    set(F::guest_gdtr_limit, 0x7f);
    set(F::guest_idtr_base, kIdt);
    set(F::guest_idtr_limit, 0xfff);
  }

  void map_guest() {
    put(kPml4, 0x11000 | 7);
    put(0x11000, kEptPd | 7);
    for (uint64_t n = 0; n < 8; ++n) put(kEptPd + 8 * n, n << 21 | 7 | 6 << 3 | 1 << 7);
    put(kGuestPml4, (kGuestPml4 + 0x1000) | 3);
    put(kGuestPml4 + 0x1000, (kGuestPml4 + 0x2000) | 3);
    for (uint64_t n = 0; n < 512; ++n) put(kGuestPml4 + 0x2000 + 8 * n, n << 21 | 0x83);
    put(kGdt + 8, 0x00af9b000000ffffull);
    put(kGdt + 16, 0x00cf93000000ffffull);
  }
  void put(uint64_t at, uint64_t value) { memory->write(Hpa(at), value); }
  void code(std::initializer_list<int> bytes, uint64_t at = kCode) {
    for (const int b : bytes) memory->write(Hpa(at++), static_cast<uint8_t>(b));
  }
  void gate(unsigned vector, uint64_t handler) {
    put(kIdt + 16 * vector,
        (handler & 0xffff) | 8ull << 16 | 0x8eull << 40 | (handler & 0xffff0000) << 32);
    put(kIdt + 16 * vector + 8, handler >> 32);
  }
  void set(F f, uint64_t value) {
    ASSERT_EQ(vmx->vmwrite(encoding_of(f), value), VmxStatus::succeed) << name_of(f);
  }
  uint64_t get(F f) {
    uint64_t value = 0;
    EXPECT_EQ(vmx->vmread(encoding_of(f), value), VmxStatus::succeed) << name_of(f);
    return value;
  }
  x86::ExitReason enter() {
    const auto status = launched ? vmx->vmresume(regs) : vmx->vmlaunch(regs);
    EXPECT_EQ(status, VmxStatus::succeed) << vmx->describe_entry_failures();
    launched = true;
    EXPECT_EQ(get(F::exit_reason) >> 31, 0u) << vmx->describe_entry_failures();
    return static_cast<x86::ExitReason>(get(F::exit_reason) & 0xffff);
  }
  void skip() { set(F::guest_rip, get(F::guest_rip) + get(F::exit_instruction_length)); }

  VirtualClock clock;
  std::unique_ptr<PhysicalMemory> memory;
  std::unique_ptr<cpu::Processor> processor;
  std::unique_ptr<LogicalProcessor> vmx;
  x86::GprFile regs;
  bool launched = false;
};

}  // namespace cupel::vtx::testing
