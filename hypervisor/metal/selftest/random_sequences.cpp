// Short sequences of instructions in a guest whose controls are drawn as well; what is compared is
// each exit as the VMCS records it.
// SDM vol. 3C, "Instructions That Cause VM Exits", "VM-Exit Information Fields".
#include "core/x86/vmx_controls.h"
#include "hypervisor/metal/console.h"
#include "hypervisor/metal/selftest/random.h"
#include "hypervisor/metal/selftest/search.h"

namespace cupel::metal {
namespace {

using namespace x86;

// One element each; R8 and RDI, RSI point at a scratch page, R15 has the image's CR3. An element
// sets the registers on which its own outcome depends. None changes memory but the scratch page
// and the stack, and none leaves the guest without a way back: exceptions exit.
struct Element {
  const char* name;
  const char *begin, *end;
};
#define CUPEL_ELEMENTS(X)                                                               \
  X(cpuid, "cpuid")                                                                     \
  X(pause, "pause")                                                                     \
  X(rdtsc, "rdtsc")                                                                     \
  X(rdtscp, "rdtscp")                                                                   \
  X(rdpmc, "mov $0x7f, %ecx\n rdpmc")                                                   \
  X(hlt, "hlt")                                                                         \
  X(invlpg, "invlpg 0x40(%r8)")                                                         \
  X(wbinvd, "wbinvd")                                                                   \
  X(invd, "invd")                                                                       \
  X(in8, "in $0x80, %al")                                                               \
  X(in32, "mov $0x84, %edx\n in %dx, %eax")                                             \
  X(out16, "mov $0xed, %edx\n out %ax, %dx")                                            \
  X(insb, "mov $0x80, %edx\n insb")                                                     \
  X(outsw, "mov $0x84, %edx\n outsw")                                                   \
  X(rep_outsb, "mov $2, %ecx\n mov $0x80, %edx\n rep outsb")                            \
  X(mov_from_cr0, "mov %cr0, %r11")                                                     \
  X(mov_to_cr0_same, "mov %cr0, %r11\n mov %r11, %cr0")                                 \
  X(mov_to_cr0_ts, "mov %cr0, %r11\n or $8, %r11\n mov %r11, %cr0")                     \
  X(mov_to_cr0_no_ne, "mov %cr0, %r11\n and $~0x20, %r11\n mov %r11, %cr0")             \
  X(mov_from_cr3, "mov %cr3, %r11")                                                     \
  X(mov_to_cr3, "mov %r15, %cr3")                                                       \
  X(mov_from_cr4, "mov %cr4, %r11")                                                     \
  X(mov_to_cr4_pge, "mov %cr4, %r11\n or $0x80, %r11\n mov %r11, %cr4")                 \
  X(mov_to_cr4_no_vmxe, "mov %cr4, %r11\n and $~0x2000, %r11\n mov %r11, %cr4")         \
  X(mov_from_cr8, "mov %cr8, %r11")                                                     \
  X(mov_to_cr8, "xor %r11d, %r11d\n mov %r11, %cr8")                                    \
  X(mov_to_cr8_bad, "mov $0x10, %r11d\n mov %r11, %cr8")                                \
  X(clts, "clts")                                                                       \
  X(lmsw, "mov $0xb, %r11d\n lmsw %r11w")                                               \
  X(smsw, "smsw %r11d")                                                                 \
  X(mov_from_dr7, "mov %dr7, %r11")                                                     \
  X(mov_to_dr3, "mov %r8, %dr3")                                                        \
  X(mov_to_dr5, "mov %r8, %dr5")                                                        \
  X(rdmsr, "mov $0x174, %ecx\n rdmsr")                                                  \
  X(rdmsr_high, "mov $0xc0000082, %ecx\n rdmsr")                                        \
  X(rdmsr_unknown, "mov $0x40000100, %ecx\n rdmsr")                                     \
  X(wrmsr, "mov $0x174, %ecx\n xor %eax, %eax\n xor %edx, %edx\n wrmsr")                \
  X(xsetbv_bad, "mov $5, %ecx\n xsetbv")                                                \
  X(sgdt, "sgdt 0x100(%r8)")                                                            \
  X(sidt, "sidt 0x120(%rdi)")                                                           \
  X(lgdt, "sgdt 0x140(%r8)\n lgdt 0x140(%r8)")                                          \
  X(sldt, "sldt %r11d")                                                                 \
  X(str, "str 0x160(%r8)")                                                              \
  X(lldt_null, "xor %r11d, %r11d\n lldt %r11w")                                         \
  X(ltr_busy, "mov $0x30, %r11d\n ltr %r11w")                                           \
  X(vmread, "mov $0x681e, %r11d\n vmread %r11, %r10")                                   \
  X(vmread_memory, "mov $0x681e, %r11d\n vmread %r11, 0x180(%r8)")                      \
  X(vmwrite, "mov $0x681e, %r11d\n vmwrite %r11, %r11")                                 \
  X(vmptrld, "vmptrld 0x1a0(%r8,%rcx,2)")                                               \
  X(vmptrst, "vmptrst 0x1a0(%rsi)")                                                     \
  X(vmclear, "vmclear (%r8)")                                                           \
  X(vmxon, "vmxon 8(%rsp)")                                                             \
  X(vmxoff, "vmxoff")                                                                   \
  X(vmlaunch, "vmlaunch")                                                               \
  X(vmresume, "vmresume")                                                               \
  X(invept, "mov $1, %r11d\n invept (%r8), %r11")                                       \
  X(invvpid, "mov $2, %r11d\n invvpid (%rdi), %r11")                                    \
  X(invpcid, "mov $3, %r11d\n invpcid (%r8), %r11")                                     \
  X(rdrand16, "rdrand %r11w")                                                           \
  X(rdrand32, "rdrand %r11d")                                                           \
  X(rdrand64, "rdrand %r11")                                                            \
  X(rdseed32, "rdseed %r11d")                                                           \
  X(rdseed64, "rdseed %r9")                                                             \
  X(monitor, "mov %r8, %rax\n xor %ecx, %ecx\n xor %edx, %edx\n monitor")               \
  X(ud2, "ud2")                                                                         \
  X(int3, "int3")                                                                       \
  X(icebp, ".byte 0xf1")                                                                \
  X(int_40, "int $0x40")                                                                \
  X(int_no_gate, "int $0x30")                                                           \
  X(divide_by_zero, "xor %ecx, %ecx\n div %ecx")                                        \
  X(not_canonical, "mov $1, %r11d\n shl $63, %r11\n mov (%r11), %r11")                  \
  X(not_canonical_stack, "mov $1, %r11d\n shl $63, %r11\n xchg %r11, %rsp\n push %rax") \
  X(null_ss, "xor %r11d, %r11d\n mov %r11d, %ss")                                       \
  X(bad_selector, "mov $0x7f8, %r11d\n mov %r11d, %ds")                                 \
  X(page_fault, "mov $0x5000, %r11d\n shl $24, %r11\n mov (%r11), %r11")                \
  X(page_fault_write, "mov $0x5000, %r11d\n shl $24, %r11\n movb $1, 7(%r11)")          \
  X(sti, "sti\n nop\n cli")                                                             \
  X(mov_ss, "mov %ss, %r11d\n mov %r11d, %ss\n nop")                                    \
  X(popf_tf, "pushf\n orl $0x100, (%rsp)\n popf\n nop")                                 \
  X(add, "mov $0x80, %al\n add $0x80, %al")                                             \
  X(getsec, "xor %eax, %eax\n getsec")                                                  \
  X(xgetbv_bad, "mov $7, %ecx\n xgetbv")                                                \
  X(vmcall, "vmcall")

#define CUPEL_DEFINE(name, text)                                  \
  extern "C" const char seq_##name##_begin[], seq_##name##_end[]; \
  asm(".pushsection .text\nseq_" #name "_begin:\n" text "\nseq_" #name "_end:\n.popsection");
CUPEL_ELEMENTS(CUPEL_DEFINE)
#undef CUPEL_DEFINE
#define CUPEL_ROW(name, text) {#name, seq_##name##_begin, seq_##name##_end},
constexpr Element kElements[] = {CUPEL_ELEMENTS(CUPEL_ROW)};
#undef CUPEL_ROW

struct ControlBit {
  const char* name;
  Controls controls;
};
#define CUPEL_PRIMARY(name) {#name, {0, proc::name, 0, 0, 0}},
#define CUPEL_SECONDARY(name) {#name, {0, 0, proc2::name, 0, 0}},
constexpr ControlBit kControls[] = {
    CUPEL_PRIMARY(hlt_exiting) CUPEL_PRIMARY(invlpg_exiting) CUPEL_PRIMARY(rdpmc_exiting)
        CUPEL_PRIMARY(rdtsc_exiting) CUPEL_PRIMARY(cr8_load_exiting) CUPEL_PRIMARY(mov_dr_exiting)
            CUPEL_PRIMARY(unconditional_io) CUPEL_PRIMARY(io_bitmaps) CUPEL_PRIMARY(msr_bitmaps)
                CUPEL_PRIMARY(monitor_exiting) CUPEL_PRIMARY(pause_exiting)
                    CUPEL_PRIMARY(monitor_trap_flag) CUPEL_SECONDARY(descriptor_table_exiting)
                        CUPEL_SECONDARY(enable_rdtscp) CUPEL_SECONDARY(wbinvd_exiting)
                            CUPEL_SECONDARY(rdrand_exiting) CUPEL_SECONDARY(enable_invpcid)
                                CUPEL_SECONDARY(rdseed_exiting)};
#undef CUPEL_PRIMARY
#undef CUPEL_SECONDARY

// Parts of a case: elements first, then controls, then one of the others.
constexpr unsigned kMostElements = 5, kMostControls = 4, kFirstControl = kMostElements,
                   kShadowPart = kFirstControl + kMostControls, kMostExits = 12;
constexpr uint32_t kTimer = 100'000;  // ends HLT without HLT exiting

alignas(4096) uint8_t code_page[4096];

void place(const char* begin, const char* end, unsigned& at) {
  for (; begin != end; ++begin) code_page[at++] = static_cast<uint8_t>(*begin);
}

bool has_instruction_length(ExitReason reason) {
  switch (reason) {
    case ExitReason::exception_or_nmi:
    case ExitReason::triple_fault:
    case ExitReason::preemption_timer:
    case ExitReason::monitor_trap_flag:
    case ExitReason::external_interrupt:
      return false;
    default:
      return true;
  }
}

// SDM vol. 3C, "Information for VM Exits Due to Instruction Execution".
bool has_instruction_info(ExitReason reason, uint64_t qualification) {
  switch (reason) {
    case ExitReason::gdtr_idtr_access:
    case ExitReason::ldtr_tr_access:
    case ExitReason::vmclear:
    case ExitReason::vmptrld:
    case ExitReason::vmptrst:
    case ExitReason::vmread:
    case ExitReason::vmwrite:
    case ExitReason::vmxon:
    case ExitReason::invept:
    case ExitReason::invvpid:
    case ExitReason::invpcid:
    case ExitReason::rdrand:
    case ExitReason::rdseed:
      return true;
    case ExitReason::io_instruction:
      return (qualification & 0x10) != 0;
    default:
      return false;
  }
}

// Undefined bits of the instruction information: by the formats of the same section. Only what
// every format defines alike for a memory or register operand is left in.
uint32_t defined_info(ExitReason reason, uint32_t info) {
  switch (reason) {
    case ExitReason::io_instruction:
      return info & (7u << 7 | 7u << 15);
    case ExitReason::rdrand:
    case ExitReason::rdseed:
      return info & (0xfu << 3 | 3u << 11);
    default:
      break;
  }
  const bool reg = (info >> 10 & 1) != 0;
  uint32_t mask = reg ? 1u << 10 | 0xfu << 3
                      : 3u | 7u << 7 | 1u << 10 | 7u << 15 | 3u << 22 | 15u << 23 | 1u << 27;
  // Bit 11, the operand size, is undefined for exits from 64-bit mode.
  if (reason == ExitReason::gdtr_idtr_access) mask |= 3u << 28;
  if (reason == ExitReason::ldtr_tr_access) mask |= 3u << 28;
  if (reason == ExitReason::vmread || reason == ExitReason::vmwrite ||
      reason == ExitReason::invept || reason == ExitReason::invvpid ||
      reason == ExitReason::invpcid)
    mask |= 15u << 28;
  if (!reg && (info >> 22 & 1) == 0) mask |= 15u << 18;
  if (!reg && (info >> 22 & 1) != 0) mask &= ~3u;
  return info & mask;
}

void add_exit(const ExitRecord& exit, Finding& finding) {
  finding.say("|");
  finding.add(to_string(exit.basic()));
  const uint64_t base = reinterpret_cast<uint64_t>(code_page);
  const bool handler = exit.rip - base >= sizeof code_page;
  if (handler) finding.add("elsewhere");
  if (!handler) finding.add_value("at", exit.rip - base);
  finding.add_value("q", exit.qualification);
  if (has_instruction_length(exit.basic())) finding.add_value("length", exit.length);
  if (has_instruction_info(exit.basic(), exit.qualification))
    finding.add_value("info", defined_info(exit.basic(), exit.instruction_info));
  if (exit.basic() == ExitReason::exception_or_nmi) {
    finding.add_value("event", exit.interruption);
    if ((exit.interruption >> 11 & 1) != 0) finding.add_value("code", exit.interruption_error);
    const uint32_t type = exit.interruption >> 8 & 7;
    if (type >= 4) finding.add_value("length", exit.length);
  }
  if (exit.vectoring >> 31 != 0) finding.add_value("vectoring", exit.vectoring);
}

}  // namespace

void run_sequence(Lab& lab, const Case& c, Finding& finding) {
  Random random(c.seed, c.number, 0);
  const uint64_t elements = 1 + random.below(kMostElements), bits = random.below(kMostControls + 1);
  Controls controls{.pin = pin::preemption_timer};
  for (unsigned n = 0; n < bits; ++n) {
    if (!c.keeps(kFirstControl + n)) continue;
    const ControlBit& bit = Random(c.seed, c.number, 100 + n).of(kControls);
    controls.primary |= bit.controls.primary;
    controls.secondary |= bit.controls.secondary;
    finding.say(bit.name);
  }
  finding.say(":");
  if (!lab.offers(controls)) return finding.add("not offered");
  TestVm vm(lab, controls);
  unsigned at = 0;
  for (unsigned n = 0; n < elements; ++n) {
    if (!c.keeps(n)) continue;
    const Element& element = Random(c.seed, c.number, 200 + n).of(kElements);
    finding.say(element.name);
    place(element.begin, element.end, at);
  }
  constexpr uint8_t kVmcall[] = {0x0f, 0x01, 0xc1, 0xf4};
  for (const uint8_t byte : kVmcall) code_page[at++] = byte;
  finding.say("->");
  vm.set(Field32::exception_bitmap, ~0u);
  if (c.keeps(kShadowPart) && random.below(2) != 0) {
    vm.set(FieldN::cr0_guest_host_mask, uint64_t{0x2a});
    vm.set(FieldN::cr0_read_shadow, uint64_t{0x22});
    vm.set(FieldN::cr4_guest_host_mask, uint64_t{0x2080});
    vm.set(FieldN::cr4_read_shadow, uint64_t{0});
  }
  for (const Gpr r : {Gpr::rdi, Gpr::rsi, Gpr::r8}) vm.regs[r] = lab.scratch_page.value();
  vm.regs[Gpr::r15] = vm.get(FieldN::guest_cr3);
  vm.set(Field32::preemption_timer_value, kTimer);
  Outcome outcome = vm.launch(reinterpret_cast<const char*>(code_page));
  for (unsigned n = 0; outcome.ok() && n < kMostExits; ++n) {
    const ExitRecord exit = vm.exit();
    add_exit(exit, finding);
    const bool goes_on = exit.basic() == ExitReason::monitor_trap_flag;
    if (exit.entry_failure() || exit.rip - reinterpret_cast<uint64_t>(code_page) + 4 >= at) return;
    if (!goes_on && !has_instruction_length(exit.basic())) return;
    if (!goes_on) vm.skip_instruction();
    vm.set(Field32::preemption_timer_value, kTimer);
    outcome = vm.resume();
  }
  if (!outcome.ok()) finding.add("entry fails");
}

}  // namespace cupel::metal
