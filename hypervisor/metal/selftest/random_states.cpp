// VMCS states near the border of validity: one that passes, and one to three changes.
#include "hypervisor/metal/console.h"
#include "hypervisor/metal/selftest/guest_modes.h"
#include "hypervisor/metal/selftest/random.h"
#include "hypervisor/metal/selftest/search.h"

namespace cupel::metal {
namespace {

using namespace x86;

struct Mode {
  const char* name;
  Controls controls;
  void (*make)(TestVm& vm);
};
constexpr Controls kEpt{.secondary = proc2::enable_ept};
constexpr Controls kUnrestricted{.secondary = proc2::enable_ept | proc2::unrestricted_guest};
constexpr Controls kLoading{
    .exit = exitctl::load_efer | exitctl::load_pat,
    .entry = entryctl::load_efer | entryctl::load_pat | entryctl::load_debug_controls};
constexpr Mode kModes[] = {
    {"64", {}, nullptr},
    {"64-msrs", kLoading, nullptr},
    {"64-ept", kEpt, nullptr},
    {"64-unrestricted", kUnrestricted, nullptr},
    {"cpl3", {}, guest_cpl3},
    {"32", {}, guest_32bit},
    {"pae", {}, guest_pae},
    {"pae-ept", kEpt, guest_pae},
    {"v86", {}, guest_virtual_8086},
    {"real", kUnrestricted, guest_real_mode},
    {"32-unrestricted", kUnrestricted, guest_32bit},
};

struct FieldRow {
  const char* name;
  uint32_t encoding;
};
#define CUPEL_ROW(type, name) \
  { #name, static_cast < uint32_t>(type::name) }
#define CUPEL_SEGMENT(seg)                                                             \
  CUPEL_ROW(Field16, guest_##seg##_selector), CUPEL_ROW(Field32, guest_##seg##_limit), \
      CUPEL_ROW(Field32, guest_##seg##_access_rights), CUPEL_ROW(FieldN, guest_##seg##_base)
// Left out: what an exit would make the image itself run with, and areas that entries or exits
// write to or load MSRs from.
constexpr FieldRow kFields[] = {
    CUPEL_SEGMENT(es),
    CUPEL_SEGMENT(cs),
    CUPEL_SEGMENT(ss),
    CUPEL_SEGMENT(ds),
    CUPEL_SEGMENT(fs),
    CUPEL_SEGMENT(gs),
    CUPEL_SEGMENT(ldtr),
    CUPEL_SEGMENT(tr),
    CUPEL_ROW(FieldN, guest_gdtr_base),
    CUPEL_ROW(Field32, guest_gdtr_limit),
    CUPEL_ROW(FieldN, guest_idtr_base),
    CUPEL_ROW(Field32, guest_idtr_limit),
    CUPEL_ROW(FieldN, guest_cr0),
    CUPEL_ROW(FieldN, guest_cr4),
    CUPEL_ROW(FieldN, guest_dr7),
    CUPEL_ROW(FieldN, guest_rsp),
    CUPEL_ROW(FieldN, guest_rip),
    CUPEL_ROW(FieldN, guest_rflags),
    CUPEL_ROW(FieldN, guest_rflags),
    CUPEL_ROW(FieldN, guest_pending_debug_exceptions),
    CUPEL_ROW(FieldN, guest_sysenter_esp),
    CUPEL_ROW(FieldN, guest_sysenter_eip),
    CUPEL_ROW(Field32, guest_interruptibility_state),
    CUPEL_ROW(Field32, guest_interruptibility_state),
    CUPEL_ROW(Field32, guest_activity_state),
    CUPEL_ROW(Field64, guest_debugctl),
    CUPEL_ROW(Field64, guest_efer),
    CUPEL_ROW(Field64, guest_pat),
    CUPEL_ROW(Field64, vmcs_link_pointer),
    CUPEL_ROW(Field64, guest_pdpte0),
    CUPEL_ROW(Field64, guest_pdpte3),
    CUPEL_ROW(Field32, entry_interruption_info),
    CUPEL_ROW(Field32, entry_interruption_info),
    CUPEL_ROW(Field32, entry_exception_error_code),
    CUPEL_ROW(Field32, entry_instruction_length),
    CUPEL_ROW(Field32, pin_based_controls),
    CUPEL_ROW(Field32, primary_processor_controls),
    CUPEL_ROW(Field32, secondary_processor_controls),
    CUPEL_ROW(Field32, exit_controls),
    CUPEL_ROW(Field32, entry_controls),
    CUPEL_ROW(Field32, cr3_target_count),
    CUPEL_ROW(Field16, vpid),
    CUPEL_ROW(FieldN, host_fs_base),
    CUPEL_ROW(FieldN, host_gs_base),
    CUPEL_ROW(FieldN, host_sysenter_esp),
    CUPEL_ROW(FieldN, host_sysenter_eip),
    CUPEL_ROW(Field16, host_es_selector),
    CUPEL_ROW(Field16, host_ds_selector),
    CUPEL_ROW(Field64, host_efer),
    CUPEL_ROW(Field64, host_pat),
};
#undef CUPEL_ROW
#undef CUPEL_SEGMENT

// Events that are worth more than a flipped bit.
constexpr uint64_t kEvents[] = {0x80000050, 0x80000202, 0x80000306, 0x80000b0d, 0x80000b0e,
                                0x80000301, 0x80000312, 0x80000450, 0x80000501, 0x80000603,
                                0x80000700, 0x80000b08, 0x80000311};
constexpr uint64_t kInteresting[] = {0,
                                     1,
                                     2,
                                     3,
                                     0xf,
                                     0x10,
                                     0x93,
                                     0x9b,
                                     0xf3,
                                     0xfff,
                                     0x1000,
                                     0xffff,
                                     0x10000,
                                     0xfffff,
                                     0xffffffff,
                                     0x100000000,
                                     0x7fffffffffff,
                                     0x800000000000,
                                     0xffff800000000000,
                                     0xffff7fffffffffff,
                                     ~0ull};

unsigned bits_of(uint32_t encoding) {
  switch (field_width(encoding)) {
    case FieldWidth::bits16:
      return 16;
    case FieldWidth::bits32:
      return 32;
    default:
      return 64;
  }
}

uint64_t changed(Random& random, uint32_t encoding, uint64_t old) {
  const unsigned bits = bits_of(encoding);
  const uint64_t choice = random.below(8);
  uint64_t value = old ^ 1ull << random.below(bits);
  if (encoding == static_cast<uint32_t>(Field32::entry_interruption_info) && choice < 6) {
    value = random.of(kEvents);
  } else if (choice >= 6) {
    value = random.of(kInteresting);
  }
  return bits == 64 ? value : value & ((1ull << bits) - 1);
}

// The entry must come back: no wait for a SIPI, always the timer, and an exit to 64-bit code.
void keep_alive(TestVm& vm) {
  if (vm.get(Field32::guest_activity_state) == 3) vm.set(Field32::guest_activity_state, 0u);
  vm.set(Field32::pin_based_controls, vm.get(Field32::pin_based_controls) | pin::preemption_timer);
  // Saving the timer needs its own control; counting on does not end a state.
  vm.set(Field32::preemption_timer_value, 0u);
}

void change_one(Lab& lab, Random random, Finding& finding) {
  const FieldRow& row = random.of(kFields);
  uint64_t old = 0;
  if (lab.cpu.vmread(row.encoding, old) != VmxStatus::succeed) return;
  const uint64_t value = changed(random, row.encoding, old);
  if (lab.cpu.vmwrite(row.encoding, value) != VmxStatus::succeed) return;
  finding.say_change(row.name, old, value);
}

void add_outcome(TestVm& vm, const Outcome& outcome, Finding& finding) {
  finding.say("->");
  if (!outcome.ok()) {
    const Shown shown = show(outcome);
    finding.add(shown.text);
    if (shown.has_number) finding.add_value("error", shown.number);
    return;
  }
  const ExitRecord exit = vm.exit();
  finding.add(exit.entry_failure() ? "failed" : "exit");
  finding.add(to_string(exit.basic()));
  if (exit.entry_failure()) finding.add_value("qualification", exit.qualification);
}

// Fields that TestVm leaves alone keep what the state before wrote.
void forget(Lab& lab) {
  lab.on();
  if (!lab.outcome(lab.cpu.vmptrld(lab.vmcs)).ok()) bail_out("VMPTRLD fails");
  // A field that does not exist has nothing to forget.
  for (const FieldRow& row : kFields) (void)lab.cpu.vmwrite(row.encoding, 0);
  // What a flipped control may put to use: pages of the image, so that the outcome does not hang on
  // what firmware left in memory.
  const uint64_t zero = lab.zero_page.value();
  const auto point = [&](Field64 field, uint64_t address) { (void)lab.cpu.write(field, address); };
  for (const Field64 field : {Field64::io_bitmap_a, Field64::io_bitmap_b, Field64::msr_bitmap,
                              Field64::vmread_bitmap, Field64::vmwrite_bitmap})
    point(field, zero);
  point(Field64::virtual_apic_address, lab.virtual_apic_page.value());
  point(Field64::apic_access_address, lab.apic_access_page.value());
  point(Field64::pml_address, lab.scratch_page.value());
  point(Field64::ve_information_address, lab.scratch_page.value());
  (void)lab.cpu.write(Field32::tpr_threshold, 0);
  for (unsigned n = 0; n < kPageSize; n += 8)
    *reinterpret_cast<volatile uint64_t*>(lab.virtual_apic_page.value() + n) = 0;
}

}  // namespace

void run_state(Lab& lab, const Case& c, Finding& finding) {
  Random random(c.seed, c.number, 0);
  const Mode& mode = random.of(kModes);
  const uint64_t changes = 1 + random.below(3);
  Controls controls = mode.controls;
  controls.pin |= pin::preemption_timer;
  if (!lab.offers(controls)) return finding.add("not offered");
  forget(lab);
  TestVm vm(lab, controls);
  if (mode.make != nullptr) mode.make(vm);
  finding.say(mode.name);
  for (unsigned n = 0; n < changes; ++n) {
    if (c.keeps(n)) change_one(lab, Random(c.seed, c.number, n + 1), finding);
  }
  keep_alive(vm);
  add_outcome(vm, vm.launch_here(), finding);
}

}  // namespace cupel::metal
