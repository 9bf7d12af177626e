// How fast a guest's own instructions run that concern nobody.
#include <cstdio>
#include <string>

#include "bench/assets.h"
#include "bench/figures.h"
#include "scenarios/session/console_session.h"

namespace cupel::bench {
namespace {

constexpr uint64_t kRounds = 40'000'000, kInstructionsARound = 8;

// The loop of the workload guest's mode=mips (scenarios/guests/workload/bench.cpp), instruction
// for instruction; its result is compared with the guest's.
uint64_t native_loop(uint64_t n) {
  static uint64_t cell = 0x9e3779b97f4a7c15;
  uint64_t a = 1, b = 2, c = 3;
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
  return a ^ b ^ c;
}

double to_mips(double seconds) { return kRounds * kInstructionsARound / seconds / 1e6; }

double native_mips(uint64_t& result) {
  const double start = processor_seconds();
  result = native_loop(kRounds);
  return to_mips(processor_seconds() - start);
}

struct Guest {
  double mips = 0;
  uint64_t result = 0;
};

Result<Guest> guest_mips() {
  scenarios::BootConfig config;
  config.kernel = assets().workload;
  config.command_line = "mode=mips iters=" + std::to_string(kRounds);
  auto session = scenarios::ConsoleSession::create(config);
  if (!session.ok()) return std::move(session).failure();
  std::string output;
  double start = 0;
  while (!(*session)->ended()) {
    (*session)->step(1_ms);
    output += (*session)->take_output();
    if (start == 0 && output.find("WORKLOAD up") != std::string::npos) start = processor_seconds();
  }
  Guest guest{to_mips(processor_seconds() - start), 0};
  const size_t at = output.find("result=");
  if (at == std::string::npos ||
      std::sscanf(output.c_str() + at, "result=%lx", &guest.result) != 1) {
    return fail(ErrorKind::guest, "the workload guest gave no result: " + output);
  }
  return guest;
}

Result<Figure> measure() {
  if (assets().workload.empty())
    return fail(ErrorKind::environment, "the workload guest is not built");
  std::vector<double> guest, native;
  for (int round = 0; round < 3; ++round) {
    uint64_t expected = 0;
    native.push_back(native_mips(expected));
    auto run = guest_mips();
    if (!run.ok()) return std::move(run).failure();
    if (run->result != expected) return fail(ErrorKind::internal, "the guest calculates wrongly");
    guest.push_back(run->mips);
  }
  return Figure{median(guest), "MIPS", median(native), "the same loop natively"};
}

}  // namespace

void add_mips_figure() { add_figure("guest.mips", measure); }

}  // namespace cupel::bench
