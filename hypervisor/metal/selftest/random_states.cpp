#include "hypervisor/metal/selftest/random_states.h"

#include "core/x86/msr.h"
#include "hypervisor/metal/console.h"
#include "hypervisor/metal/selftest/guest_modes.h"

namespace cupel::metal {
namespace {

using namespace x86;

// SplitMix64. Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
  }
  uint64_t below(uint64_t n) { return next() % n; }

 private:
  uint64_t state_;
};

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
    value = kEvents[random.below(sizeof kEvents / sizeof kEvents[0])];
  } else if (choice >= 6) {
    value = kInteresting[random.below(sizeof kInteresting / sizeof kInteresting[0])];
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

void change_one(Lab& lab, Random& random) {
  const FieldRow& row = kFields[random.below(sizeof kFields / sizeof kFields[0])];
  uint64_t old = 0;
  if (lab.cpu.vmread(row.encoding, old) != VmxStatus::succeed) return;
  const uint64_t value = changed(random, row.encoding, old);
  if (lab.cpu.vmwrite(row.encoding, value) != VmxStatus::succeed) return;
  print(" ");
  print(row.name);
  print("=");
  print(Hex{value});
}

void print_outcome(TestVm& vm, const Outcome& outcome) {
  print(" -> ");
  if (!outcome.ok()) {
    const Shown shown = show(outcome);
    print(shown.text);
    if (shown.has_number) print_line(" ", shown.number);
    if (!shown.has_number) print_line();
    return;
  }
  const ExitRecord exit = vm.exit();
  print(exit.entry_failure() ? "failed " : "exit ");
  print(to_string(exit.basic()));
  if (exit.entry_failure()) print_line(" ", exit.qualification);
  if (!exit.entry_failure()) print_line();
}

// Fields that TestVm leaves alone keep what the state before wrote.
void forget(Lab& lab) {
  lab.on();
  if (!lab.outcome(lab.cpu.vmptrld(lab.vmcs)).ok()) bail_out("VMPTRLD fails");
  // A field that does not exist has nothing to forget.
  for (const FieldRow& row : kFields) (void)lab.cpu.vmwrite(row.encoding, 0);
}

void run_state(Lab& lab, uint64_t seed, uint64_t number) {
  Random random(seed * 0x100000001b3 + number);
  const Mode& mode = kModes[random.below(sizeof kModes / sizeof kModes[0])];
  Controls controls = mode.controls;
  controls.pin |= pin::preemption_timer;
  if (!lab.offers(controls)) return print_line("state ", number, ": not offered");
  forget(lab);
  TestVm vm(lab, controls);
  if (mode.make != nullptr) mode.make(vm);
  print("state ");
  print_unsigned(number);
  print(": ");
  print(mode.name);
  for (uint64_t n = 1 + random.below(3); n != 0; --n) change_one(lab, random);
  keep_alive(vm);
  print_outcome(vm, vm.launch_here());
}

}  // namespace

bool run_random_states(Lab& lab, uint64_t seed, uint64_t first, uint64_t count) {
  if (!lab.offers({.pin = pin::preemption_timer})) {
    print_line("# states need the preemption timer");
    return false;
  }
  uint64_t efer = 0, pat = 0;
  if (!lab.cpu.rdmsr(msr::EFER, efer) || !lab.cpu.rdmsr(msr::PAT, pat)) return false;
  print_line("# states seed=", seed, " from=", first, " count=", count);
  for (uint64_t n = first; n < first + count; ++n) {
    run_state(lab, seed, n);
    // What a state loaded and no exit control put back.
    if (!lab.cpu.wrmsr(msr::EFER, efer) || !lab.cpu.wrmsr(msr::PAT, pat)) return false;
  }
  return true;
}

}  // namespace cupel::metal
