// Dumps as they come: names, numbers, forms, and what is no dump at all.
#include <gtest/gtest.h>

#include <set>

#include "core/random.h"
#include "hw_models/vtx/doctor.h"
#include "hw_models/vtx/doctor_names.h"
#include "hw_models/vtx/profiles.h"

namespace cupel::vtx::testing {
namespace {

TEST(FieldNames, EveryFieldIsFoundByItsNameAndEncoding) {
  for (size_t n = 0; n < kFieldCount; ++n) {
    const auto field = static_cast<F>(n);
    const auto found = find_field(name_of(field));
    ASSERT_TRUE(found.has_value()) << name_of(field);
    EXPECT_EQ(found->field, field) << name_of(field);
    char text[16];
    std::snprintf(text, sizeof text, "0x%08x", encoding_of(field));
    EXPECT_EQ(find_field(text)->field, field);
    std::snprintf(text, sizeof text, "%04XH", encoding_of(field));
    EXPECT_EQ(find_field(text)->field, field);
  }
}

TEST(FieldNames, OfTheSdmAndOfLinux) {
  const std::pair<const char*, F> names[] = {
      {"Virtual-processor identifier (VPID)", F::vpid},
      {"Guest CS selector", F::guest_cs_selector},
      {"Address of MSR bitmaps (full)", F::msr_bitmap},
      {"EPT pointer (EPTP; full)", F::ept_pointer},
      {"Guest IA32_EFER", F::guest_efer},
      {"VM-exit controls", F::exit_controls},
      {"Primary VM-exit controls", F::exit_controls},
      {"Pin-based VM-execution controls", F::pin_based_controls},
      {"VM-entry interruption-information field", F::entry_interruption_info},
      {"Guest interruptibility state", F::guest_interruptibility_state},
      {"Guest CS access rights", F::guest_cs_access_rights},
      {"VMX-preemption timer value", F::preemption_timer_value},
      {"Host IA32_INTERRUPT_SSP_TABLE_ADDR", F::host_interrupt_ssp_table},
      {"Guest PDPTE2", F::guest_pdpte2},
      {"GUEST_PDPTR2", F::guest_pdpte2},
      {"GUEST_ES_AR_BYTES", F::guest_es_access_rights},
      {"GUEST_INTR_STATUS", F::guest_interrupt_status},
      {"VM_ENTRY_INTR_INFO_FIELD", F::entry_interruption_info},
      {"VM_EXIT_INSTRUCTION_LEN", F::exit_instruction_length},
      {"CPU_BASED_VM_EXEC_CONTROL", F::primary_processor_controls},
      {"SECONDARY_VM_EXEC_CONTROL", F::secondary_processor_controls},
      {"GUEST_PENDING_DBG_EXCEPTIONS", F::guest_pending_debug_exceptions},
      {"HOST_IA32_SYSENTER_EIP", F::host_sysenter_eip},
      {"CR3_TARGET_VALUE3", F::cr3_target_3},
      {"TSC_MULTIPLIER", F::tsc_multiplier},
  };
  for (const auto& [name, field] : names) {
    const auto found = find_field(name);
    ASSERT_TRUE(found.has_value()) << name;
    EXPECT_EQ(found->field, field) << name << " is " << name_of(found->field);
  }
  EXPECT_TRUE(find_field("GUEST_IA32_EFER_HIGH")->high);
  EXPECT_TRUE(find_field("0x2807")->high);
  EXPECT_FALSE(find_field("0x6801").has_value()) << "natural-width fields have no upper half";
  EXPECT_FALSE(find_field("guest_rip_high").has_value());
  EXPECT_FALSE(find_field("").has_value());
  EXPECT_EQ(nearest_field("guest_rfalgs"), "guest_rflags");
  EXPECT_EQ(nearest_field("zzzzzzzzzzzzzzzzzzzzzz"), "");
}

TEST(Dump, NumbersInEveryNotation) {
  const VmcsDump d = parse_dump(
      "guest_rip = 0xffff_ffff_8100_0000\nguest_rsp: 1000H # stack\n\n# comment\n"
      "guest_cr3 4096\r\n0x2806 = 0x500\n0x2807 = 0x1\n");
  EXPECT_TRUE(d.problems.empty());
  EXPECT_EQ(d.vmcs[F::guest_rip], 0xffffffff81000000u);
  EXPECT_EQ(d.vmcs[F::guest_rsp], 0x1000u);
  EXPECT_EQ(d.vmcs[F::guest_cr3], 4096u);
  EXPECT_EQ(d.vmcs[F::guest_efer], 0x100000500u);
}

TEST(Dump, EveryProblemHasItsLineAndAHint) {
  const VmcsDump d = parse_dump(
      "guest_rip = 1\nguest_rfalgs = 2\nhost_rip = pigs\nvpid = 0x10000\nnothing\n"
      "guest_rip = 2\nhost_rsp = 0x10000000000000000\n\x1b[31mred = 1\n");
  ASSERT_EQ(d.problems.size(), 7u);
  const unsigned lines[] = {2, 3, 4, 5, 6, 7, 8};
  for (size_t n = 0; n < 7; ++n) {
    EXPECT_EQ(d.problems[n].line, lines[n]);
    EXPECT_FALSE(d.problems[n].hint.empty());
  }
  EXPECT_EQ(d.problems[0].hint, "did you mean 'guest_rflags'?");
  EXPECT_EQ(d.problems[6].message.find('\x1b'), std::string::npos);
}

TEST(Dump, JsonAloneAndUnderFields) {
  for (const char* text : {R"({"guest_rip": "0x1000", "0x6820": 2})",
                           R"({"fields": {"GUEST_RIP": 4096, "Guest RFLAGS": "0x2"}})"}) {
    const VmcsDump d = parse_dump(text);
    EXPECT_TRUE(d.problems.empty()) << d.problems[0].message;
    EXPECT_EQ(d.vmcs[F::guest_rip], 0x1000u);
    EXPECT_EQ(d.vmcs[F::guest_rflags], 2u);
  }
  EXPECT_EQ(parse_dump("{\"guest_rip\": 1,\n\"host_rip\": }").problems.at(0).line, 2u);
  EXPECT_FALSE(parse_dump("{\"fields\": 3}").problems.empty());
  EXPECT_FALSE(parse_dump("{\"guest_rip\": -1, \"guest_rsp\": null}").problems.empty());
  EXPECT_FALSE(parse_dump("{\"guest_rip\": 1e999}").problems.empty());
  EXPECT_FALSE(parse_dump(std::string(100000, '{')).problems.empty());
}

// As dump_vmcs() of Linux 6.1 prints it.
constexpr const char* kKernelLog =
    R"([  101.000001] kvm_intel: VMCS 00000000deadbeef, last attempted VM-entry on CPU 3
[  101.000002] kvm_intel: *** Guest State ***
[  101.000003] kvm_intel: CR0: actual=0x0000000080050033, shadow=0x0000000080050033, gh_mask=fffffffffffefff7
[  101.000004] kvm_intel: CR4: actual=0x0000000000002020, shadow=0x0000000000000020, gh_mask=fffffffffffef871
[  101.000005] kvm_intel: CR3 = 0x0000000001000000
[  101.000006] kvm_intel: PDPTR0 = 0x0000000000000000  PDPTR1 = 0x0000000000000000
[  101.000007] kvm_intel: PDPTR2 = 0x0000000000000000  PDPTR3 = 0x0000000000000000
[  101.000008] kvm_intel: RSP = 0xffffffff82003eb8  RIP = 0xffffffff81000000
[  101.000009] kvm_intel: RFLAGS=0x00000000         DR7 = 0x0000000000000400
[  101.000010] kvm_intel: Sysenter RSP=fffffe0000002000 CS:RIP=0010:ffffffff81c01000
[  101.000011] kvm_intel: CS:   sel=0x0010, attr=0x0a09b, limit=0xffffffff, base=0x0000000000000000
[  101.000012] kvm_intel: DS:   sel=0x0000, attr=0x10000, limit=0xffffffff, base=0x0000000000000000
[  101.000013] kvm_intel: SS:   sel=0x0018, attr=0x0c093, limit=0xffffffff, base=0x0000000000000000
[  101.000014] kvm_intel: ES:   sel=0x0000, attr=0x10000, limit=0xffffffff, base=0x0000000000000000
[  101.000015] kvm_intel: FS:   sel=0x0000, attr=0x10000, limit=0xffffffff, base=0x0000000000000000
[  101.000016] kvm_intel: GS:   sel=0x0000, attr=0x10000, limit=0xffffffff, base=0xffff88803ec00000
[  101.000017] kvm_intel: GDTR:                           limit=0x0000007f, base=0xfffffe0000001000
[  101.000018] kvm_intel: LDTR: sel=0x0000, attr=0x10000, limit=0xffffffff, base=0x0000000000000000
[  101.000019] kvm_intel: IDTR:                           limit=0x00000fff, base=0xfffffe0000000000
[  101.000020] kvm_intel: TR:   sel=0x0040, attr=0x0008b, limit=0x0000206f, base=0xfffffe0000003000
[  101.000021] kvm_intel: EFER= 0x0000000000000d01
[  101.000022] kvm_intel: PAT = 0x0407050600070106
[  101.000023] kvm_intel: DebugCtl = 0x0000000000000000  DebugExceptions = 0x0000000000000000
[  101.000024] kvm_intel: Interruptibility = 00000000  ActivityState = 00000000
[  101.000025] kvm_intel: *** Host State ***
[  101.000026] kvm_intel: RIP = 0xffffffffc0a1b2c0  RSP = 0xffffc90000a5fd00
[  101.000027] kvm_intel: CS=0010 SS=0018 DS=0000 ES=0000 FS=0000 GS=0000 TR=0040
[  101.000028] kvm_intel: FSBase=00007f0000000000 GSBase=ffff88807d000000 TRBase=fffffe0000003000
[  101.000029] kvm_intel: GDTBase=fffffe0000001000 IDTBase=fffffe0000000000
[  101.000030] kvm_intel: CR0=0000000080050033 CR3=0000000100abc006 CR4=00000000003626e0
[  101.000031] kvm_intel: Sysenter RSP=fffffe0000003000 CS:RIP=0010:ffffffff81c01000
[  101.000032] kvm_intel: EFER= 0x0000000000000d01
[  101.000033] kvm_intel: PAT = 0x0407050600070106
[  101.000034] kvm_intel: *** Control State ***
[  101.000035] kvm_intel: CPUBased=0xb5a06dfa SecondaryExec=0x000233eb TertiaryExec=0x0000000000000000
[  101.000036] kvm_intel: PinBased=0x000000ff EntryControls=0000d3ff ExitControls=002bffff
[  101.000037] kvm_intel: ExceptionBitmap=00060042 PFECmask=00000000 PFECmatch=00000000
[  101.000038] kvm_intel: VMEntry: intr_info=00000000 errcode=00000000 ilen=00000000
[  101.000039] kvm_intel: VMExit: intr_info=00000000 errcode=00000000 ilen=00000000
[  101.000040] kvm_intel:         reason=80000021 qualification=0000000000000000
[  101.000041] kvm_intel: IDTVectoring: info=00000000 errcode=00000000
[  101.000042] kvm_intel: TSC Offset = 0xfffffff0c0a1b2c0
[  101.000043] kvm_intel: SVI|RVI = 00|3c TPR Threshold = 0x00
[  101.000044] kvm_intel: APIC-access addr = 0x00000001000b1000 virt-APIC addr = 0x00000001000b2000
[  101.000045] kvm_intel: PostedIntrVec = 0xf2
[  101.000046] kvm_intel: EPT pointer = 0x00000001000c405e
[  101.000047] kvm_intel: PLE Gap=00000080 Window=00001000
[  101.000048] kvm_intel: Virtual processor ID = 0x0001
[  101.000049] something else = entirely
)";

TEST(Dump, OfLinuxKvmFromTheKernelLog) {
  const VmcsDump d = parse_dump(kKernelLog);
  for (const DumpProblem& p : d.problems) ADD_FAILURE() << p.line << ": " << p.message;
  EXPECT_EQ(d.vmcs[F::guest_cr0], 0x80050033u);
  EXPECT_EQ(d.vmcs[F::cr4_guest_host_mask], 0xfffffffffffef871u);
  EXPECT_EQ(d.vmcs[F::guest_sysenter_cs], 0x10u);
  EXPECT_EQ(d.vmcs[F::guest_sysenter_eip], 0xffffffff81c01000u);
  EXPECT_EQ(d.vmcs[F::guest_cs_access_rights], 0xa09bu);
  EXPECT_EQ(d.vmcs[F::guest_gdtr_limit], 0x7fu);
  EXPECT_EQ(d.vmcs[F::host_tr_selector], 0x40u);
  EXPECT_EQ(d.vmcs[F::host_sysenter_eip], 0xffffffff81c01000u);
  EXPECT_EQ(d.vmcs[F::entry_controls], 0xd3ffu);
  EXPECT_EQ(d.vmcs[F::guest_interrupt_status], 0x3cu);
  EXPECT_EQ(d.vmcs[F::virtual_apic_address], 0x1000b2000u);
  EXPECT_EQ(d.vmcs[F::ple_window], 0x1000u);
  EXPECT_EQ(d.vmcs[F::exit_reason], 0x80000021u);
  EXPECT_EQ(d.vmcs[F::vpid], 1u);
}

// RFLAGS of 0 is why that entry failed.
TEST(Dump, OfLinuxKvmIsDiagnosed) {
  const auto profile = *hardware_capabilities("skylake-sp");
  const Diagnosis d = diagnose(parse_dump(kKernelLog), profile, {});
  ASSERT_EQ(d.failures.size(), 1u) << to_text(d, profile);
  EXPECT_STREQ(d.failures[0].row->id, "guest.rflags.reserved");
}

TEST(Dump, OfLinuxKvmCutOffOrUnknownIsReported) {
  const VmcsDump cut = parse_dump("*** Guest State ***\nRSP = 0x1 RIP = \nNovelty = 0x3\n");
  ASSERT_EQ(cut.problems.size(), 2u);
  EXPECT_EQ(cut.problems[0].line, 2u);
  EXPECT_EQ(cut.problems[1].line, 3u);
}

TEST(Dump, WithoutSenseIsGivenUp) {
  std::string lines, json = "{";
  for (int n = 0; n < 20000; ++n) {
    lines += "field_" + std::to_string(n) + " = 1\n";
    json += (n == 0 ? "\"x" : ",\n\"x") + std::to_string(n) + "\": 1";
  }
  for (const std::string& text : {lines, json + "}"}) {
    const VmcsDump d = parse_dump(text);
    EXPECT_EQ(d.problems.size(), VmcsDump::kMostProblems + 1);
    EXPECT_EQ(d.problems.back().message, "too many problems; the rest is not read");
  }
}

TEST(Dump, AnyBytesAreSafe) {
  RandomStream random(3, "dump");
  const std::string alphabet = "= :|\n\r{}\",#x0123456789abcdefGUEST_RIP*SVI kvm_intel:\xff\x01";
  for (int round = 0; round < 3000; ++round) {
    std::string text;
    if (round % 3 == 0) text = "*** Guest State ***\n";
    if (round % 3 == 1) text = kKernelLog;
    const auto n = random.uniform(0, 300);
    for (uint64_t i = 0; i < n; ++i) {
      const char c = alphabet[random.uniform(0, alphabet.size() - 1)];
      if (round % 3 == 1) {
        text[random.uniform(0, text.size() - 1)] = c;
      } else {
        text += c;
      }
    }
    const VmcsDump d = parse_dump(text);
    const auto profile = *hardware_capabilities("sapphire-rapids");
    const Diagnosis diagnosis = diagnose(d, profile, {});
    EXPECT_FALSE(to_text(diagnosis, profile).empty());
  }
}

}  // namespace
}  // namespace cupel::vtx::testing
