// The doctor on broken set-ups as their developers would bring them, and on dumps of every form.
#include "hw_models/vtx/doctor.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <set>

#include "core/random.h"
#include "hw_models/vtx/control_table.h"
#include "hw_models/vtx/doctor_names.h"
#include "hw_models/vtx/profiles.h"
#include "tests/vtx/good_state.h"
#include "tests/vtx/rig.h"

namespace cupel::vtx::testing {
namespace {

CapabilityProfile silicon() { return *hardware_capabilities("skylake-sp"); }

// The good state as "name = value" lines.
std::string good_dump() {
  std::string text;
  for (const auto& [field, value] : good_state(silicon())) {
    char line[96];
    std::snprintf(line, sizeof line, "%s = 0x%llx\n", name_of(field),
                  static_cast<unsigned long long>(value));
    text += line;
  }
  return text;
}

// The good dump with lines replaced or added: later lines win, without the complaint about it.
VmcsDump changed(std::string_view lines) {
  VmcsDump dump = parse_dump(good_dump());
  const VmcsDump change = parse_dump(lines);
  EXPECT_TRUE(change.problems.empty()) << lines << ": " << change.problems[0].message;
  for (size_t n = 0; n < kFieldCount; ++n) {
    if (!change.present[n]) continue;
    dump.vmcs.values[n] = change.vmcs.values[n];
    dump.present[n] = true;
  }
  return dump;
}

struct Broken {
  const char* what;
  const char* lines;
  const char* decides;
};

// Mistakes of hypervisors in the making.
constexpr Broken kSetups[] = {
    {"default1 bit of the pin-based controls forgotten", "0x4000 = 0x9", "control.pin.reserved"},
    {"primary controls written as 0", "CPU_BASED_VM_EXEC_CONTROL = 0", "control.proc.reserved"},
    {"secondary control the processor lacks", "secondary_processor_controls = 0x200000",
     "control.proc2.reserved"},
    {"five CR3 targets", "CR3-target count = 5", "control.cr3_target_count"},
    {"I/O bitmap from malloc", "Address of I/O bitmap A (full) = 0x4010",
     "control.io_bitmap_a.address"},
    {"virtual instead of physical address", "MSR_BITMAP = 0xffff888000006000",
     "control.msr_bitmap.address"},
    {"VPID 0", "VIRTUAL_PROCESSOR_ID = 0", "control.vpid.zero"},
    {"EPTP without its attributes", "EPT pointer = 0x10000", "control.eptp.walk_length"},
    {"EPTP with write-combining", "ept_pointer = 0x10019", "control.eptp.memory_type"},
    {"five levels where four are offered", "eptp = 0x10026", "control.eptp.walk_length"},
    {"EPTP with bit 11", "201aH = 0x1081e", "control.eptp.reserved"},
    {"unrestricted guest without EPT", "0x401e = 0x80", "control.unrestricted_guest.ept"},
    {"virtual NMIs without NMI exiting", "pin_based_controls = 0x37",
     "control.virtual_nmis.nmi_exiting"},
    {"NMI window without virtual NMIs", "4002H = 0x94406172 \n", "control.nmi_window.virtual_nmis"},
    {"APIC-register virtualization alone", "401eH = 0x1aa", "control.tpr_shadow.dependents"},
    {"timer saved but not active", "exit_controls = 0x7f6fff",
     "control.exit.save_preemption_timer"},
    {"MSR list not aligned", "VM_EXIT_MSR_LOAD_COUNT = 1\nVM_EXIT_MSR_LOAD_ADDR = 0x7008",
     "control.exit_msr_load.area"},
    {"exit controls without host address-space bit reserved ones", "VM_EXIT_CONTROLS = 0x200",
     "control.exit.reserved"},
    {"entry controls of 0", "VM_ENTRY_CONTROLS = 0x200", "control.entry.reserved"},
    {"#GP injected without error code", "entry_interruption_info = 0x8000030d",
     "control.injection.error_code_missing"},
    {"#UD injected with error code", "entry_interruption_info = 0x80000b06",
     "control.injection.error_code_unexpected"},
    {"NMI with vector 0x20", "entry_interruption_info = 0x80000220", "control.injection.vector"},
    {"INT3 of 16 bytes", "entry_interruption_info = 0x80000603\nentry_instruction_length = 16",
     "control.injection.instruction_length"},
    {"host CR4 without VMXE", "HOST_CR4 = 0x20", "host.cr4.fixed"},
    {"host selector with RPL 3", "host_ds_selector = 0x2b", "host.ds.selector"},
    {"host TR never loaded", "Host TR selector = 0", "host.tr.null"},
    {"host GDT base not canonical", "HOST_GDTR_BASE = 0x800000000000", "host.gdtr_base.canonical"},
    {"host EFER without LMA", "HOST_IA32_EFER = 0x101", "host.efer.address_space_size"},
    {"host RIP forgotten in 32-bit style", "HOST_RIP = 0x800000000000", "host.rip.canonical"},
    {"guest CR0 without NE", "guest_cr0 = 0x80010011", "guest.cr0.fixed"},
    {"guest CR4 without VMXE", "guest_cr4 = 0x20", "guest.cr4.fixed"},
    {"IA-32e guest without PAE", "guest_cr4 = 0x2000", "guest.ia32e.paging"},
    {"EFER.LMA against the entry control", "GUEST_IA32_EFER = 0", "guest.efer.lma"},
    {"RFLAGS of 0", "guest_rflags = 0", "guest.rflags.reserved"},
    {"interrupt injected with IF 0", "entry_interruption_info = 0x80000030",
     "guest.rflags.if_injection"},
    {"64-bit CS with D", "Guest CS access rights = 0xe09b", "guest.cs.d"},
    {"limit and granularity disagree", "guest_ds_limit = 0xffffe", "guest.ds.granularity"},
    {"TR available instead of busy", "GUEST_TR_AR_BYTES = 0x89", "guest.tr.type"},
    {"link pointer of 0x1234", "vmcs_link_pointer = 0x1234", "guest.link_pointer.address"},
    {"HLT and blocking by STI",
     "guest_activity_state = 1\nguest_interruptibility_state = 1\n"
     "guest_rflags = 0x202",
     "guest.activity.blocking"},
    {"single-step trap lost", "guest_rflags = 0x102\nguest_interruptibility_state = 2",
     "guest.pending_debug.bs"},
};

TEST(Doctor, NamesTheRowOfEachBrokenSetUp) {
  static_assert(std::size(kSetups) >= 30);
  for (const Broken& s : kSetups) {
    SCOPED_TRACE(s.what);
    const Diagnosis d = diagnose(changed(s.lines), silicon(), {});
    ASSERT_FALSE(d.passes());
    EXPECT_STREQ(d.failures.front().row->id, s.decides) << to_text(d, silicon());
    const std::string text = to_text(d, silicon());
    EXPECT_NE(text.find(s.decides), std::string::npos);
    EXPECT_NE(text.find(d.failures.front().row->section), std::string::npos);
    EXPECT_EQ(to_json(d, silicon())["outcome"]["decided_by"], s.decides);
  }
}

TEST(Doctor, PassesTheGoodStateAndSaysWhatItAssumed) {
  const Diagnosis d = diagnose(parse_dump(good_dump()), silicon(), {});
  EXPECT_TRUE(d.passes()) << to_text(d, silicon());
  EXPECT_TRUE(d.undecided.empty());
  EXPECT_FALSE(d.missing.empty());
  const auto json = to_json(d, silicon());
  EXPECT_EQ(json["passes"], true);
  EXPECT_EQ(json["outcome"]["kind"], "entry");
  EXPECT_GE(json["assumptions"].size(), 2u);
}

TEST(Doctor, SaysWhichControlBitsAreWrong) {
  const Diagnosis d = diagnose(changed("pin_based_controls = 0x1000008"), silicon(), {});
  const auto bits = offending_bits(d.failures.front(), silicon());
  const std::set<std::string> all(bits.begin(), bits.end());
  EXPECT_TRUE(all.contains("bit 24 (reserved) may not be 1"));
  EXPECT_TRUE(all.contains("bit 1 (reserved) must be 1"));
  const auto less = *without(silicon(), "enable VPID");
  const Diagnosis vpid = diagnose(parse_dump(good_dump()), less, {});
  ASSERT_FALSE(vpid.passes());
  EXPECT_EQ(offending_bits(vpid.failures.front(), less),
            std::vector<std::string>{"bit 5 \"enable VPID\" may not be 1"});
}

TEST(Doctor, TellsTheEntryThatAProcessorRefused) {
  Rig rig;
  rig.set(F::guest_rflags, 0);
  rig.set(F::vpid, 0);
  EXPECT_EQ(rig.launch(), VmxStatus::fail_valid);
  const Diagnosis d = diagnose(rig.vmx.entry_failures(), rig.vmx.capabilities());
  EXPECT_EQ(d.failures.size(), 2u);
  const std::string text = to_text(d, rig.vmx.capabilities());
  EXPECT_NE(text.find("VM-instruction error 7"), std::string::npos);
  EXPECT_NE(text.find("vpid (0000H) = 0x0"), std::string::npos);
  EXPECT_NE(text.find("reason 80000021H"), std::string::npos);
}

TEST(Doctor, LeavesRowsOnMemoryUndecided) {
  const auto ids = [](const Diagnosis& d) {
    std::set<std::string> all;
    for (const CheckRow* row : d.undecided) all.insert(row->id);
    return all;
  };
  EXPECT_TRUE(ids(diagnose(changed("vmcs_link_pointer = 0x3000"), silicon(), {}))
                  .contains("guest.link_pointer.revision"));
  const char* threshold =
      "primary_processor_controls = 0x96206172\nvirtual_apic_address = 0x8000\ntpr_threshold = 3";
  EXPECT_EQ(ids(diagnose(changed(threshold), silicon(), {})),
            std::set<std::string>{"control.tpr_threshold.vtpr"});
}

TEST(Doctor, WarnsOfWhatIsUndefinedOrDoubtful) {
  const std::pair<const char*, const char*> cases[] = {
      {"entry_msr_load_count = 513", "undefined.entry_msr_load_count"},
      {"exit_msr_load_count = 600", "undefined.exit_msr_load_count"},
      {"exit_msr_store_count = 600", "undefined.exit_msr_store_count"},
      {"entry_interruption_info = 0x80000303", "undefined.injection_type"},
      {"io_bitmap_b = 0x4000", "undefined.same_page"},
      {"entry_interruption_info = 0x80000202\nguest_interruptibility_state = 8",
       "doubtful.injected_nmi_blocked"},
      {"guest_rip = 0x800000000000", "doubtful.rip_canonical"},
      {"cr4_guest_host_mask = 0", "doubtful.vmxe_owned_by_guest"},
      {"4002H = 0x970061f2", "doubtful.unconditional_io"},
      {"pin_based_controls = 0x5f", "doubtful.preemption_timer_zero"},
      {"401eH = 0x200aa\npml_index = 512", "doubtful.pml_index"},
      {"vmcs_link_pointer = 0x3000", "doubtful.link_pointer_unused"},
      {"guest_activity_state = 3", "doubtful.wait_for_sipi"},
      {"guest_activity_state = 2", "doubtful.shutdown"},
      {"4002H = 0x96206172\n401eH = 0x2aa\ntpr_threshold = 1\n"
       "virtual_apic_address = 0x8000",
       "doubtful.tpr_threshold_unused"},
  };
  std::set<std::string> seen;
  for (const auto& [lines, id] : cases) {
    const Diagnosis d = diagnose(changed(lines), silicon(), {});
    EXPECT_TRUE(d.passes()) << id << "\n" << to_text(d, silicon());
    std::set<std::string> warned;
    for (const WarningRow* row : d.warnings) warned.insert(row->id);
    EXPECT_EQ(warned, std::set<std::string>{id});
    seen.insert(id);
  }
  for (const WarningRow& row : warning_rows()) EXPECT_TRUE(seen.contains(row.id)) << row.id;
}

TEST(Doctor, A32BitHostIsJudgedAsSuch) {
  DumpOptions options;
  options.host_ia32e = false;
  const Diagnosis d = diagnose(parse_dump(good_dump()), silicon(), options);
  ASSERT_FALSE(d.passes());
  EXPECT_STREQ(d.failures.front().row->id, "host.address_space_size.outside_ia32e");
}

}  // namespace
}  // namespace cupel::vtx::testing
