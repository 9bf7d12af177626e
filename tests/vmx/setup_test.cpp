#include "tests/vmx/vmx_fixture.h"

namespace cupel::vmx::test {
namespace {

struct Setup : VmxFixture {
  Result<std::unique_ptr<VmxVcpu>> make() {
    return VmxVcpu::create(cpu, *memory, platform, clock, *frames, {});
  }
  bool bitmap_bit(uint32_t index, bool write) {
    const Hpa bitmap(cpu.get(Field64::msr_bitmap));
    const uint32_t bit = index & 0x1fff;
    const auto byte = static_cast<uint8_t>(
        frames->data(bitmap)[(write ? 2048 : 0) + (index >= 0xc0000000 ? 1024 : 0) + bit / 8]);
    return (byte >> (bit % 8) & 1) != 0;
  }
};

TEST_F(Setup, EntersVmxOperationInOrderAndLeavesIt) {
  EXPECT_EQ(std::vector<std::string>(cpu.called.begin(), cpu.called.begin() + 3),
            (std::vector<std::string>{"vmxon", "vmclear", "vmptrld"}));
  EXPECT_TRUE(cpu.cr4 & cr4::VMXE);
  const uint64_t used = frames->free_frames();
  vcpu.reset();
  EXPECT_GT(frames->free_frames(), used);
  EXPECT_EQ(cpu.called.back(), "vmxoff");
}

TEST_F(Setup, ReturnsEveryFrame) {
  vcpu.reset();
  const uint64_t before = frames->free_frames();
  create({});
  vcpu.reset();
  EXPECT_EQ(frames->free_frames(), before);
}

TEST_F(Setup, StartsInTheStateAfterReset) {
  create({});
  const CpuState s = state(), reset = CpuState::after_reset();
  EXPECT_EQ(s.rip, reset.rip);
  EXPECT_EQ(s.cr0, reset.cr0);
  EXPECT_EQ(s[Seg::cs], reset[Seg::cs]);
  EXPECT_EQ(s.gpr[Gpr::rdx], 0x600u);
}

TEST_F(Setup, MsrBitmapLetsSwitchedMsrsThrough) {
  for (const uint32_t index : {msr::EFER, msr::PAT, msr::FS_BASE, msr::KERNEL_GS_BASE, msr::LSTAR,
                               msr::SYSENTER_EIP, msr::TSC_AUX}) {
    EXPECT_FALSE(bitmap_bit(index, false)) << std::hex << index;
    EXPECT_FALSE(bitmap_bit(index, true)) << std::hex << index;
  }
  for (const uint32_t index : {msr::TSC, msr::APIC_BASE, msr::MISC_ENABLE, 0xc0000080u + 0x50}) {
    EXPECT_TRUE(bitmap_bit(index, false)) << std::hex << index;
    EXPECT_TRUE(bitmap_bit(index, true)) << std::hex << index;
  }
}

TEST_F(Setup, OpensAnUnlockedFeatureControl) {
  vcpu.reset();
  cpu.msrs[msr::FEATURE_CONTROL] = 0;
  create({});
  EXPECT_EQ(cpu.msrs[msr::FEATURE_CONTROL], 5u);
}

TEST_F(Setup, RefusesALockedFeatureControl) {
  vcpu.reset();
  cpu.msrs[msr::FEATURE_CONTROL] = 1;
  const uint64_t before = frames->free_frames();
  auto made = make();
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.error().kind, ErrorKind::environment);
  EXPECT_EQ(frames->free_frames(), before);
}

TEST_F(Setup, ReportsAFailedVmxon) {
  vcpu.reset();
  cpu.answers["vmxon"] = VmxStatus::fail_invalid;
  auto made = make();
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.error().message, "VMXON failed: VMfailInvalid");
}

TEST_F(Setup, ReportsAnUnsupportedField) {
  vcpu.reset();
  cpu.broken_field = static_cast<uint32_t>(FieldN::host_tr_base);
  auto made = make();
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.error().message, "VMWRITE of field 0x6c0a failed");
}

TEST_F(Setup, ReportsUsedUpFrames) {
  vcpu.reset();
  while (frames->free_frames() > 6) ASSERT_TRUE(frames->allocate().ok());
  auto made = make();
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.error().kind, ErrorKind::environment);
  EXPECT_EQ(frames->free_frames(), 6u);
}

TEST_F(Setup, RefusesStatesItCannotRun) {
  CpuState s = state();
  s.activity = Activity::wait_for_sipi;
  auto done = vcpu->set_state(s);
  ASSERT_FALSE(done.ok());
  EXPECT_EQ(done.error().kind, ErrorKind::bad_input);
}

CpuState distinctive() {
  CpuState s;
  uint64_t n = 0x1000;
  for (auto& r : s.gpr.r) r = ++n;
  for (auto& seg : s.seg) seg = Segment{static_cast<uint16_t>(++n), 0x93, 0xfff, ++n};
  s.gdtr = {++n, 0x7f};
  s.idtr = {++n, 0xfff};
  s.rip = ++n;
  s.rflags = 0x246;
  s.cr0 = 0x80050033;
  s.cr2 = ++n;
  s.cr3 = 0x5000;
  s.cr4 = 0x6f0;
  s.efer = 0xd01;
  s.dr = {1, 2, 3, 4, 0, 0, 0xffff0ff1, 0x401};
  s.xcr0 = 3;
  s.star = ++n;
  s.lstar = ++n;
  s.cstar = ++n;
  s.fmask = ++n;
  s.kernel_gs_base = ++n;
  s.tsc_aux = ++n;
  s.sysenter_cs = ++n;
  s.sysenter_esp = ++n;
  s.sysenter_eip = ++n;
  s.pat = 0x0606060606060606;
  s.debugctl = 2;
  s.tsc_offset = ++n;
  s.blocking_sti = s.blocking_nmi = true;
  s.activity = Activity::hlt;
  s.fxsave[33] = 0x77;
  return s;
}

