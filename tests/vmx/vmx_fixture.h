// A vCPU over the scripted processor, with a platform that records what reaches it.
#pragma once

#include <gtest/gtest.h>

#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "core/guest_memory.h"
#include "core/physical_memory.h"
#include "hypervisor/vmx/vcpu.h"
#include "tests/vmx/fake_vmx_cpu.h"

namespace cupel::vmx::test {

class FakePlatform final : public vm::GuestPlatform {
 public:
  struct Access {
    uint64_t at;
    unsigned size;
    uint64_t value;
    bool operator==(const Access&) const = default;
  };

  uint32_t port_in(uint16_t port, unsigned size) override {
    ins.push_back({port, size, 0});
    return in_value++;
  }
  void port_out(uint16_t port, unsigned size, uint32_t value) override {
    outs.push_back({port, size, value});
    if (port == stop_port) stop = true;
  }
  uint64_t mmio_read(Gpa at, unsigned size) override {
    reads.push_back({at.value(), size, 0});
    return mmio_value;
  }
  void mmio_write(Gpa at, unsigned size, uint64_t value) override {
    writes.push_back({at.value(), size, value});
  }
  bool read_msr(uint32_t index, uint64_t& value) override {
    if (msrs.count(index) == 0) return false;
    value = msrs[index];
    return true;
  }
  bool write_msr(uint32_t index, uint64_t value) override {
    if (msrs.count(index) == 0) return false;
    msrs[index] = value;
    return true;
  }
  CpuidLeaf cpuid(uint32_t leaf, uint32_t subleaf) override {
    ++cpuid_calls;
    if (leaf == 0x80000008) return {46, 0, 0, 0};
    if (leaf == 0xd) return {3, 0, 0, 0};
    return {leaf, subleaf, 0xcccc0000, 0xdddd};
  }
  bool interrupt_pending() override { return !interrupts.empty(); }
  uint8_t acknowledge_interrupt() override {
    const uint8_t vector = interrupts.front();
    interrupts.erase(interrupts.begin());
    return vector;
  }
  bool take_nmi() override { return std::exchange(nmi, false); }
  void advance(Nanoseconds now) override { advanced = now; }
  Nanoseconds next_deadline() override { return deadline; }
  bool stop_requested() const override { return stop; }

  std::vector<Access> ins, outs, reads, writes;
  std::vector<uint8_t> interrupts;
  std::map<uint32_t, uint64_t> msrs;
  uint32_t in_value = 0xa1b2c3d4;
  uint64_t mmio_value = 0x1122334455667788;
  int cpuid_calls = 0;
  uint32_t stop_port = ~0u;
  bool nmi = false, stop = false;
  Nanoseconds advanced{0}, deadline = Nanoseconds::max();
};

// 16 MiB of guest RAM, flat 64-bit state with RIP at 0x1000 and identity paging of the first GiB
// and of the GiB at 0xc0000000 (2 MiB pages); MMIO anywhere from 16 MiB.
class VmxFixture : public ::testing::Test {
 protected:
  static constexpr uint64_t kRam = 16_MiB;
  static constexpr uint64_t kMmio = 0xfee00000;
  static constexpr uint64_t kPml4 = 0x100000, kPdpt = 0x101000, kPdLow = 0x102000,
                            kPdHigh = 0x103000, kTable = 0x104000;

  void SetUp() override {
    vcpu.reset();
    host = std::move(PhysicalMemory::create(64_MiB)).value();
    memory = std::make_unique<GuestMemory>(*host, Hpa(16_MiB), kRam);
    auto made = FrameAllocator::create(host->data() + 48_MiB, Hpa(48_MiB), 4_MiB);
    ASSERT_TRUE(made.ok());
    frames = std::make_unique<FrameAllocator>(*made);
    create({});
    set_long_mode();
  }
  void create(VmxVcpuConfig config) {
    vcpu.reset();
    auto made = VmxVcpu::create(cpu, *memory, platform, clock, *frames, std::move(config));
    ASSERT_TRUE(made.ok()) << describe(made.error());
    vcpu = std::move(made).value();
  }

