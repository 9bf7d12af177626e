// VMREAD and VMWRITE: which fields exist, how wide they are, what cannot be written.
// SDM vol. 3C, "VMREAD", "VMWRITE"; vol. 3D, appendix "Field Encoding in VMCS" and its footnotes.
#include "core/x86/msr.h"
#include "core/x86/vmx_controls.h"
#include "hypervisor/metal/instructions.h"
#include "hypervisor/metal/selftest/suites.h"
#include "hypervisor/metal/trap.h"

namespace cupel::metal {
namespace {

using namespace x86;

constexpr uint32_t kUnsupported = 12, kReadOnly = 13;
constexpr uint64_t kVmwriteAnyField = 1ull << 29;  // IA32_VMX_MISC
constexpr uint64_t kPattern = 0x0123456789abcdef;

struct FieldRow {
  const char* name;
  uint32_t encoding;
};
constexpr FieldRow kFields[] = {
#define CUPEL_VMCS_FIELD(width, name, encoding) {#name, encoding},
#include "core/x86/vmcs_fields.def"
#undef CUPEL_VMCS_FIELD
};

// Fields that exist only on processors that support the 1-setting of a control. Fields not listed
// always exist; those of controls this project does not know are left out of the test.
struct Condition {
  uint32_t first, last;
  Controls any;
};
constexpr Condition kConditions[] = {
    {0x0000, 0x0000, {.secondary = proc2::enable_vpid}},
    {0x0002, 0x0002, {.pin = pin::process_posted_interrupts}},
    {0x0004, 0x0004, {.secondary = proc2::ept_violation_ve}},
    {0x0810, 0x0810, {.secondary = proc2::virtual_interrupt_delivery}},
    {0x0812, 0x0812, {.secondary = proc2::enable_pml}},
    {0x2004, 0x2004, {.primary = proc::msr_bitmaps}},
    {0x200e, 0x200e, {.secondary = proc2::enable_pml}},
    {0x2012, 0x2012, {.primary = proc::tpr_shadow}},
    {0x2014, 0x2014, {.secondary = proc2::virtualize_apic_accesses}},
    {0x2016, 0x2016, {.pin = pin::process_posted_interrupts}},
    {0x2018, 0x2018, {.secondary = proc2::enable_vmfunc}},
    {0x201a, 0x201a, {.secondary = proc2::enable_ept}},
    {0x201c, 0x2022, {.secondary = proc2::virtual_interrupt_delivery}},
    {0x2026, 0x2028, {.secondary = proc2::vmcs_shadowing}},
    {0x202a, 0x202a, {.secondary = proc2::ept_violation_ve}},
    {0x202c, 0x202c, {.secondary = proc2::enable_xsaves}},
    {0x2032, 0x2032, {.secondary = proc2::tsc_scaling}},
    {0x2400, 0x2400, {.secondary = proc2::enable_ept}},
    {0x280a, 0x2810, {.secondary = proc2::enable_ept}},
    {0x401c, 0x401c, {.primary = proc::tpr_shadow}},
    {0x401e, 0x401e, {.primary = proc::secondary_controls}},
    {0x4020, 0x4022, {.secondary = proc2::pause_loop_exiting}},
    {0x482e, 0x482e, {.pin = pin::preemption_timer}},
};
// Existence by a control that has several forms, or that no rule here knows.
constexpr Condition kUnknown[] = {
    {0x0006, 0x0008, {}}, {0x0814, 0x0814, {}}, {0x2024, 0x2024, {}}, {0x202e, 0x2030, {}},
    {0x2034, 0x204c, {}}, {0x2804, 0x2808, {}}, {0x2812, 0x2818, {}}, {0x2c00, 0x2c06, {}},
    {0x204e, 0x2052, {}}, {0x2402, 0x2404, {}}, {0x281a, 0x2828, {}}, {0x2c08, 0x2c16, {}},
    {0x4024, 0x4024, {}}, {0x6828, 0x682c, {}}, {0x6c18, 0x6c1c, {}},
};

bool in(const Condition& row, uint32_t encoding) {
  return encoding >= row.first && encoding <= row.last;
}

bool unknown(uint32_t encoding) {
  for (const Condition& row : kUnknown) {
    if (in(row, encoding)) return true;
  }
  return false;
}

bool exists(Lab& lab, uint32_t encoding) {
  for (const Condition& row : kConditions) {
    if (in(row, encoding)) return lab.offers(row.any);
  }
  return true;
}

bool make_current(Report& report, Lab& lab) {
  lab.on();
  return report.equal("vmptrld", lab.outcome(lab.cpu.vmptrld(lab.vmcs)), kSucceed);
}

Outcome read(Lab& lab, uint32_t encoding, uint64_t& value) {
  return lab.outcome(lab.cpu.vmread(encoding, value));
}

uint64_t mask_of(FieldWidth width) {
  switch (width) {
    case FieldWidth::bits16:
      return 0xffff;
    case FieldWidth::bits32:
      return 0xffffffff;
    default:
      return ~0ull;
  }
}

void field_existence(Tap& tap, Lab& lab) {
  for (const FieldRow& row : kFields) {
    if (unknown(row.encoding)) continue;
    tap.test("vmcs.exists", row.name, [&](Report& report) {
      if (!make_current(report, lab)) return;
      uint64_t value = 0;
      report.equal("vmread", read(lab, row.encoding, value),
                   exists(lab, row.encoding) ? kSucceed : fail_valid(kUnsupported));
    });
  }
}

// What is written comes back, cut to the field's width. Access rights are left out: processors may
// drop their reserved bits (SDM vol. 3C, "Guest Register State").
void field_round_trips(Tap& tap, Lab& lab) {
  for (const FieldRow& row : kFields) {
    const uint32_t e = row.encoding;
    const bool access_rights = e >= 0x4814 && e <= 0x4822;
    if (unknown(e) || !exists(lab, e) || access_rights) continue;
    if (field_type(e) == FieldType::read_only) continue;
    tap.test("vmcs.round_trip", row.name, [&](Report& report) {
      if (!make_current(report, lab)) return;
      report.equal("vmwrite", lab.outcome(lab.cpu.vmwrite(e, kPattern)), kSucceed);
      uint64_t value = 0;
      report.equal("vmread", read(lab, e, value), kSucceed);
      report.equal("value", value, kPattern & mask_of(field_width(e)));
      if (field_width(e) != FieldWidth::bits64) return;
      report.equal("vmread high", read(lab, e | 1, value), kSucceed);
      report.equal("high half", value, kPattern >> 32);
      report.equal("vmwrite high", lab.outcome(lab.cpu.vmwrite(e | 1, 0xfeedface)), kSucceed);
      report.equal("vmread", read(lab, e, value), kSucceed);
      report.equal("both halves", value, 0xfeedface89abcdef);
    });
  }
}

void read_only_fields(Tap& tap, Lab& lab) {
  const bool any = (lab.caps.misc & kVmwriteAnyField) != 0;
  for (const FieldRow& row : kFields) {
    if (field_type(row.encoding) != FieldType::read_only || unknown(row.encoding) ||
        !exists(lab, row.encoding))
      continue;
    tap.test("vmcs.read_only", row.name, [&](Report& report) {
      if (!make_current(report, lab)) return;
      report.equal("vmwrite", lab.outcome(lab.cpu.vmwrite(row.encoding, 0)),
                   any ? kSucceed : fail_valid(kReadOnly));
    });
  }
}

struct BadEncoding {
  const char* name;
  uint64_t encoding;
};
constexpr BadEncoding kBadEncodings[] = {
    {"high_half_of_16_bit", 0x0801},  {"high_half_of_32_bit", 0x4001},
    {"high_half_of_natural", 0x681f}, {"reserved_bit_12", 0x781e},
    {"reserved_bit_15", 0xe81e},      {"index_beyond", 0x6bfe},
    {"all_ones", 0xffffffff},
};

Outcome read_raw(Lab& lab, uint64_t encoding) {
  uint64_t value = 0;
  bool cf = false, zf = false;
  clear_trap();
  asm volatile(CUPEL_CAUGHT("vmread %3, %2")
               : "=@ccc"(cf), "=@ccz"(zf), "+r"(value)
               : "r"(encoding)
               : "memory");
  return lab.outcome(cf   ? VmxStatus::fail_invalid
                     : zf ? VmxStatus::fail_valid
                          : VmxStatus::succeed);
}
Outcome write_raw(Lab& lab, uint64_t encoding) {
  bool cf = false, zf = false;
  clear_trap();
  asm volatile(CUPEL_CAUGHT("vmwrite %2, %3")
               : "=@ccc"(cf), "=@ccz"(zf)
               : "r"(0ul), "r"(encoding)
               : "memory");
  return lab.outcome(cf   ? VmxStatus::fail_invalid
                     : zf ? VmxStatus::fail_valid
                          : VmxStatus::succeed);
}

void bad_encodings(Tap& tap, Lab& lab) {
  for (const BadEncoding& row : kBadEncodings) {
    tap.test("vmcs.unsupported", row.name, [&](Report& report) {
      if (!make_current(report, lab)) return;
      report.equal("vmread", read_raw(lab, row.encoding), fail_valid(kUnsupported));
      report.equal("vmwrite", write_raw(lab, row.encoding), fail_valid(kUnsupported));
    });
  }
  // "If any of bits 63:32 is set, the instruction fails": SDM vol. 3C, "VMREAD", Description, for
  // 64-bit operands.
  tap.test("vmcs.unsupported", "bits_63_32", [&](Report& report) {
    if (!make_current(report, lab)) return;
    report.equal("vmread", read_raw(lab, 0x10000681e), fail_valid(kUnsupported));
    report.equal("vmwrite", write_raw(lab, 0x10000681e), fail_valid(kUnsupported));
  });
  tap.test("vmcs.no_current", "vmread", [&](Report& report) {
    lab.on();
    report.equal("outcome", read_raw(lab, 0x681e), kFailInvalid);
    report.equal("unsupported", read_raw(lab, 0x6bfe), kFailInvalid);
  });
  tap.test("vmcs.no_current", "vmwrite", [&](Report& report) {
    lab.on();
    report.equal("outcome", write_raw(lab, 0x681e), kFailInvalid);
    report.equal("read-only", write_raw(lab, 0x4402), kFailInvalid);
  });
}

void memory_operands(Tap& tap, Lab& lab) {
  tap.test("vmcs.memory", "vmread", [&](Report& report) {
    if (!make_current(report, lab)) return;
    (void)lab.cpu.vmwrite(0x0800, 0x1234);
    uint64_t memory = ~0ull;
    asm volatile("vmread %1, %0" : "=m"(memory) : "r"(0x0800ul) : "memory", "cc");
    report.equal("64 bits written", memory, 0x1234u);
  });
  tap.test("vmcs.memory", "vmwrite", [&](Report& report) {
    if (!make_current(report, lab)) return;
    const uint64_t memory = kPattern;
    asm volatile("vmwrite %0, %1" ::"m"(memory), "r"(0x681eul) : "memory", "cc");
    uint64_t value = 0;
    report.equal("vmread", read(lab, 0x681e, value), kSucceed);
    report.equal("value", value, kPattern);
  });
  tap.test("vmcs.flags", "cleared_on_success", [&](Report& report) {
    if (!make_current(report, lab)) return;
    uint64_t flags = 0;
    asm volatile("push $0x8d7\n popf\n vmread %1, %%rax\n pushf\n pop %0"
                 : "=r"(flags)
                 : "r"(0x681eul)
                 : "rax", "memory", "cc");
    constexpr uint64_t arithmetic =
        rflags::CF | rflags::PF | rflags::AF | rflags::ZF | rflags::SF | rflags::OF;
    report.equal("CF PF AF ZF SF OF", flags & arithmetic, 0u);
  });
}

// IA32_VMX_VMCS_ENUM bits 9:1: the highest index of any field.
void enumeration(Tap& tap, Lab& lab) {
  tap.test("vmcs.enum", "highest_index", [&](Report& report) {
    if (!make_current(report, lab)) return;
    uint64_t msr = 0, value = 0;
    report.equal("rdmsr", lab.cpu.rdmsr(msr::VMX_VMCS_ENUM, msr), true);
    const uint32_t highest = static_cast<uint32_t>(msr >> 1 & 0x1ff);
    uint32_t seen = 0;
    for (const FieldRow& row : kFields) {
      if (!read(lab, row.encoding, value).ok()) continue;
      const uint32_t index = row.encoding >> 1 & 0x1ff;
      if (index > seen) seen = index;
    }
    report.equal("no field beyond it", seen <= highest, true);
  });
}

}  // namespace

void test_vmcs_access(Tap& tap, Lab& lab) {
  field_existence(tap, lab);
  field_round_trips(tap, lab);
  read_only_fields(tap, lab);
  bad_encodings(tap, lab);
  memory_operands(tap, lab);
  enumeration(tap, lab);
}

}  // namespace cupel::metal