void expect_same(const CpuState& a, const CpuState& b) {
  EXPECT_EQ(a.gpr.r, b.gpr.r);
  EXPECT_EQ(a.seg, b.seg);
  EXPECT_EQ(a.gdtr, b.gdtr);
  EXPECT_EQ(a.idtr, b.idtr);
  EXPECT_EQ(a.dr[6], b.dr[6]);
  EXPECT_EQ(a.dr[7], b.dr[7]);
  EXPECT_EQ(a.fxsave, b.fxsave);
  EXPECT_EQ(a.activity, b.activity);
  EXPECT_EQ(a.blocking_sti, b.blocking_sti);
  EXPECT_EQ(a.blocking_mov_ss, b.blocking_mov_ss);
  EXPECT_EQ(a.blocking_nmi, b.blocking_nmi);
  for (const auto word : {&CpuState::rip,
                          &CpuState::rflags,
                          &CpuState::cr0,
                          &CpuState::cr2,
                          &CpuState::cr3,
                          &CpuState::cr4,
                          &CpuState::efer,
                          &CpuState::xcr0,
                          &CpuState::star,
                          &CpuState::lstar,
                          &CpuState::cstar,
                          &CpuState::fmask,
                          &CpuState::kernel_gs_base,
                          &CpuState::tsc_aux,
                          &CpuState::sysenter_cs,
                          &CpuState::sysenter_esp,
                          &CpuState::sysenter_eip,
                          &CpuState::pat,
                          &CpuState::debugctl,
                          &CpuState::tsc_offset}) {
    EXPECT_EQ(a.*word, b.*word);
  }
}

TEST_F(Setup, StateSurvivesAWriteAndARead) {
  const CpuState s = distinctive();
  apply(s);
  expect_same(state(), s);
}

TEST_F(Setup, SaveAndRestoreCarryStateAndWaitingEvents) {
  const CpuState s = distinctive();
  apply(s);
  ArchiveWriter out;
  vcpu->save(out);
  ArchiveWriter again;
  vcpu->save(again);
  EXPECT_EQ(out.bytes(), again.bytes());
  set_long_mode();
  ArchiveReader in(out.bytes());
  auto done = vcpu->restore(in);
  ASSERT_TRUE(done.ok()) << done.error().message;
  expect_same(state(), s);
  EXPECT_GE(cpu.calls("invept"), 1);
}

TEST_F(Setup, APendingExceptionSurvivesASnapshot) {
  cpu.then([this](FakeVmxCpu& c, GprFile&) {
    platform.stop = true;  // stops before the exception is injected
    c.exit(ExitReason::vmcall);
  });
  EXPECT_EQ(vcpu->run(1_s).reason, vm::StopReason::stop_request);
  ArchiveWriter out;
  vcpu->save(out);
  set_long_mode();  // drops it
  ArchiveReader in(out.bytes());
  ASSERT_TRUE(vcpu->restore(in).ok());
  platform.stop = false;
  run_ok();
  EXPECT_EQ(last_entry().interruption_info, injected_exception(kUD));
}

TEST_F(Setup, ATornArchiveIsRefused) {
  ArchiveWriter out;
  vcpu->save(out);
  auto bytes = out.take();
  bytes.resize(bytes.size() / 2);
  ArchiveReader in(bytes);
  EXPECT_FALSE(vcpu->restore(in).ok());
}

TEST_F(Setup, MemoryChangesReachTheProcessor) {
  VmxVcpuConfig config;
  Gpa seen;
  config.memory_changed = [&](Gpa at, uint64_t) { seen = at; };
  create(std::move(config));
  vcpu->memory_changed(Gpa(0x4000), 8);
  EXPECT_EQ(seen, Gpa(0x4000));
}

TEST_F(Setup, HarvestMarksPagesOfTheGuest) {
  (void)memory->take_dirty();
  VmxVcpuConfig config;
  config.large_pages = false;
  create(std::move(config));
  // The processor sets a dirty flag in the leaf of page 5, whose tables are all the first ones.
  uint64_t table = cpu.get(Field64::ept_pointer) & 0x000ffffffffff000;
  for (int shift = 39; shift > 12; shift -= 9) {
    table = host->read<uint64_t>(Hpa(table)) & 0x000ffffffffff000;
  }
  const Hpa leaf(table + 5 * 8);
  host->write(leaf, host->read<uint64_t>(leaf) | 0x200);
  ASSERT_TRUE(vcpu->harvest_dirty().ok());
  EXPECT_TRUE(memory->is_dirty(Gpa(0x5000)));
  EXPECT_FALSE(memory->is_dirty(Gpa(0x6000)));
  EXPECT_EQ(cpu.calls("invept"), 1);
}

}  // namespace
}  // namespace cupel::vmx::test
