// The command line of the image. Freestanding.
#pragma once

#include <cstdint>

namespace cupel::metal {

struct Options {
  char test[64] = "all";  // pattern of test names with '*', or "all"
  char skip[64] = "";     // pattern of tests to report as skipped
  bool run_tests = true;
  bool bench = false;  // "bench" or "bench=NAME": benchmarks instead of tests
  char bench_name[32] = "*";
  bool dump = false;        // "dump": the capability MSRs instead of tests
  bool guest = false;       // "guest": the first module as a guest instead of tests
  uint64_t cpus = 0;        // "cpus=N": processors to start; 0: what the firmware device says
  uint64_t iterations = 0;  // "iterations=N" of each benchmark; 0: its default
  // "states=N", "sequences=N" or "epts=N" with "seed=S from=K keep=MASK": N generated cases of
  // seed S, from number K, with the parts of MASK, instead of tests. "packed": 32 a line. "batch":
  // those that the first module lists.
  uint64_t states = 0, sequences = 0, epts = 0, seed = 1, from = 0, keep = ~0ull;
  bool packed = false, batch = false;
};

// Words that mean nothing here are ignored, because loaders add their own. False when a value is
// malformed; `bad` names it.
bool parse_options(const char* command_line, Options& options, const char*& bad);

// '*' matches any run of characters.
bool matches(const char* pattern, const char* name);

}  // namespace cupel::metal
