#include "tests/vtx/check_cases.h"

namespace cupel::vtx::testing {
namespace {

using namespace x86;

constexpr uint64_t kUnaligned = 0x4001, kTooHigh = 1ull << 40;

const CheckCase kCases[] = {
    {"control.pin.reserved", [](Rig& r) { r.clear_bits(F::pin_based_controls, 2); }},
    {"control.proc.reserved", [](Rig& r) { r.clear_bits(F::primary_processor_controls, 2); }},
    {"control.cr3_target_count", [](Rig& r) { r.set(F::cr3_target_count, 5); }},
    {"control.io_bitmap_a.address", [](Rig& r) { r.set(F::io_bitmap_a, kUnaligned); }},
    {"control.io_bitmap_b.address", [](Rig& r) { r.set(F::io_bitmap_b, kTooHigh); }},
    {"control.msr_bitmap.address", [](Rig& r) { r.set(F::msr_bitmap, kUnaligned); }},
    {"control.virtual_apic.address",
     [](Rig& r) {
       r.set_bits(F::primary_processor_controls, proc::tpr_shadow);
       r.set(F::virtual_apic_address, kUnaligned);
     }},
    {"control.tpr_threshold.reserved",
     [](Rig& r) {
       r.set_bits(F::primary_processor_controls, proc::tpr_shadow);
       r.set(F::tpr_threshold, 16);
     }},
    {"control.tpr_shadow.dependents",
     [](Rig& r) { r.set_bits(F::secondary_processor_controls, proc2::virtualize_x2apic); }},
    {"control.virtual_nmis.nmi_exiting",
     [](Rig& r) {
       r.clear_bits(F::pin_based_controls, pin::nmi_exiting);
       r.set_bits(F::pin_based_controls, pin::virtual_nmis);
     }},
    {"control.nmi_window.virtual_nmis",
     [](Rig& r) { r.set_bits(F::primary_processor_controls, proc::nmi_window); }},
    {"control.apic_access.address",
     [](Rig& r) {
       r.set_bits(F::secondary_processor_controls, proc2::virtualize_apic_accesses);
       r.set(F::apic_access_address, kUnaligned);
     }},
    {"control.x2apic.apic_accesses",
     [](Rig& r) {
       r.set_bits(F::secondary_processor_controls,
                  proc2::virtualize_apic_accesses | proc2::virtualize_x2apic);
     }},
    {"control.virtual_interrupt_delivery.external_interrupt",
     [](Rig& r) {
       r.set_bits(F::secondary_processor_controls, proc2::virtual_interrupt_delivery);
       r.clear_bits(F::pin_based_controls, pin::external_interrupt_exiting);
     }},
    {"control.posted_interrupts",
     [](Rig& r) { r.set_bits(F::pin_based_controls, pin::process_posted_interrupts); }},
    {"control.vpid.zero", [](Rig& r) { r.set(F::vpid, 0); }},
    {"control.eptp.memory_type", [](Rig& r) { r.set(F::ept_pointer, kPml4 | 3 << 3 | 1); }},
    {"control.eptp.walk_length", [](Rig& r) { r.set(F::ept_pointer, kPml4 | 4 << 3 | 6); }},
    {"control.eptp.reserved", [](Rig& r) { r.set_bits(F::ept_pointer, 1 << 7); }},
    {"control.pml.ept",
     [](Rig& r) {
       r.set_bits(F::secondary_processor_controls, proc2::enable_pml);
       r.set(F::pml_address, kUnaligned);
     }},
    {"control.unrestricted_guest.ept",
     [](Rig& r) { r.clear_bits(F::secondary_processor_controls, proc2::enable_ept); }},
    {"control.mode_based_execute.ept",
     [](Rig& r) {
       r.clear_bits(F::secondary_processor_controls, proc2::enable_ept);
       r.set_bits(F::secondary_processor_controls, proc2::mode_based_execute);
     }},
    {"control.vmcs_shadowing.bitmaps",
     [](Rig& r) {
       r.set_bits(F::secondary_processor_controls, proc2::vmcs_shadowing);
       r.set(F::vmread_bitmap, kUnaligned);
     }},
    {"control.exit.reserved", [](Rig& r) { r.clear_bits(F::exit_controls, 1); }},
    {"control.exit.save_preemption_timer",
     [](Rig& r) { r.set_bits(F::exit_controls, exitctl::save_preemption_timer); }},
    {"control.exit_msr_store.area",
     [](Rig& r) {
       r.set(F::exit_msr_store_count, 1);
       r.set(F::exit_msr_store_address, 0x7008);
     }},
    {"control.exit_msr_load.area",
     [](Rig& r) {
       r.set(F::exit_msr_load_count, 2);
       r.set(F::exit_msr_load_address, kTooHigh - 16);  // the second entry is beyond
     }},
    {"control.entry.reserved", [](Rig& r) { r.clear_bits(F::entry_controls, 1); }},
    {"control.entry.smm", [](Rig& r) { r.set_bits(F::entry_controls, entryctl::entry_to_smm); }},
    {"control.injection.type", [](Rig& r) { r.set(F::entry_interruption_info, 0x80000100); }},
    {"control.injection.vector",
     [](Rig& r) { r.set(F::entry_interruption_info, 0x80000203); }},  // NMI with vector 3
    {"control.injection.deliver_error_code",
     [](Rig& r) { r.set(F::entry_interruption_info, 0x8000030d); }},  // #GP without error code
    {"control.injection.reserved", [](Rig& r) { r.set(F::entry_interruption_info, 0x80001306); }},
    {"control.injection.error_code",
     [](Rig& r) {
       r.set(F::entry_interruption_info, 0x80000b0d);
       r.set(F::entry_exception_error_code, 0x10000);
     }},
    {"control.injection.instruction_length",
     [](Rig& r) {
       r.set(F::entry_interruption_info, 0x80000480);
       r.set(F::entry_instruction_length, 16);
     }},
    {"control.entry_msr_load.area",
     [](Rig& r) {
       r.set(F::entry_msr_load_count, 1);
       r.set(F::entry_msr_load_address, 8);
     }},
};

// These need a processor that offers less.
const CheckCase kRestricted[] = {
    {"control.proc2.reserved",
     [](Rig& r) { r.set_bits(F::secondary_processor_controls, proc2::enable_pml); }},
    {"control.eptp.accessed_dirty", [](Rig& r) { r.set_bits(F::ept_pointer, 64); }},
};

TEST(ControlChecks, GoodStatePasses) {
  Rig rig;
  EXPECT_EQ(rig.launch(), VmxStatus::succeed);
  EXPECT_EQ(rig.vmx.describe_entry_failures(), "");
  Rig all(everything_offered());
  EXPECT_EQ(all.launch(), VmxStatus::succeed);
  EXPECT_EQ(all.vmx.describe_entry_failures(), "");
}

TEST(ControlChecks, EachRowFailsWithError7) { expect_each_fails(kCases, CheckStage::controls); }

TEST(ControlChecks, RowsOnWhatTheProcessorDoesNotOffer) {
  for (const CheckCase& c : kRestricted) {
    SCOPED_TRACE(c.id);
    CapabilityProfile profile = server_capabilities();
    profile.ept_vpid &= ~eptcap::accessed_dirty;
    Rig rig(profile);
    c.spoil(rig);
    EXPECT_EQ(rig.launch(), VmxStatus::fail_valid);
    EXPECT_EQ(rig.vmx.last_error(), VmxError::entry_controls);
    EXPECT_TRUE(rig.failed(c.id)) << rig.vmx.describe_entry_failures();
  }
}

TEST(ControlChecks, EveryRowHasACase) {
  std::vector<CheckCase> all(std::begin(kCases), std::end(kCases));
  all.insert(all.end(), std::begin(kRestricted), std::end(kRestricted));
  expect_covered(control_checks(), all);
}

TEST(ControlChecks, AllFailuresAreCollectedAndDescribed) {
  Rig rig;
  rig.set(F::cr3_target_count, 9);
  rig.set(F::vpid, 0);
  rig.set(F::host_cs_selector, 0);
  rig.set(F::guest_rflags, 0);
  EXPECT_EQ(rig.launch(), VmxStatus::fail_valid);
  EXPECT_EQ(rig.vmx.last_error(), VmxError::entry_controls);
  for (const char* id :
       {"control.cr3_target_count", "control.vpid.zero", "host.cs.null", "guest.rflags.reserved"})
    EXPECT_TRUE(rig.failed(id)) << id;
  EXPECT_EQ(rig.vmx.entry_failures().size(), 4u);
  const std::string text = rig.vmx.describe_entry_failures();
  EXPECT_NE(text.find("cr3_target_count (400aH) = 0x9"), std::string::npos) << text;
  EXPECT_NE(text.find("VM-Execution Control Fields"), std::string::npos) << text;
}

TEST(ControlChecks, AFailureStaysUntilItsFieldIsMended) {
  Rig rig;
  rig.set(F::vpid, 0);
  EXPECT_EQ(rig.launch(), VmxStatus::fail_valid);
  rig.set(F::guest_rip, 0x2000);
  EXPECT_EQ(rig.launch(), VmxStatus::fail_valid);
  EXPECT_TRUE(rig.failed("control.vpid.zero"));
  rig.set(F::vpid, 3);
  EXPECT_EQ(rig.launch(), VmxStatus::succeed);
  EXPECT_TRUE(rig.vmx.entry_failures().empty());
}

TEST(ControlChecks, OptionalErrorCodeProfileAcceptsBoth) {
  CapabilityProfile profile = server_capabilities();
  profile.exception_error_code_optional = true;
  Rig rig(profile);
  rig.set(F::entry_interruption_info, 0x8000030d);
  EXPECT_EQ(rig.launch(), VmxStatus::succeed);
  EXPECT_FALSE(rig.failed("control.injection.deliver_error_code"));
}

TEST(ControlChecks, RealModeGuestGetsNoErrorCode) {
  Rig rig;
  rig.set(F::guest_cr0, 0x30);
  rig.set(F::entry_interruption_info, 0x80000b0d);
  EXPECT_EQ(rig.launch(), VmxStatus::fail_valid);
  EXPECT_TRUE(rig.failed("control.injection.deliver_error_code"));
}

}  // namespace
}  // namespace cupel::vtx::testing
