#include "hypervisor/metal/bench.h"

#include <array>

#include "hypervisor/metal/console.h"
#include "hypervisor/metal/instructions.h"
#include "hypervisor/metal/options.h"

extern "C" {
extern const char metal_bench_guest[], metal_bench_exit[];
uint64_t metal_bench_trips(uint64_t count);
uint64_t metal_bench_iterations;
[[noreturn]] void metal_bench_integer();
[[noreturn]] void metal_bench_kernel();
}

namespace cupel::metal {
namespace {

using namespace x86;

constexpr uint64_t kTrips = 1'000'000, kIntegerRounds = 20'000, kKernelRounds = 2'000;

void mark(const char* name, uint64_t iterations, const char* where) {
  print_line("# bench ", name, " iterations=", iterations, " ", where);
}

uint64_t address_of(const void* p) { return reinterpret_cast<uint64_t>(p); }

// With a VPID where there are VPIDs, as hypervisors use it.
bool cpuid_trip(Lab& lab, uint64_t iterations) {
  const Controls tagged{.secondary = proc2::enable_vpid};
  TestVm vm(lab, lab.offers(tagged) ? tagged : Controls{});
  vm.set(FieldN::host_rip, address_of(metal_bench_exit));
  vm.set(FieldN::guest_rip, address_of(metal_bench_guest));
  mark("cpuid_trip", iterations, "begin");
  const uint64_t left = metal_bench_trips(iterations);
  mark("cpuid_trip", iterations, "end");
  if (left != 0) print_line("# bench cpuid_trip failed with ", left, " left");
  return left == 0;
}

bool guest_code(Lab& lab, const char* name, void (*code)(), uint64_t iterations) {
  TestVm vm(lab, {});
  metal_bench_iterations = iterations;
  mark(name, iterations, "begin");
  const Outcome entered = vm.launch(reinterpret_cast<const void*>(code));
  mark(name, iterations, "end");
  const bool good = entered.ok() && vm.exit().basic() == ExitReason::vmcall;
  if (!good) print_line("# bench ", name, " failed, exit reason ", vm.exit().reason);
  return good;
}

// What the guests work on.
alignas(4096) std::array<uint64_t, 1024> source, target;
struct Node {
  Node* next;
  uint64_t key, value;
};
std::array<Node, 512> nodes;
std::array<Node*, 64> buckets;

[[noreturn]] void end_guest() {
  for (;;) asm volatile("vmcall" ::: "memory");
}

uint64_t mix(uint64_t x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccd;
  x ^= x >> 33;
  return x;
}

void insert(uint64_t n) {
  Node& node = nodes[n % nodes.size()];
  node.key = n;
  node.value = mix(n);
  Node*& head = buckets[node.value % buckets.size()];
  node.next = head;
  head = &node;
}

uint64_t find(uint64_t key) {
  for (const Node* node = buckets[mix(key) % buckets.size()]; node != nullptr; node = node->next) {
    if (node->key == key) return node->value;
  }
  return 0;
}

// Interrupts off and on again, as kernels do around short critical sections.
template <class Section>
void with_interrupts_off(Section section) {
  uint64_t flags;
  asm volatile("pushf\n pop %0\n cli" : "=r"(flags)::"memory");
  section();
  asm volatile("push %0\n popf" ::"r"(flags) : "memory", "cc");
}

}  // namespace

// Integer code: multiplication, shifts, compares and array accesses over 8 KiB.
extern "C" void metal_bench_integer() {
  uint64_t x = 88172645463325252;
  for (uint64_t round = 0; round < metal_bench_iterations; ++round) {
    for (uint64_t& word : source) {
      x ^= x << 13;
      x ^= x >> 7;
      x ^= x << 17;
      word += x * 0x9e3779b97f4a7c15 + (word < x ? 1 : 2);
    }
  }
  end_guest();
}

// Kernel-like code: page copies by REP, a hash table of linked nodes, flags saved and restored,
// locked operations, invalidated TLB entries.
extern "C" void metal_bench_kernel() {
  for (uint64_t round = 0; round < metal_bench_iterations; ++round) {
    void* to = target.data();
    const void* from = source.data();
    uint64_t count = sizeof source / 8;
    asm volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(count)::"memory");
    buckets = {};
    for (uint64_t n = 0; n < nodes.size(); ++n) with_interrupts_off([n] { insert(n); });
    uint64_t sum = 0;
    for (uint64_t n = 0; n < nodes.size(); ++n) sum += find(n);
    __atomic_fetch_add(&target[round % target.size()], sum, __ATOMIC_SEQ_CST);
    asm volatile("invlpg (%0)" ::"r"(target.data()) : "memory");
  }
  end_guest();
}

bool run_benchmarks(Lab& lab, uint64_t iterations, const char* name) {
  const auto count = [&](uint64_t usual) { return iterations == 0 ? usual : iterations; };
  bool good = true;
  if (matches(name, "cpuid_trip")) good = cpuid_trip(lab, count(kTrips)) && good;
  if (matches(name, "guest_integer"))
    good = guest_code(lab, "guest_integer", metal_bench_integer, count(kIntegerRounds)) && good;
  if (matches(name, "guest_kernel"))
    good = guest_code(lab, "guest_kernel", metal_bench_kernel, count(kKernelRounds)) && good;
  return good;
}

}  // namespace cupel::metal
