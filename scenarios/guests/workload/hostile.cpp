// Guests that misbehave, to show that nothing outside them suffers.
#include "scenarios/guests/workload/console.h"
#include "scenarios/guests/workload/modes.h"
#include "scenarios/guests/workload/virtio.h"
#include "scenarios/guests/workload/x86.h"

namespace workload {
namespace {

// With an empty IDT no exception can be delivered.
[[noreturn]] void triple_fault() {
  const struct [[gnu::packed]] {
    uint16_t limit;
    uint64_t base;
  } none{0, 0};
  asm volatile("lidt %0; ud2" ::"m"(none));
  for (;;) pause();
}

// Long instructions: where virtual time counts bytes of code, it passes as fast as it can.
[[noreturn]] void spin_without_interrupts() {
  disable_interrupts();
  for (;;) asm volatile(".rept 32\n nopw %%cs:0x200(%%rax,%%rax,1)\n .endr" ::: "memory");
}

// The ring memory of one queue, and the memory that descriptors with a sane address point into:
// a device that obeys a wild descriptor as far as RAM allows does not overwrite this program.
constexpr uint16_t kSize = 16;
constexpr uint32_t kScratch = 65536;
struct GarbageQueue {
  alignas(16) uint64_t descriptors[kSize * 2];
  alignas(4) uint16_t available[3 + kSize];
  alignas(4) uint16_t used[3 + kSize * 4];
};
GarbageQueue rings;
alignas(16) uint8_t scratch[2 * kScratch];

uint64_t random_state;
uint64_t random() {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state;
}

uint64_t random_address() {
  switch (random() % 4) {
    case 0:
      return random();  // anywhere in 64 bits
    case 1:
      return ~uint64_t{0} - random() % 4096;  // wraps around
    case 2:
      return 0xfee00000 + random() % 0x1000000;  // chips and nothing
    default:
      return reinterpret_cast<uint64_t>(scratch) + random() % kScratch;
  }
}

void scribble() {
  for (unsigned i = 0; i < kSize; ++i) {
    const uint64_t address = random_address();
    const bool sane = address - reinterpret_cast<uint64_t>(scratch) < kScratch;
    const uint64_t length = sane ? random() % kScratch : random() & 0xffffffffu;
    const uint64_t flags = random() & 7, next = random() % (kSize + kSize / 2);
    rings.descriptors[2 * i] = address;
    rings.descriptors[2 * i + 1] = length | flags << 32 | next << 48;
  }
  for (uint16_t& word : rings.available) word = static_cast<uint16_t>(random());
  for (unsigned i = 2; i < 2 + kSize; ++i) {
    if (random() % 2 == 0) rings.available[i] %= kSize;
  }
  if (random() % 2 == 0) rings.available[1] = static_cast<uint16_t>(random() % (2 * kSize));
}

// Returns false when there is no such device.
bool abuse(VirtioKind kind, unsigned n) {
  VirtioDevice device;
  if (!device.open(kind, n, 0)) return false;
  constexpr uint16_t kQueues = 2;
  volatile uint16_t* notify[kQueues];
  for (uint16_t q = 0; q < kQueues; ++q) {
    uint16_t size = kSize;
    notify[q] = device.set_queue(q, size, rings.descriptors, rings.available, rings.used);
  }
  device.start();
  for (unsigned burst = 0; burst < 4; ++burst) {
    scribble();
    full_barrier();
    for (uint16_t q = 0; q < kQueues; ++q) {
      if (notify[q] != nullptr)
        *notify[q] = random() % 4 == 0 ? static_cast<uint16_t>(random()) : q;
    }
  }
  device.read_isr();
  return true;
}

void run_garbage_rings(const Config& config) {
  random_state = config.seed * 0x9e3779b97f4a7c15 | 1;
  for (uint64_t round = 0; round < config.iterations; ++round) {
    const bool block = abuse(VirtioKind::block, 0);
    const bool net = abuse(VirtioKind::net, 0);
    if (!block && !net) {
      print("WORKLOAD error: mode=garbage-rings needs a virtio device\n");
      leave(Exit::no_device);
    }
  }
  // The devices must still work for a driver that behaves.
  VirtioDevice device;
  device.open(VirtioKind::block, 0, 0);
  print_all("WORKLOAD garbage-rings iters=", config.iterations, "\n");
}

}  // namespace

bool run_hostile(const Config& config) {
  if (config.mode_is("triple")) triple_fault();
  if (config.mode_is("cli-spin")) spin_without_interrupts();
  if (!config.mode_is("garbage-rings")) return false;
  run_garbage_rings(config);
  return true;
}

}  // namespace workload
