// Loops around one kind of VM exit each; the host takes the time.
#include "scenarios/guests/workload/console.h"
#include "scenarios/guests/workload/interrupts.h"
#include "scenarios/guests/workload/modes.h"
#include "scenarios/guests/workload/virtio.h"
#include "scenarios/guests/workload/x86.h"

namespace workload {
namespace {

void loop_cpuid(uint64_t n) {
  while (n-- != 0) cpuid(0);
}

// The scratch register of COM1.
void loop_pio(uint64_t n) {
  while (n-- != 0) in8(0x3ff);
}

// The feature word of the first virtio device: reading it changes nothing.
void loop_mmio(uint64_t n) {
  VirtioDevice device;
  if (!device.open(VirtioKind::block, 0, 0) && !device.open(VirtioKind::net, 0, 0)) {
    print("WORKLOAD error: mode=mmio needs a virtio device\n");
    leave(Exit::no_device);
  }
  const auto* const feature = reinterpret_cast<volatile uint32_t*>(device.common() + 4);
  while (n-- != 0) static_cast<void>(*feature);
}

// IA32_APIC_BASE.
void loop_msr(uint64_t n) {
  while (n-- != 0) read_msr(0x1b);
}

// Each HLT ends by a timer interrupt.
void loop_hlt(uint64_t n) {
  while (n-- != 0) sleep_us(10, nullptr);
}

// No exits of its own. 0: for ever.
void loop_spin(uint64_t n) {
  if (n == 0) {
    for (;;) pause();
  }
  while (n-- != 0) pause();
}

// Eight instructions a round: dependent and independent integer arithmetic, loads and a branch.
void loop_mips(uint64_t n) {
  static uint64_t cell = 0x9e3779b97f4a7c15;
  uint64_t a = 1, b = 2, c = 3;
  if (n == 0) return;
  asm volatile(
      "1:\n\t"
      "addq %[cell], %[a]\n\t"
      "xorq %[a], %[b]\n\t"
      "leaq (%[b], %[c], 4), %[c]\n\t"
      "rolq $7, %[a]\n\t"
      "imulq $29, %[b], %[b]\n\t"
      "subq %[c], %[a]\n\t"
      "decq %[n]\n\t"
      "jnz 1b"
      : [a] "+r"(a), [b] "+r"(b), [c] "+r"(c), [n] "+r"(n)
      : [cell] "m"(cell)
      : "cc");
  print_all("WORKLOAD mips result=", Hex{a ^ b ^ c}, "\n");
}

struct Mode {
  const char* name;
  void (*loop)(uint64_t iterations);
};
constexpr Mode kModes[] = {
    {"cpuid", loop_cpuid}, {"pio", loop_pio},   {"mmio", loop_mmio}, {"msr", loop_msr},
    {"hlt", loop_hlt},     {"spin", loop_spin}, {"mips", loop_mips},
};

}  // namespace

bool run_bench(const Config& config) {
  for (const Mode& mode : kModes) {
    if (!config.mode_is(mode.name)) continue;
    mode.loop(config.iterations);
    print_all("WORKLOAD ", mode.name, " iters=", config.iterations, "\n");
    return true;
  }
  return false;
}

}  // namespace workload
