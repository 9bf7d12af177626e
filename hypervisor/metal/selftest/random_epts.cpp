// EPT shapes: one page behind four levels of its own, whose entries are changed, and one access.
// SDM vol. 3C, "EPT Translation Mechanism", "EPT Misconfigurations", "EPT Violations", "Exit
// Qualification for EPT Violations".
#include "core/x86/exit_qualification.h"
#include "hypervisor/metal/console.h"
#include "hypervisor/metal/instructions.h"
#include "hypervisor/metal/selftest/random.h"
#include "hypervisor/metal/selftest/search.h"

namespace cupel::metal {
namespace {

using namespace x86;

CUPEL_GUEST(ra_read, "", "mov 0x18(%r8), %rbx", "");
CUPEL_GUEST(ra_write, "", "movb $1, 0x1f(%r8)", "");
CUPEL_GUEST(ra_both, "", "lock incl 0x20(%r8)", "");
CUPEL_GUEST(ra_fetch, "", "", "jmp *%r8");
CUPEL_GUEST(ra_push, "lea 0x800(%r8), %rsp", "push %rax", "");

struct Access {
  const char* name;
  const GuestCode* code;
};
constexpr Access kAccesses[] = {{"read", &ra_read},
                                {"write", &ra_write},
                                {"read-write", &ra_both},
                                {"fetch", &ra_fetch},
                                {"push", &ra_push}};

// Linear and guest-physical address of the page: both in the second entry of the top level, which
// nothing else uses. A second linear page is mapped by a table that lies in the page itself.
constexpr uint64_t kSecondEntry = 1ull << 39;
constexpr unsigned kLevels = 4, kMostChanges = 3, kAccessedDirtyPart = 8;
constexpr uint64_t kAll = 7, kWriteBack = 6ull << 3, kLarge = 1ull << 7, kPresentWritable = 3;

uint64_t* at(uint64_t table) { return reinterpret_cast<uint64_t*>(table & 0xffffffff000); }

// Frames that stay for the whole run.
struct Frames {
  explicit Frames(Lab& lab) {
    for (Hpa* f :
         {&guest_top, &guest_pdpt, &guest_directory, &top, &pdpt, &directory, &table, &page})
      *f = lab.frame();
  }
  Hpa guest_top, guest_pdpt, guest_directory;
  Hpa top, pdpt, directory, table, page;
};

Frames& frames_of(Lab& lab) {
  alignas(Frames) static uint8_t storage[sizeof(Frames)];
  static bool made = false;
  if (!made) {
    const Frames frames(lab);
    __builtin_memcpy(storage, &frames, sizeof frames);
    made = true;
  }
  return *reinterpret_cast<Frames*>(storage);
}

// Guest tables: the image's own first entry, and 2 MiB pages at kSecondEntry; behind the second of
// them a directory of 4 KiB pages that is the tested page.
void build_guest(Lab& lab, const Frames& f) {
  at(f.guest_top.value())[0] = at(lab.cpu.read_cr3())[0];
  at(f.guest_top.value())[1] = f.guest_pdpt.value() | kPresentWritable;
  at(f.guest_pdpt.value())[0] = f.guest_directory.value() | kPresentWritable;
  at(f.guest_directory.value())[0] = kSecondEntry | kPresentWritable | kLarge;
  at(f.guest_directory.value())[1] = kSecondEntry | kPresentWritable;
}

void build_ept(Lab& lab, const Frames& f) {
  at(f.top.value())[0] = at(lab.identity_eptp())[0];
  at(f.top.value())[1] = f.pdpt.value() | kAll;
  at(f.pdpt.value())[0] = f.directory.value() | kAll;
  at(f.directory.value())[0] = f.table.value() | kAll;
  at(f.table.value())[0] = f.page.value() | kAll | kWriteBack;
  uint64_t* const page = at(f.page.value());
  for (unsigned n = 0; n < 512; ++n) page[n] = 0;
  page[0] = 0xf4c1010f;  // VMCALL; HLT. As a page-table entry: present, not reserved bits
}

uint64_t* entry_of(const Frames& f, unsigned level) {
  switch (level) {
    case 4:
      return at(f.top.value()) + 1;
    case 3:
      return at(f.pdpt.value());
    case 2:
      return at(f.directory.value());
    default:
      return at(f.table.value());
  }
}

uint64_t changed(Random& random, uint64_t old) {
  switch (random.below(6)) {
    case 0:
      return (old & ~uint64_t{7}) | random.below(8);
    case 1:
      return (old & ~uint64_t{0x38}) | random.below(8) << 3;
    case 2:
      return old ^ 1ull << random.below(12);
    case 3:
      // Not an address inside of memory that is there: only reserved bits and those above.
      return old ^ 1ull << (44 + random.below(20));
    case 4:
      return old ^ kLarge;
    default:
      return (old & ~uint64_t{7}) | (random.below(2) != 0 ? 1 : 5);
  }
}

const char* const kEntryNames[] = {"", "pte", "pde", "pdpte", "pml4e"};

void add_exit(TestVm& vm, Finding& finding) {
  const ExitRecord exit = vm.exit();
  finding.add(exit.entry_failure() ? "failed" : "exit");
  finding.add(to_string(exit.basic()));
  if (exit.basic() == ExitReason::ept_violation) {
    // Bits 11:9 are there on some processors only, and bit 12 says what NMIs do.
    const uint64_t q = exit.qualification & 0x1ff;
    finding.add_value("q", q);
    finding.add_value("gpa", vm.get(Field64::guest_physical_address));
    if ((q & 0x80) != 0) finding.add_value("gla", vm.get(FieldN::guest_linear_address));
  } else if (exit.basic() == ExitReason::ept_misconfiguration) {
    finding.add_value("gpa", vm.get(Field64::guest_physical_address));
  } else if (exit.basic() == ExitReason::exception_or_nmi) {
    finding.add_value("event", exit.interruption);
    finding.add_value("code", exit.interruption_error);
    finding.add_value("q", exit.qualification);
  }
}

}  // namespace

void run_ept_shape(Lab& lab, const Case& c, Finding& finding) {
  if (!lab.offers({.pin = pin::preemption_timer, .secondary = proc2::enable_ept}))
    return finding.add("not offered");
  const Frames& f = frames_of(lab);
  build_guest(lab, f);
  build_ept(lab, f);
  Random random(c.seed, c.number, 0);
  const Access& access = random.of(kAccesses);
  const bool by_tables = random.below(4) == 0;
  const uint64_t changes = 1 + random.below(kMostChanges);
  const bool dirty_flags =
      lab.caps.ept_accessed_dirty() && random.below(2) != 0 && c.keeps(kAccessedDirtyPart);
  TestVm vm(lab, {.pin = pin::preemption_timer, .secondary = proc2::enable_ept});
  finding.say(access.name);
  if (by_tables) finding.say("table-in-page");
  if (dirty_flags) finding.say("accessed-dirty");
  for (unsigned n = 0; n < changes; ++n) {
    if (!c.keeps(n)) continue;
    Random own(c.seed, c.number, 100 + n);
    const unsigned level = 1 + static_cast<unsigned>(own.below(kLevels));
    uint64_t* const entry = entry_of(f, level);
    const uint64_t old = *entry;
    *entry = changed(own, old);
    finding.say_change(kEntryNames[level], old, *entry);
  }
  finding.say("->");
  vm.set(Field64::ept_pointer, f.top.value() | 6 | 3 << 3 | (dirty_flags ? 0x40 : 0));
  vm.set(FieldN::guest_cr3, f.guest_top.value());
  vm.set(Field32::exception_bitmap, ~0u);
  vm.set(Field32::preemption_timer_value, 100'000u);
  vm.regs[Gpr::r8] = kSecondEntry + (by_tables ? 1ull << 21 : 0);
  const Outcome outcome = vm.launch(access.code->code);
  const x86::InveptDescriptor all{};
  (void)lab.cpu.invept(2, all);
  if (!outcome.ok()) return finding.add("entry fails");
  add_exit(vm, finding);
  // Whether a translation that fails sets accessed flags is the processor's own choice.
  if (!dirty_flags || vm.exit().basic() != ExitReason::vmcall) return;
  for (unsigned level = kLevels; level != 0; --level)
    finding.add_value(kEntryNames[level], *entry_of(f, level) >> 8 & 3);
}

}  // namespace cupel::metal
