// The hypervisor core on the software model of VT-x: real instructions, real exits.
#include <gtest/gtest.h>

#include "hw_models/cpu/processor.h"
#include "hw_models/vtx/logical_processor.h"
#include "tests/vmx/vmx_fixture.h"

namespace cupel::vmx::test {
namespace {

class VmxOnModel : public ::testing::Test {
 protected:
  static constexpr uint64_t kTables = 0x100000;

  void SetUp() override {
    host = std::move(PhysicalMemory::create(64_MiB)).value();
    memory = std::make_unique<GuestMemory>(*host, Hpa(16_MiB), 16_MiB);
    frames = std::make_unique<FrameAllocator>(
        FrameAllocator::create(host->data() + 48_MiB, Hpa(48_MiB), 4_MiB).value());
    auto made = cpu::Processor::create(*host, clock, {cpu::server_profile(), 1'000'000'000, 0});
    ASSERT_TRUE(made.ok()) << describe(made.error());
    processor = std::move(made).value();
    model = std::make_unique<vtx::LogicalProcessor>(*processor);
    auto vcpu_made = VmxVcpu::create(*model, *memory, platform, clock, *frames, {});
    ASSERT_TRUE(vcpu_made.ok()) << describe(vcpu_made.error());
    vcpu = std::move(vcpu_made).value();
  }
  void put(uint64_t at, uint64_t value) { ASSERT_TRUE(memory->write(Gpa(at), value)); }
  void code(std::initializer_list<uint8_t> bytes, uint64_t at = 0x1000) {
    const std::vector<uint8_t> copy(bytes);
    ASSERT_TRUE(memory->write(Gpa(at), std::as_bytes(std::span(copy))));
  }
  void gate(unsigned vector, uint64_t handler) {
    put(0x3000 + 16 * vector, (handler & 0xffff) | 8ull << 16 | 0x8eull << 40);
    put(0x3000 + 16 * vector + 8, 0);
  }
  CpuState long_mode() {
    put(kTables, (kTables + 0x1000) | 7);
    put(kTables + 0x1000, (kTables + 0x2000) | 7);
    put(kTables + 0x1018, (kTables + 0x3000) | 7);
    for (uint64_t n = 0; n < 512; ++n) {
      put(kTables + 0x2000 + n * 8, n << 21 | 0x87);
      put(kTables + 0x3000 + n * 8, (0xc0000000 + (n << 21)) | 0x87);
    }
    put(0x2008, 0x00af9b000000ffffull);
    put(0x2010, 0x00cf93000000ffffull);
    CpuState s = CpuState::after_reset();
    s[Seg::cs] = Segment{0x08, 0xa09b, 0xffffffff, 0};
    for (const Seg seg : {Seg::ss, Seg::ds, Seg::es, Seg::fs, Seg::gs}) {
      s[seg] = Segment{0x10, 0xc093, 0xffffffff, 0};
    }
    s[Seg::tr] = Segment{0x18, 0x8b, 0x67, 0};
    s.gdtr = {0x2000, 0x1f};
    s.idtr = {0x3000, 0xfff};
    s.cr0 = 0x80010031;
    s.cr3 = kTables;
    s.cr4 = cr4::PAE;
    s.efer = efer::LME | efer::LMA | efer::NXE;
    s.rip = 0x1000;
    s.gpr[Gpr::rsp] = 0x8000;
    return s;
  }
  vm::Stop run(const CpuState& s) {
    auto done = vcpu->set_state(s);
    EXPECT_TRUE(done.ok());
    return again();
  }
  vm::Stop again() {
    vm::Stop stop = vcpu->run(clock.now() + 1_ms);
    EXPECT_EQ(stop.error.message, "") << model->describe_entry_failures();
    return stop;
  }

  std::unique_ptr<PhysicalMemory> host;
  std::unique_ptr<GuestMemory> memory;
  std::unique_ptr<FrameAllocator> frames;
  FakePlatform platform;
  VirtualClock clock;
  std::unique_ptr<cpu::Processor> processor;
  std::unique_ptr<vtx::LogicalProcessor> model;
  std::unique_ptr<VmxVcpu> vcpu;
};

TEST_F(VmxOnModel, RealModeOutAndHlt) {
  CpuState s = CpuState::after_reset();
  s[Seg::cs] = Segment{0, 0x9b, 0xffff, 0};
  s.rip = 0x1000;
  code({0xb0, 0x5a, 0xe6, 0x80, 0xf4});  // mov al, 0x5a; out 0x80, al; hlt
  EXPECT_EQ(run(s).reason, vm::StopReason::halted);
  EXPECT_EQ(platform.outs, (std::vector<FakePlatform::Access>{{0x80, 1, 0x5a}}));
  EXPECT_EQ(vcpu->state()->rip, 0x1005u);
}

TEST_F(VmxOnModel, LongModeCpuidPortsAndMmio) {
  code({0xb8, 4,    0,    0,    0,    0x31, 0xc9, 0x0f, 0xa2,  // mov eax, 4; xor ecx, ecx; cpuid
        0xe6, 0x80, 0xe4, 0x60,                                // out 0x80, al; in al, 0x60
        0xbb, 0,    0,    0xe0, 0xfe,                          // mov ebx, 0xfee00000
        0x89, 0x03, 0x8b, 0x4b, 0x20,  // mov [rbx], eax; mov ecx, [rbx+0x20]
        0xf4});
  EXPECT_EQ(run(long_mode()).reason, vm::StopReason::halted);
  EXPECT_EQ(platform.outs, (std::vector<FakePlatform::Access>{{0x80, 1, 4}}));
  EXPECT_EQ(platform.writes, (std::vector<FakePlatform::Access>{{0xfee00000, 4, 0xd4}}));
  EXPECT_EQ(platform.reads, (std::vector<FakePlatform::Access>{{0xfee00020, 4, 0}}));
  EXPECT_EQ(vcpu->state()->gpr[Gpr::rcx], 0x55667788u);
  EXPECT_EQ(vcpu->exits().by_reason[10], 1u);
  EXPECT_EQ(vcpu->exits().by_reason[48], 2u);
}

TEST_F(VmxOnModel, AnInterruptWaitsForStiAndWakesHlt) {
  gate(0x30, 0x1100);
  code({0x0f, 0xa2, 0xfb, 0x90, 0xf4, 0xf4});  // cpuid; sti; nop; hlt; hlt
  code({0xe6, 0x81, 0x48, 0xcf}, 0x1100);      // out 0x81, al; iretq
  platform.interrupts = {0x30};
  EXPECT_EQ(run(long_mode()).reason, vm::StopReason::halted);
  EXPECT_EQ(platform.outs.size(), 1u);
  EXPECT_GE(vcpu->exits().by_reason[7], 1u);  // interrupt window
  platform.interrupts = {0x30};
  EXPECT_EQ(again().reason, vm::StopReason::halted);
  EXPECT_EQ(platform.outs.size(), 2u);
  EXPECT_EQ(vcpu->state()->rip, 0x1006u);
}

TEST_F(VmxOnModel, ASpinningGuestMeetsItsDeadline) {
  code({0xeb, 0xfe});  // jmp $
  EXPECT_EQ(run(long_mode()).reason, vm::StopReason::deadline);
  EXPECT_GE(clock.now(), 1_ms);
  EXPECT_LT(clock.now(), 1_ms + 1_us);
}

TEST_F(VmxOnModel, RaisedExceptionsReachTheGuest) {
  gate(kGP, 0x1100);
  gate(kUD, 0x1200);
  code({0xb9, 0x45, 0x23, 0x01, 0x00, 0x0f, 0x32});    // mov ecx, 0x12345; rdmsr
  code({0x58, 0xe6, 0x82, 0x0f, 0x01, 0xc1}, 0x1100);  // pop rax; out 0x82, al; vmcall
  code({0xe6, 0x83, 0xf4}, 0x1200);                    // out 0x83, al; hlt
  EXPECT_EQ(run(long_mode()).reason, vm::StopReason::halted);
  EXPECT_EQ(platform.outs, (std::vector<FakePlatform::Access>{{0x82, 1, 0}, {0x83, 1, 0}}));
}

}  // namespace
}  // namespace cupel::vmx::test
