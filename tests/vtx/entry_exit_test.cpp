#include "core/x86/msr.h"
#include "tests/vtx/rig.h"

namespace cupel::vtx::testing {
namespace {

using namespace x86;

TEST(Entry, LoadsTheGuest) {
  Rig rig;
  rig.set(F::guest_fs_base, 0x1234);
  rig.set(F::guest_sysenter_eip, 0x5678);
  rig.set(F::guest_gdtr_base, 0x9abc);
  rig.regs[Gpr::rbx] = 42;
  rig.regs[Gpr::rsp] = 0xbad;
  rig.cpu.script = [](FakeProcessor& p) {
    EXPECT_EQ(p.rip(), 0x100000u);
    EXPECT_EQ(p.gpr()[Gpr::rsp], 0x8000u);
    EXPECT_EQ(p.gpr()[Gpr::rbx], 42u);
    EXPECT_EQ(p.cr(0), 0x80010031u);
    EXPECT_EQ(p.cr(3), 0x9000u);
    EXPECT_EQ(p.efer(), efer::LMA | efer::LME);
    EXPECT_EQ(p.segment(Seg::cs).access, 0xa09bu);
    EXPECT_EQ(p.segment(Seg::fs).base, 0x1234u);
    EXPECT_EQ(p.msrs()[msr::SYSENTER_EIP], 0x5678u);
    EXPECT_EQ(p.gdtr().base, 0x9abcu);
    EXPECT_EQ(p.dr(7), 0x400u);
    p.gpr()[Gpr::rcx] = 7;
    p.gpr()[Gpr::rsp] = 0x7ff0;
    p.trap(cpu::TrapKind::cpuid);
  };
  EXPECT_EQ(rig.launch(), VmxStatus::succeed);
  EXPECT_EQ(rig.regs[Gpr::rcx], 7u);
  EXPECT_EQ(rig.regs[Gpr::rsp], 0xbadu);  // not the guest's: that is a VMCS field
  EXPECT_EQ(rig.get(F::guest_rsp), 0x7ff0u);
}

TEST(LazySync, ReadsSeeWhatTheGuestDid) {
  Rig rig;
  rig.cpu.script = [](FakeProcessor& p) {
    p.raw().rip = 0x200000;
    p.raw().cr3 = 0xa000;
    p.raw()[Seg::ds] = {0x18, 0xc0f3, 0xffffffff, 0};
    p.raw().rflags = 0x246;
    p.msrs()[msr::SYSENTER_ESP] = 0x99;
    p.msrs()[msr::PAT] = 0x0606060606060606ull;
    p.set_interruptibility(interruptibility::sti);
    p.trap(cpu::TrapKind::cpuid);
  };
  EXPECT_EQ(rig.launch(), VmxStatus::succeed);
  EXPECT_EQ(rig.get(F::guest_rip), 0x200000u);
  EXPECT_EQ(rig.get(F::guest_cr3), 0xa000u);
  EXPECT_EQ(rig.get(F::guest_ds_selector), 0x18u);
  EXPECT_EQ(rig.get(F::guest_ds_access_rights), 0xc0f3u);
  EXPECT_EQ(rig.get(F::guest_rflags), 0x246u);
  EXPECT_EQ(rig.get(F::guest_sysenter_esp), 0x99u);
  EXPECT_EQ(rig.get(F::guest_pat), 0x0606060606060606ull);
  EXPECT_EQ(rig.get(F::guest_interruptibility_state), 1u);
}

TEST(LazySync, AWriteToOneFieldKeepsTheRestOfItsGroup) {
  Rig rig;
  rig.cpu.script = [](FakeProcessor& p) {
    p.raw()[Seg::ds] = {0x18, 0xc0f3, 0xfffff, 0x1000};
    p.raw().cr3 = 0xa000;
    p.trap(cpu::TrapKind::cpuid);
  };
  EXPECT_EQ(rig.launch(), VmxStatus::succeed);
  rig.cpu.script = nullptr;
  rig.set(F::guest_ds_limit, 0xffffffff);
  rig.set(F::guest_cr4, cr4::PAE | cr4::VMXE | cr4::PGE);
  EXPECT_EQ(rig.resume(), VmxStatus::succeed);
  EXPECT_EQ(rig.cpu.raw()[Seg::ds], (Segment{0x18, 0xc0f3, 0xffffffff, 0x1000}));
  EXPECT_EQ(rig.cpu.raw().cr3, 0xa000u);
  EXPECT_EQ(rig.cpu.raw().cr4, cr4::PAE | cr4::VMXE | cr4::PGE);
}

TEST(LazySync, AnUnchangedVmcsTouchesNothing) {
  Rig rig;
  EXPECT_EQ(rig.launch(), VmxStatus::succeed);
  EXPECT_EQ(rig.resume(), VmxStatus::succeed);
  const int flushes = rig.cpu.flushes, loads = rig.cpu.control_register_loads;
  const int reads = rig.cpu.segment_reads, writes = rig.cpu.segment_writes;
  for (int n = 0; n < 10; ++n) {
    rig.set(F::guest_rip, rig.get(F::guest_rip) + 2);
    EXPECT_EQ(rig.resume(), VmxStatus::succeed);
  }
  EXPECT_EQ(rig.cpu.raw().rip, 0x100014u);
  EXPECT_EQ(rig.cpu.flushes, flushes);
  EXPECT_EQ(rig.cpu.control_register_loads, loads);
  EXPECT_EQ(rig.cpu.segment_reads, reads);
  EXPECT_EQ(rig.cpu.segment_writes, writes);
}

TEST(LazySync, WithoutSavingEferTheFieldKeepsItsValue) {
  Rig rig;
  rig.clear_bits(F::exit_controls, exitctl::save_efer | exitctl::save_pat);
  rig.cpu.script = [](FakeProcessor& p) {
    EXPECT_EQ(p.efer(), efer::LMA | efer::LME);
    p.raw().efer |= efer::NXE;
    p.raw().cr3 = 0xb000;
    p.msrs()[msr::PAT] = 0;
    p.trap(cpu::TrapKind::cpuid);
  };
  EXPECT_EQ(rig.launch(), VmxStatus::succeed);
  EXPECT_EQ(rig.resume(), VmxStatus::succeed);  // EFER loaded again, CR3 kept
  EXPECT_EQ(rig.get(F::guest_efer), efer::LMA | efer::LME);
  EXPECT_EQ(rig.get(F::guest_cr3), 0xb000u);
  EXPECT_EQ(rig.get(F::guest_pat), 0x0007040600070406ull);
}

TEST(LazySync, ChangingExitControlsAfterAnExitDoesNotChangeWhatItSaved) {
  Rig rig;
  rig.cpu.script = [](FakeProcessor& p) {
    p.raw().efer |= efer::NXE;
    p.trap(cpu::TrapKind::cpuid);
  };
  EXPECT_EQ(rig.launch(), VmxStatus::succeed);
  rig.clear_bits(F::exit_controls, exitctl::save_efer);
  EXPECT_EQ(rig.get(F::guest_efer), efer::LMA | efer::LME | efer::NXE);
}

TEST(Injection, PassesTheEventAndClearsTheField) {
  Rig rig;
  rig.set(F::entry_interruption_info, 0x80000b0e);
  rig.set(F::entry_exception_error_code, 2);
  EXPECT_EQ(rig.launch(), VmxStatus::succeed);
  ASSERT_EQ(rig.cpu.delivered.size(), 1u);
  EXPECT_EQ(rig.cpu.delivered[0].vector, kPF);
  EXPECT_EQ(rig.cpu.delivered[0].error_code, 2u);
  EXPECT_TRUE(rig.cpu.delivered[0].has_error_code);
  EXPECT_EQ(rig.get(F::entry_interruption_info), 0x00000b0eu);
  EXPECT_EQ(rig.resume(), VmxStatus::succeed);
  EXPECT_EQ(rig.cpu.delivered.size(), 1u);
}

TEST(Injection, SoftwareInterruptCarriesItsLengthAndWakesNothing) {
  Rig rig;
  rig.set(F::entry_interruption_info, 0x80000480);
  rig.set(F::entry_instruction_length, 2);
  EXPECT_EQ(rig.launch(), VmxStatus::succeed);
  EXPECT_EQ(rig.cpu.delivered.at(0).instruction_length, 2);
  EXPECT_EQ(rig.cpu.delivered.at(0).type, EventType::software_interrupt);
}

TEST(Injection, WakesAHaltedGuest) {
  Rig rig;
  rig.set(F::guest_activity_state, 1);
  rig.set(F::guest_rflags, 0x202);
  rig.set(F::entry_interruption_info, 0x80000031);
  EXPECT_EQ(rig.launch(), VmxStatus::succeed);
  EXPECT_EQ(rig.get(F::guest_activity_state), 0u);
}

TEST(Exit, LoadsHostState) {
  Rig rig;
  rig.set(F::host_cr3, 0x8000);
  rig.set(F::host_fs_base, 0x77);
  EXPECT_EQ(rig.launch(), VmxStatus::succeed);
  uint64_t value = 0;
  EXPECT_EQ(rig.vmx.read_cr3(), 0x8000u);
  EXPECT_TRUE(rig.vmx.rdmsr(msr::FS_BASE, value));
  EXPECT_EQ(value, 0x77u);
  EXPECT_TRUE(rig.vmx.rdmsr(msr::EFER, value));
  EXPECT_EQ(value, efer::LMA | efer::LME | efer::SCE | efer::NXE);
}

TEST(Exit, UpdatesTheIa32eModeGuestControl) {
  Rig rig;
  rig.cpu.script = [](FakeProcessor& p) {
    p.raw().efer = 0;
    p.raw().cr0 = 0x30;
    p.trap(cpu::TrapKind::cpuid);
  };
  EXPECT_EQ(rig.launch(), VmxStatus::succeed);
  EXPECT_EQ(rig.get(F::entry_controls) & entryctl::ia32e_mode_guest, 0u);
  EXPECT_EQ(rig.resume(), VmxStatus::succeed);
  EXPECT_EQ(rig.reason(), 10u) << rig.vmx.describe_entry_failures();
}

struct MsrEntry {
  uint32_t index, reserved;
  uint64_t value;
};

TEST(MsrAreas, LoadAndStore) {
  Rig rig;
  rig.memory->write(Hpa(kMsrArea), MsrEntry{msr::STAR, 0, 0x111});
  rig.memory->write(Hpa(kMsrArea + 0x100), MsrEntry{msr::STAR, 0, 0});
  rig.memory->write(Hpa(kMsrArea + 0x200), MsrEntry{msr::STAR, 0, 0x333});
  rig.set(F::entry_msr_load_count, 1);
  rig.set(F::entry_msr_load_address, kMsrArea);
  rig.set(F::exit_msr_store_count, 1);
  rig.set(F::exit_msr_store_address, kMsrArea + 0x100);
  rig.set(F::exit_msr_load_count, 1);
  rig.set(F::exit_msr_load_address, kMsrArea + 0x200);
  rig.cpu.script = [](FakeProcessor& p) {
    EXPECT_EQ(p.msrs()[msr::STAR], 0x111u);
    p.msrs()[msr::STAR] = 0x222;
    p.trap(cpu::TrapKind::cpuid);
  };
  EXPECT_EQ(rig.launch(), VmxStatus::succeed);
  EXPECT_EQ(rig.memory->read<MsrEntry>(Hpa(kMsrArea + 0x100)).value, 0x222u);
  EXPECT_EQ(rig.cpu.msrs()[msr::STAR], 0x333u);
}

TEST(MsrAreas, EntryFailureNamesTheEntry) {
  for (const MsrEntry bad : {MsrEntry{0x12345, 0, 0}, MsrEntry{msr::FS_BASE, 0, 0},
                             MsrEntry{msr::STAR, 1, 0}, MsrEntry{0x802, 0, 0}}) {
    Rig rig;
    rig.memory->write(Hpa(kMsrArea), MsrEntry{msr::STAR, 0, 1});
    rig.memory->write(Hpa(kMsrArea + 16), bad);
    rig.set(F::entry_msr_load_count, 2);
    rig.set(F::entry_msr_load_address, kMsrArea);
    EXPECT_EQ(rig.launch(), VmxStatus::succeed);
    EXPECT_EQ(rig.reason(), 0x80000022u);
    EXPECT_EQ(rig.get(F::exit_qualification), 2u);
    EXPECT_EQ(rig.cpu.runs, 0);
    rig.set(F::entry_msr_load_count, 1);
    EXPECT_EQ(rig.launch(), VmxStatus::succeed);  // still clear
    EXPECT_EQ(rig.reason(), 10u);
  }
}

TEST(VmxAbort, LeavesItsIndicatorAndStopsTheProcessor) {
  Rig store;
  store.memory->write(Hpa(kMsrArea), MsrEntry{0x12345, 0, 0});
  store.set(F::exit_msr_store_count, 1);
  store.set(F::exit_msr_store_address, kMsrArea);
  EXPECT_EQ(store.launch(), VmxStatus::succeed);
  EXPECT_EQ(store.vmx.abort(), VmxAbort::saving_guest_msrs);
  EXPECT_EQ(store.memory->read<uint32_t>(kVmcs + 4), 1u);
  EXPECT_EQ(store.resume(), VmxStatus::fail_invalid);
  Rig load;
  load.memory->write(Hpa(kMsrArea), MsrEntry{msr::PAT, 0, 2});
  load.set(F::exit_msr_load_count, 1);
  load.set(F::exit_msr_load_address, kMsrArea);
  EXPECT_EQ(load.launch(), VmxStatus::succeed);
  EXPECT_EQ(load.vmx.abort(), VmxAbort::loading_host_msrs);
  EXPECT_EQ(load.memory->read<uint32_t>(kVmcs + 4), 4u);
}

TEST(Vpid, ZeroFlushesAtEveryEntryAndTagsOnlyOnChange) {
  Rig rig;
  EXPECT_EQ(rig.launch(), VmxStatus::succeed);
  const int tagged = rig.cpu.flushes;
  EXPECT_EQ(rig.resume(), VmxStatus::succeed);
  EXPECT_EQ(rig.cpu.flushes, tagged);
  rig.set(F::vpid, 2);
  EXPECT_EQ(rig.resume(), VmxStatus::succeed);
  EXPECT_EQ(rig.cpu.flushes, tagged + 1);
  rig.clear_bits(F::secondary_processor_controls, proc2::enable_vpid);
  EXPECT_EQ(rig.resume(), VmxStatus::succeed);
  const int untagged = rig.cpu.flushes;
  EXPECT_EQ(rig.resume(), VmxStatus::succeed);
  EXPECT_EQ(rig.cpu.flushes, untagged + 1);
}

}  // namespace
}  // namespace cupel::vtx::testing
