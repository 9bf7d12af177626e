// cupel_print_hash SCENARIO SEED: runs a scenario of the library on the model and prints the hash
// of its trace, sixteen hexadecimal digits.
#include <cstdio>
#include <cstdlib>

#include "tests/scenarios/scenario_rig.h"

int main(int argc, char** argv) {
  using namespace cupel::scenarios::testing;
  if (argc != 3) {
    std::fprintf(stderr, "usage: %s SCENARIO SEED\n", argv[0]);
    return 2;
  }
  const auto scenario = library(argv[1]);
  const auto result = try_run(scenario, {.seed = std::strtoull(argv[2], nullptr, 10)});
  if (!result.ok()) {
    std::fprintf(stderr, "%s\n", describe(result.error()).c_str());
    return 5;
  }
  std::printf("%016llx\n", static_cast<unsigned long long>(result->trace_hash));
}
