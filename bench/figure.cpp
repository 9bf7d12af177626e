#include "bench/figure.h"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <ctime>

namespace cupel::bench {
namespace {

void publish(benchmark::State& state, const Figure& figure) {
  std::string label = figure.unit;
  if (!figure.denominator_name.empty()) label += " | " + figure.denominator_name;
  state.SetLabel(label);
  state.counters["value"] = figure.value;
  if (figure.denominator != 0) state.counters["denominator"] = figure.denominator;
  if (figure.bound != 0) state.counters["bound"] = figure.bound;
  for (const auto& [name, value] : figure.details) state.counters[name] = value;
}

}  // namespace

void add_figure(const std::string& name, std::function<Result<Figure>()> measure) {
  benchmark::RegisterBenchmark(
      name.c_str(),
      [measure = std::move(measure)](benchmark::State& state) {
        for ([[maybe_unused]] auto iteration : state) {
          const double start = real_seconds();
          auto figure = measure();
          state.SetIterationTime(real_seconds() - start);
          if (figure.ok()) {
            publish(state, *figure);
          } else {
            // `cupel bench` tells the two apart by the prefix.
            const Error& error = figure.error();
            const bool lacking = error.kind == ErrorKind::environment;
            state.SkipWithError(((lacking ? "environment: " : "") + error.message).c_str());
          }
        }
      })
      ->Iterations(1)
      ->UseManualTime()
      ->Unit(benchmark::kMillisecond);
}

double real_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double processor_seconds() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

Result<Pair> take_turns(unsigned rounds, const Measure& value, const Measure& denominator) {
  std::vector<double> values, denominators;
  for (unsigned round = 0; round <= rounds; ++round) {
    auto v = value();
    if (!v.ok()) return std::move(v).failure();
    auto d = denominator();
    if (!d.ok()) return std::move(d).failure();
    if (round == 0) continue;
    values.push_back(*v);
    denominators.push_back(*d);
  }
  return Pair{median(std::move(values)), median(std::move(denominators))};
}

}  // namespace cupel::bench
