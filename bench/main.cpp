// cupel_bench: every figure next to what it is compared with, measured in this process.
#include <benchmark/benchmark.h>

#include "bench/figures.h"

int main(int argc, char** argv) {
  using namespace cupel::bench;
  add_exit_figures();
  add_mips_figure();
  add_linux_figures();
  add_vmx_figures();
  add_engine_figures();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
