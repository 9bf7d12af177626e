#include "hypervisor/metal/processors.h"

#include <array>
#include <atomic>

#include "hypervisor/metal/console.h"
#include "hypervisor/metal/instructions.h"
#include "hypervisor/metal/trap.h"

extern "C" {
extern const uint8_t trampoline_begin[], trampoline_end[], trampoline_found[], trampoline_gdt[];
std::atomic<uint32_t> starting_processor = 0;  // read by processor_start.S
extern uint8_t processor_stacks[];
}

namespace cupel::metal {
namespace {

constexpr uint64_t kApic = 0xfee00000;
constexpr uint32_t kId = 0x20, kTaskPriority = 0x80, kEndOfInterrupt = 0xb0, kSpurious = 0xf0,
                   kCommandLow = 0x300, kCommandHigh = 0x310;
constexpr uint32_t kSendPending = 1 << 12;
// Long enough on a processor of some GHz, and not too long on an emulator of some MIPS.
constexpr uint64_t kAnswerTicks = 200'000'000;

constexpr uint16_t kFwCfgSelect = 0x510, kFwCfgData = 0x511;
constexpr uint16_t kFwCfgSignature = 0, kFwCfgProcessors = 5;

struct Slot {
  std::atomic<Processors::Job> job = nullptr;
  void* argument = nullptr;
  std::atomic<bool> ready = false;
};
constinit std::array<Slot, MOST_PROCESSORS> slots;
vmx::FrameAllocator* shared_frames;

volatile uint32_t& apic(uint32_t offset) {
  return *reinterpret_cast<volatile uint32_t*>(kApic + offset);
}

template <class Done>
bool in_time(Done done) {
  const uint64_t begin = rdtsc();
  while (!done()) {
    if (rdtsc() - begin > kAnswerTicks) return done();
    pause();
  }
  return true;
}

template <class T>
T& in_trampoline(const uint8_t* symbol) {
  return *reinterpret_cast<T*>(uint64_t{TRAMPOLINE} +
                               static_cast<uint64_t>(symbol - trampoline_begin));
}

struct [[gnu::packed]] TablePointer {
  uint16_t limit;
  uint32_t base;
};

void place_trampoline() {
  auto* const to = reinterpret_cast<volatile uint8_t*>(uint64_t{TRAMPOLINE});
  const auto size = static_cast<uint64_t>(trampoline_end - trampoline_begin);
  for (uint64_t n = 0; n < size; ++n) to[n] = trampoline_begin[n];
  in_trampoline<TablePointer>(trampoline_gdt) = {gdt_limit(), static_cast<uint32_t>(gdt_address())};
}

void fw_cfg_select(uint16_t item) { asm volatile("outw %0, %1" ::"a"(item), "Nd"(kFwCfgSelect)); }

}  // namespace

unsigned firmware_processor_count() {
  fw_cfg_select(kFwCfgSignature);
  for (const char c : {'Q', 'E', 'M', 'U'}) {
    if (in8(kFwCfgData) != static_cast<uint8_t>(c)) return 1;
  }
  fw_cfg_select(kFwCfgProcessors);
  unsigned count = in8(kFwCfgData);
  count |= static_cast<unsigned>(in8(kFwCfgData)) << 8;
  if (count == 0) return 1;
  return count < MOST_PROCESSORS ? count : MOST_PROCESSORS;
}

void send_ipi(uint32_t to, uint32_t command) {
  apic(kCommandHigh) = to << 24;
  apic(kCommandLow) = command;
  (void)in_time([] { return (apic(kCommandLow) & kSendPending) == 0; });
}

uint32_t apic_id() { return apic(kId) >> 24; }

void enable_apic() {
  apic(kSpurious) = 0x1ff;
  apic(kTaskPriority) = 0;
}

void end_of_interrupt() { apic(kEndOfInterrupt) = 0; }

void pause_for_ticks(uint64_t tsc_ticks) {
  const uint64_t begin = rdtsc();
  while (rdtsc() - begin < tsc_ticks) pause();
}

Processors::Processors(vmx::FrameAllocator& frames, unsigned count) : count_(count) {
  shared_frames = &frames;
  place_trampoline();
}

bool Processors::start(unsigned n) {
  send_ipi(n, ipi::init);
  // A processor takes a start-up message when INIT is through.
  pause_for_ticks(100'000);
  return start_after_init(n);
}

bool Processors::start_after_init(unsigned n) {
  Slot& slot = slots[n];
  slot.job = nullptr;
  slot.ready = false;
  *reinterpret_cast<uint32_t*>(processor_stacks + n * PROCESSOR_STACK_SIZE) = n;
  starting_processor = n;
  send_ipi(n, ipi::startup | TRAMPOLINE >> 12);
  return in_time([&] { return slot.ready.load(); });
}

StartRegisters Processors::start_registers() const {
  return in_trampoline<StartRegisters>(trampoline_found);
}

void Processors::run(unsigned n, Job job, void* argument) {
  slots[n].argument = argument;
  slots[n].job = job;
}

bool Processors::finished(unsigned n) const { return slots[n].job.load() == nullptr; }
bool Processors::wait(unsigned n) {
  return in_time([&] { return finished(n); });
}

}  // namespace cupel::metal

extern "C" [[noreturn]] void processor_main(uint32_t n) {
  using namespace cupel::metal;
  traps_load(n);
  Lab lab(*shared_frames);
  enable_apic();
  Slot& slot = slots[n];
  slot.ready = true;
  for (;;) {
    while (const Processors::Job job = slot.job.load()) {
      job(lab, slot.argument);
      slot.job = nullptr;
    }
    cupel::metal::pause();
  }
}