  void entry(uint64_t table, unsigned index, uint64_t value) {
    ASSERT_TRUE(memory->write(Gpa(table + index * 8), value));
  }
  void build_tables() {
    entry(kPml4, 0, kPdpt | 7);
    entry(kPdpt, 0, kPdLow | 7);
    entry(kPdpt, 3, kPdHigh | 7);
    for (unsigned n = 0; n < 512; ++n) {
      entry(kPdLow, n, uint64_t{n} << 21 | 0x87);
      entry(kPdHigh, n, (0xc0000000 + (uint64_t{n} << 21)) | 0x87);
    }
  }
  void set_long_mode() {
    build_tables();
    CpuState s = CpuState::after_reset();
    s[Seg::cs] = Segment{0x08, 0xa09b, 0xffffffff, 0};
    for (const Seg seg : {Seg::ss, Seg::ds, Seg::es, Seg::fs, Seg::gs}) {
      s[seg] = Segment{0x10, 0xc093, 0xffffffff, 0};
    }
    s[Seg::tr] = Segment{0x18, 0x8b, 0x67, 0};
    s.cr0 = 0x80010011;
    s.cr3 = kPml4;
    s.cr4 = cr4::PAE;
    s.efer = efer::LME | efer::LMA | efer::NXE;
    s.rip = 0x1000;
    s.gpr[Gpr::rsp] = 0x8000;
    apply(s);
  }
  void apply(const CpuState& s) {
    auto done = vcpu->set_state(s);
    ASSERT_TRUE(done.ok()) << describe(done.error());
  }
  CpuState state() {
    auto s = vcpu->state();
    EXPECT_TRUE(s.ok());
    return *s;
  }
  void code(std::initializer_list<uint8_t> bytes, uint64_t at = 0x1000) {
    const std::vector<uint8_t> copy(bytes);
    ASSERT_TRUE(memory->write(Gpa(at), std::as_bytes(std::span(copy))));
  }
  // The exit of an access that missed RAM.
  void then_mmio(uint64_t at, bool write) {
    EptViolation q;
    (write ? q.write : q.read) = true;
    q.linear_valid = q.translated = true;
    cpu.then([=](FakeVmxCpu& c, GprFile&) {
      c.exit(ExitReason::ept_violation, q.encode(), 0);
      c.set(Field64::guest_physical_address, at);
      c.set(FieldN::guest_linear_address, at);
    });
  }
  // Ends a script: the next entry shows in cpu.entries and run() returns.
  void then_stop() {
    cpu.then([this](FakeVmxCpu& c, GprFile&) {
      platform.stop = true;
      c.exit(ExitReason::preemption_timer);
    });
  }
  vm::Stop run() {
    then_stop();
    vm::Stop stop = vcpu->run(Nanoseconds(1'000'000'000));
    return stop;
  }
  // Runs to the scripted end; anything else fails the test.
  void run_ok() {
    const vm::Stop stop = run();
    EXPECT_EQ(stop.reason, vm::StopReason::stop_request) << stop.error.message;
  }
  const FakeVmxCpu::Entry& last_entry() { return cpu.entries.back(); }
  static uint32_t injected(uint8_t vector, EventType type, bool error = false) {
    return InterruptionInfo{vector, type, error, false, true}.encode();
  }
  static uint32_t injected_exception(uint8_t vector) {
    return injected(vector, EventType::hardware_exception, has_error_code(vector));
  }

  std::unique_ptr<PhysicalMemory> host;
  std::unique_ptr<GuestMemory> memory;
  std::unique_ptr<FrameAllocator> frames;
  FakeVmxCpu cpu;
  FakePlatform platform;
  VirtualClock clock;
  std::unique_ptr<VmxVcpu> vcpu;
};

}  // namespace cupel::vmx::test
