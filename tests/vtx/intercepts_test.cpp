#include "tests/vtx/rig.h"

namespace cupel::vtx::testing {
namespace {

using namespace x86;
using cpu::Trap;
using cpu::TrapKind;

Trap io(uint16_t port, uint8_t size, bool in = true) {
  Trap t;
  t.kind = TrapKind::io;
  t.length = 1;
  t.io = {port, size, in, false, false, false};
  return t;
}
Trap msr_access(TrapKind kind, uint32_t index) {
  Trap t;
  t.kind = kind;
  t.length = 2;
  t.msr = index;
  return t;
}
Trap mov_to_cr(uint8_t n, uint64_t value) {
  Trap t;
  t.kind = TrapKind::cr_access;
  t.length = 3;
  t.cr.cr = n;
  t.cr.gpr = Gpr::rbx;
  t.value = value;
  return t;
}
Trap exception(uint8_t vector, uint32_t error_code = 0) {
  Trap t;
  t.kind = TrapKind::exception;
  t.vector = vector;
  t.has_error_code = has_error_code(vector);
  t.error_code = error_code;
  return t;
}

TEST(Intercepts, UnconditionalInstructions) {
  Rig rig;
  EXPECT_TRUE(rig.exits(TrapKind::cpuid));
  EXPECT_EQ(rig.reason(), 10u);
  EXPECT_EQ(rig.get(F::exit_instruction_length), 2u);
  EXPECT_TRUE(rig.exits(TrapKind::invd));
  EXPECT_EQ(rig.reason(), 13u);
  EXPECT_TRUE(rig.exits(TrapKind::xsetbv));
  EXPECT_EQ(rig.reason(), 55u);
  EXPECT_TRUE(rig.exits(TrapKind::vmcall));
  EXPECT_EQ(rig.reason(), 18u);
  EXPECT_TRUE(rig.exits(TrapKind::triple_fault));
  EXPECT_EQ(rig.reason(), 2u);
}

TEST(Intercepts, EachConditionalInstructionFollowsItsControl) {
  struct Row {
    TrapKind kind;
    F field;
    uint32_t control;
    ExitReason reason;
  };
  const F p = F::primary_processor_controls, p2 = F::secondary_processor_controls;
  const Row rows[] = {
      {TrapKind::hlt, p, proc::hlt_exiting, ExitReason::hlt},
      {TrapKind::rdtsc, p, proc::rdtsc_exiting, ExitReason::rdtsc},
      {TrapKind::rdtscp, p, proc::rdtsc_exiting, ExitReason::rdtscp},
      {TrapKind::rdpmc, p, proc::rdpmc_exiting, ExitReason::rdpmc},
      {TrapKind::invlpg, p, proc::invlpg_exiting, ExitReason::invlpg},
      {TrapKind::pause, p, proc::pause_exiting, ExitReason::pause},
      {TrapKind::mwait, p, proc::mwait_exiting, ExitReason::mwait},
      {TrapKind::monitor, p, proc::monitor_exiting, ExitReason::monitor},
      {TrapKind::dr_access, p, proc::mov_dr_exiting, ExitReason::mov_dr},
      {TrapKind::wbinvd, p2, proc2::wbinvd_exiting, ExitReason::wbinvd},
      {TrapKind::gdtr_idtr_access, p2, proc2::descriptor_table_exiting,
       ExitReason::gdtr_idtr_access},
      {TrapKind::ldtr_tr_access, p2, proc2::descriptor_table_exiting, ExitReason::ldtr_tr_access},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(to_string(row.reason));
    Rig rig;
    rig.clear_bits(row.field, row.control);
    EXPECT_FALSE(rig.exits(row.kind));
    rig.set_bits(row.field, row.control);
    EXPECT_TRUE(rig.exits(row.kind));
    EXPECT_EQ(rig.reason(), static_cast<uint64_t>(row.reason));
  }
}

TEST(Intercepts, RdtscpWithoutItsControlIsUndefined) {
  Rig rig;
  rig.clear_bits(F::secondary_processor_controls, proc2::enable_rdtscp);
  EXPECT_TRUE(rig.exits(TrapKind::rdtscp));  // parks, takes #UD, goes on to CPUID
  ASSERT_EQ(rig.cpu.delivered.size(), 1u);
  EXPECT_EQ(rig.cpu.delivered[0].vector, kUD);
  EXPECT_EQ(rig.reason(), 10u);
  rig.set(F::exception_bitmap, 1u << kUD);
  EXPECT_TRUE(rig.exits(TrapKind::rdtscp));
  EXPECT_EQ(rig.reason(), 0u);
  EXPECT_EQ(rig.get(F::exit_interruption_info), 0x80000306u);
}

TEST(IoBitmaps, BitDecidesAndWrapAlwaysExits) {
  Rig rig;
  rig.memory->write<uint8_t>(Hpa(kIoA + 0x3f8 / 8), 1);
  rig.memory->write<uint8_t>(Hpa(kIoB + (0xcf8 & 0) / 8), 0x80);  // port 8007H
  auto hit = [&](Trap t) { return rig.exits(t); };
  EXPECT_FALSE(hit(io(0x80, 1)));
  EXPECT_TRUE(hit(io(0x3f8, 1, false)));
  const IoAccess seen = IoAccess::decode(rig.get(F::exit_qualification));
  EXPECT_EQ(seen.port, 0x3f8);
  EXPECT_EQ(seen.size, 1);
  EXPECT_FALSE(seen.in);
  EXPECT_TRUE(hit(io(0x3f7, 2)));  // one of its ports
  EXPECT_FALSE(hit(io(0x3f4, 4)));
  EXPECT_TRUE(hit(io(0x8007, 1)));
  EXPECT_TRUE(hit(io(0xffff, 2)));  // wraps around
  EXPECT_FALSE(hit(io(0xffff, 1)));
}

TEST(IoBitmaps, UnconditionalIoOnlyWithoutBitmaps) {
  Rig rig;
  rig.set_bits(F::primary_processor_controls, proc::unconditional_io);
  Trap t = io(0x80, 1);
  EXPECT_FALSE(rig.exits(t));  // bitmaps win
  rig.clear_bits(F::primary_processor_controls, proc::io_bitmaps);
  EXPECT_TRUE(rig.exits(t));
}

TEST(IoBitmaps, StringInstructionInformation) {
  Rig rig;
  rig.memory->write<uint8_t>(Hpa(kIoA + 0x60 / 8), 0xff);
  Trap t = io(0x60, 2, false);
  t.io.string = true;
  t.io.rep = true;
  t.io_linear = 0x123456;
  t.io_address_size = 4;
  t.io_segment = Seg::gs;
  EXPECT_TRUE(rig.exits(t));
  EXPECT_EQ(rig.get(F::exit_instruction_info), 1u << 7 | 5u << 15);
  EXPECT_EQ(rig.get(F::guest_linear_address), 0x123456u);
  EXPECT_TRUE(IoAccess::decode(rig.get(F::exit_qualification)).rep);
}

TEST(MsrBitmaps, FourBitmapsAndOutOfRange) {
  Rig rig;
  rig.memory->write<uint8_t>(Hpa(kMsrBitmap + 0x10 / 8), 1);             // read 10H
  rig.memory->write<uint8_t>(Hpa(kMsrBitmap + 1024 + 0x82 / 8), 4);      // read C0000082H
  rig.memory->write<uint8_t>(Hpa(kMsrBitmap + 2048 + 0x174 / 8), 0x10);  // write 174H
  rig.memory->write<uint8_t>(Hpa(kMsrBitmap + 3072 + 0x80 / 8), 1);      // write C0000080H
  auto hit = [&](TrapKind k, uint32_t index) {
    Trap t = msr_access(k, index);
    return rig.exits(t);
  };
  EXPECT_TRUE(hit(TrapKind::rdmsr, 0x10));
  EXPECT_EQ(rig.reason(), 31u);
  EXPECT_FALSE(hit(TrapKind::wrmsr, 0x10));
  EXPECT_TRUE(hit(TrapKind::rdmsr, 0xc0000082));
  EXPECT_FALSE(hit(TrapKind::wrmsr, 0xc0000082));
  EXPECT_TRUE(hit(TrapKind::wrmsr, 0x174));
  EXPECT_EQ(rig.reason(), 32u);
  EXPECT_TRUE(hit(TrapKind::wrmsr, 0xc0000080));
  EXPECT_FALSE(hit(TrapKind::rdmsr, 0xc0000080));
  EXPECT_TRUE(hit(TrapKind::rdmsr, 0x2000));
  EXPECT_TRUE(hit(TrapKind::wrmsr, 0x4b564d00));
  rig.clear_bits(F::primary_processor_controls, proc::msr_bitmaps);
  EXPECT_TRUE(hit(TrapKind::wrmsr, 0x10));
}

TEST(CrAccess, MaskedBitsAgainstTheShadowExit) {
  Rig rig;
  rig.set(F::cr0_guest_host_mask, cr0::TS | cr0::PE);
  rig.set(F::cr0_read_shadow, cr0::PE);
  Trap same = mov_to_cr(0, 0x80010031 | cr0::AM);  // PE as in the shadow, AM is the guest's
  EXPECT_FALSE(rig.exits(same));
  EXPECT_EQ(same.value, 0x80010031 | cr0::AM);
  EXPECT_FALSE(same.reject);
  Trap sets_ts = mov_to_cr(0, 0x80010031 | cr0::TS);
  EXPECT_TRUE(rig.exits(sets_ts));
  EXPECT_EQ(rig.reason(), 28u);
  EXPECT_EQ(rig.get(F::exit_qualification), 0u | 3u << 8);
  EXPECT_EQ(rig.vmx.visible_cr(0, 0x80010038), 0x80010031u);  // TS from the shadow
}

TEST(CrAccess, MaskedBitsKeepTheRealValue) {
  Rig rig;
  rig.set(F::cr4_guest_host_mask, cr4::VMXE);
  rig.set(F::cr4_read_shadow, 0);
  Trap t = mov_to_cr(4, cr4::PAE | cr4::PGE);  // the guest does not know of VMXE
  EXPECT_FALSE(rig.exits(t));
  EXPECT_EQ(t.value, cr4::PAE | cr4::PGE | cr4::VMXE);
  EXPECT_EQ(rig.vmx.visible_cr(4, t.value), cr4::PAE | cr4::PGE);
}

TEST(CrAccess, FixedBitsRejectTheValue) {
  Rig rig;
  Trap t = mov_to_cr(0, 0x80010011);  // NE 0
  EXPECT_FALSE(rig.exits(t));
  EXPECT_TRUE(t.reject);
  Trap real_mode = mov_to_cr(0, 0x20);  // PE and PG are free in an unrestricted guest
  EXPECT_FALSE(rig.exits(real_mode));
  EXPECT_FALSE(real_mode.reject);
}

TEST(CrAccess, Cr3TargetsDoNotExit) {
  Rig rig;
  Trap t = mov_to_cr(3, 0x5000);
  EXPECT_FALSE(rig.exits(t));
  rig.set_bits(F::primary_processor_controls, proc::cr3_load_exiting);
  EXPECT_TRUE(rig.exits(t));
  rig.set(F::cr3_target_1, 0x5000);
  rig.set(F::cr3_target_count, 1);
  EXPECT_TRUE(rig.exits(t));  // target 1 is not counted yet
  rig.set(F::cr3_target_count, 2);
  EXPECT_FALSE(rig.exits(t));
}

TEST(CrAccess, StoresAndCr8) {
  Rig rig;
  Trap from = mov_to_cr(3, 0);
  from.cr.kind = x86::CrAccess::Kind::mov_from_cr;
  EXPECT_FALSE(rig.exits(from));
  rig.set_bits(F::primary_processor_controls, proc::cr3_store_exiting);
  EXPECT_TRUE(rig.exits(from));
  Trap cr8 = mov_to_cr(8, 1);
  EXPECT_FALSE(rig.exits(cr8));
  rig.set_bits(F::primary_processor_controls, proc::cr8_load_exiting);
  EXPECT_TRUE(rig.exits(cr8));
}

TEST(CrAccess, CltsAndLmsw) {
  Rig rig;
  rig.cpu.raw().cr0 = 0x80010039;
  Trap clts;
  clts.kind = TrapKind::cr_access;
  clts.cr.kind = x86::CrAccess::Kind::clts;
  rig.set_bits(F::guest_cr0, cr0::TS);
  EXPECT_FALSE(rig.exits(clts));
  EXPECT_EQ(clts.value & cr0::TS, 0u);
  rig.set(F::cr0_guest_host_mask, cr0::TS);
  EXPECT_FALSE(rig.exits(clts));  // shadow is 0: no exit, TS stays
  EXPECT_NE(clts.value & cr0::TS, 0u);
  rig.set(F::cr0_read_shadow, cr0::TS);
  EXPECT_TRUE(rig.exits(clts));
  Trap lmsw;
  lmsw.kind = TrapKind::cr_access;
  lmsw.cr.kind = x86::CrAccess::Kind::lmsw;
  lmsw.cr.lmsw_source = cr0::TS;
  EXPECT_FALSE(rig.exits(lmsw));
  lmsw.cr.lmsw_source = 0;
  EXPECT_TRUE(rig.exits(lmsw));
  // Clearing PE is not something LMSW does, and so not an exit.
  rig.set(F::cr0_guest_host_mask, cr0::PE);
  rig.set(F::cr0_read_shadow, cr0::PE);
  EXPECT_FALSE(rig.exits(lmsw));
}

TEST(Exceptions, BitmapDecidesAndInformationIsRecorded) {
  Rig rig;
  Trap gp = exception(kGP, 0x18);
  EXPECT_FALSE(rig.exits(gp));
  rig.set(F::exception_bitmap, 1u << kGP);
  EXPECT_TRUE(rig.exits(gp));
  EXPECT_EQ(rig.reason(), 0u);
  EXPECT_EQ(rig.get(F::exit_interruption_info), 0x80000b0du);
  EXPECT_EQ(rig.get(F::exit_interruption_error_code), 0x18u);
  EXPECT_EQ(rig.get(F::exit_instruction_length), 0u);
  EXPECT_NE(rig.get(F::guest_rflags) & rflags::RF, 0u);
}

TEST(Exceptions, PageFaultMaskAndMatch) {
  Rig rig;
  Trap fault = exception(kPF, pf::W | pf::U);
  fault.address = 0xdead000;
  rig.set(F::page_fault_error_code_mask, pf::P | pf::U);
  rig.set(F::page_fault_error_code_match, pf::U);
  EXPECT_FALSE(rig.exits(fault));  // match, bit 14 is 0
  rig.set(F::exception_bitmap, 1u << kPF);
  EXPECT_TRUE(rig.exits(fault));  // match, bit 14 is 1
  EXPECT_EQ(rig.get(F::exit_qualification), 0xdead000u);
  fault.error_code = pf::P;
  EXPECT_FALSE(rig.exits(fault));  // no match, bit 14 is 1
  rig.set(F::exception_bitmap, 0);
  EXPECT_TRUE(rig.exits(fault));  // no match, bit 14 is 0
}

TEST(Exceptions, SoftwareExceptionsHaveALength) {
  Rig rig;
  rig.set(F::exception_bitmap, 1u << kBP);
  Trap t = exception(kBP);
  t.type = EventType::software_exception;
  t.length = 1;
  EXPECT_TRUE(rig.exits(t));
  EXPECT_EQ(rig.get(F::exit_interruption_info), 0x80000603u);
  EXPECT_EQ(rig.get(F::exit_instruction_length), 1u);
  EXPECT_EQ(rig.get(F::guest_rflags) & rflags::RF, 0u);
}

TEST(Exceptions, VectoringInformation) {
  Rig rig;
  rig.set(F::exception_bitmap, 1u << kPF);
  rig.cpu.script = [](FakeProcessor& p) {
    p.vectoring_event = cpu::Event{0x80, EventType::software_interrupt, false, 0, 2};
    Trap t = exception(kPF, 2);
    p.monitor->on_trap(t);
  };
  EXPECT_EQ(rig.launch(), VmxStatus::succeed);
  EXPECT_EQ(rig.get(F::idt_vectoring_info), 0x80000480u);
  EXPECT_EQ(rig.get(F::exit_instruction_length), 2u);
  // The next exit has none.
  rig.cpu.script = nullptr;
  EXPECT_EQ(rig.resume(), VmxStatus::succeed);
  EXPECT_EQ(rig.get(F::idt_vectoring_info), 0u);
}

TEST(VmxInstructions, ExitWithInformationOrAreUndefined) {
  Rig rig;
  Trap t;
  t.kind = TrapKind::vmx_instruction;
  t.vmx = cpu::VmxInstruction::vmread;
  t.length = 4;
  t.instruction_info = 0x1234;
  t.displacement = 0x10;
  EXPECT_TRUE(rig.exits(t));
  EXPECT_EQ(rig.reason(), 23u);
  EXPECT_EQ(rig.get(F::exit_instruction_info), 0x1234u);
  EXPECT_EQ(rig.get(F::exit_qualification), 0x10u);
  rig.clear_bits(F::guest_cs_access_rights, 1 << 13);  // compatibility mode
  EXPECT_TRUE(rig.exits(t));
  ASSERT_EQ(rig.cpu.delivered.size(), 1u);
  EXPECT_EQ(rig.cpu.delivered[0].vector, kUD);
}

TEST(Tsc, OffsetShowsOnlyWithItsControl) {
  Rig rig;
  rig.set(F::tsc_offset, 500);
  EXPECT_EQ(rig.vmx.visible_tsc(1000), 1000u);
  rig.set_bits(F::primary_processor_controls, proc::tsc_offsetting);
  EXPECT_EQ(rig.vmx.visible_tsc(1000), 1500u);
}

}  // namespace
}  // namespace cupel::vtx::testing
