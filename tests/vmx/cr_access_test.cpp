#include "tests/vmx/vmx_fixture.h"

namespace cupel::vmx::test {
namespace {

struct CrAccessTest : VmxFixture {
  void protected_mode() {
    CpuState s = state();
    s.cr0 = cr0::PE | cr0::ET;
    s.cr4 = cr4::PAE;
    s.efer = efer::LME;
    s[Seg::cs].access = 0xc09b;
    s.cr3 = kPml4;
    apply(s);
  }
  void move_to(uint8_t cr, uint64_t value, Gpr gpr = Gpr::rbx) {
    platform.stop = false;
    cpu.then([=](FakeVmxCpu& c, GprFile& regs) {
      regs[gpr] = value;
      c.exit(ExitReason::cr_access, CrAccess{cr, CrAccess::Kind::mov_to_cr, false, gpr}.encode(),
             3);
    });
    run_ok();
  }
};

TEST_F(CrAccessTest, TheHostKeepsItsBitsAndTheGuestSeesItsOwn) {
  protected_mode();
  move_to(0, cr0::PE | cr0::CD | cr0::NW | cr0::ET);
  EXPECT_EQ(state().cr0, cr0::PE | cr0::CD | cr0::NW | cr0::ET);
  const uint64_t real = cpu.get(FieldN::guest_cr0);
  EXPECT_EQ(real & (cr0::CD | cr0::NW), 0u);
  EXPECT_TRUE(real & cr0::NE);
  EXPECT_EQ(state().rip, 0x1003u);
}

TEST_F(CrAccessTest, EnablingPagingWithLmeEntersLongMode) {
  protected_mode();
  EXPECT_FALSE(cpu.get(Field32::entry_controls) & entryctl::ia32e_mode_guest);
  move_to(0, 0x80050033);
  EXPECT_EQ(state().efer, efer::LME | efer::LMA);
  EXPECT_TRUE(cpu.get(Field32::entry_controls) & entryctl::ia32e_mode_guest);
  EXPECT_EQ(state().cr0, 0x80050033u);
  EXPECT_GE(cpu.calls("invvpid"), 1);
}

TEST_F(CrAccessTest, LeavingPagingLeavesLongMode) {
  protected_mode();
  move_to(0, 0x80050033);
  move_to(0, 0x50033);
  EXPECT_EQ(state().efer, efer::LME);
  EXPECT_FALSE(cpu.get(Field32::entry_controls) & entryctl::ia32e_mode_guest);
}

TEST_F(CrAccessTest, EnablingPaePagingLoadsThePdptes) {
  protected_mode();
  CpuState s = state();
  s.efer = 0;
  s.cr3 = 0x5020;
  apply(s);
  entry(0x5020, 0, 0x6001);
  entry(0x5020, 3, 0x7001);
  move_to(0, 0x80000031);
  EXPECT_EQ(cpu.get(Field64::guest_pdpte0), 0x6001u);
  EXPECT_EQ(cpu.get(Field64::guest_pdpte3), 0x7001u);
  EXPECT_FALSE(state().efer & efer::LMA);
}

TEST_F(CrAccessTest, WritesThatTheArchitectureRefuses) {
  struct {
    const char* name;
    uint8_t cr;
    uint64_t value;
    bool long_mode;
  } const cases[] = {
      {"PG without PE", 0, cr0::PG | cr0::NE, false},
      {"NW without CD", 0, cr0::PE | cr0::NW, false},
      {"upper half", 0, 1ull << 32 | 0x80050033, true},
      {"VMXE", 4, cr4::PAE | cr4::VMXE, false},
      {"PAE off in long mode", 4, cr4::VMXE, true},
      {"paging off in 64-bit code", 0, cr0::PE, true},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    if (c.long_mode) {
      set_long_mode();
    } else {
      protected_mode();
    }
    const uint64_t before = state().cr0;
    move_to(c.cr, c.value);
    EXPECT_EQ(last_entry().interruption_info, injected_exception(kGP));
    EXPECT_EQ(state().rip, 0x1000u);
    EXPECT_EQ(state().cr0, before);
  }
}

TEST_F(CrAccessTest, BadPdptesAreGeneralProtection) {
  protected_mode();
  CpuState s = state();
  s.efer = 0;
  s.cr3 = 0x5000;
  apply(s);
  entry(0x5000, 1, 0x6007);  // bits 1 and 2 are reserved
  move_to(0, 0x80000031);
  EXPECT_EQ(last_entry().interruption_info, injected_exception(kGP));
}

TEST_F(CrAccessTest, Cr8IsTheTaskPriorityOfTheApic) {
  platform.msrs[msr::APIC_BASE] = 0xfee00900;
  move_to(8, 9);
  EXPECT_EQ(platform.writes.back(), (FakePlatform::Access{0xfee00080, 4, 0x90}));
  platform.mmio_value = 0x70;
  platform.stop = false;
  cpu.then_exit(ExitReason::cr_access,
                CrAccess{8, CrAccess::Kind::mov_from_cr, false, Gpr::r9}.encode(), 4);
  run_ok();
  EXPECT_EQ(state().gpr[Gpr::r9], 7u);
  move_to(8, 16);
  EXPECT_EQ(last_entry().interruption_info, injected_exception(kGP));
}

TEST_F(CrAccessTest, LmswSetsPeButDoesNotClearIt) {
  CpuState s = CpuState::after_reset();
  apply(s);
  CrAccess lmsw{0, CrAccess::Kind::lmsw, false, Gpr::rax, 0xfff1};
  cpu.then_exit(ExitReason::cr_access, lmsw.encode(), 3);
  run_ok();
  EXPECT_TRUE(state().cr0 & cr0::PE);
  platform.stop = false;
  lmsw.lmsw_source = 0;
  cpu.then_exit(ExitReason::cr_access, lmsw.encode(), 3);
  run_ok();
  EXPECT_TRUE(state().cr0 & cr0::PE);
}

TEST_F(CrAccessTest, CltsClearsTs) {
  CpuState s = state();
  s.cr0 |= cr0::TS;
  apply(s);
  cpu.then_exit(ExitReason::cr_access, CrAccess{0, CrAccess::Kind::clts}.encode(), 2);
  run_ok();
  EXPECT_FALSE(state().cr0 & cr0::TS);
}

TEST_F(CrAccessTest, RspCanBeTheOperand) {
  protected_mode();
  cpu.then([](FakeVmxCpu& c, GprFile&) {
    c.set(FieldN::guest_rsp, 0x31);
    c.exit(ExitReason::cr_access, CrAccess{0, CrAccess::Kind::mov_to_cr, false, Gpr::rsp}.encode(),
           3);
  });
  run_ok();
  EXPECT_EQ(state().cr0, 0x31u);
}

}  // namespace
}  // namespace cupel::vmx::test
