// The processor model: translations and creation.
#include "bench/bare_engine.h"
#include "bench/figures.h"
#include "bench/vm_loop.h"
#include "scenarios/backend/model_seat.h"

namespace cupel::bench {
namespace {

// Processor nanoseconds for each TLB fill of `run`, everything else of that time included.
template <class Run>
Result<double> fill_cost(cpu::Processor& processor, Run run) {
  const uint64_t before = processor.stats().tlb_fills;
  const double start = processor_seconds();
  if (Result<void> done = run(); !done.ok()) return std::move(done).failure();
  const double elapsed = processor_seconds() - start;
  const uint64_t fills = processor.stats().tlb_fills - before;
  if (fills < 1000) return fail(ErrorKind::internal, "the loop did not miss the TLB");
  return elapsed * 1e9 / static_cast<double>(fills);
}

Result<Figure> tlb_fill() {
  constexpr auto kSlice = 100_us;
  auto vm = VmLoop::on_model(LoopKind::tlb);
  if (!vm.ok()) return std::move(vm).failure();
  auto bare = BareEngine::create(LoopKind::tlb);
  if (!bare.ok()) return std::move(bare).failure();
  auto& processor = static_cast<scenarios::ModelSeat&>((*vm)->seat()).processor();
  auto pair = take_turns(
      9, [&] { return fill_cost(processor, [&] { return (*vm)->run(kSlice); }); },
      [&] {
        return fill_cost((*bare)->processor(), [&] {
          (*bare)->run(kSlice);
          return Result<void>();
        });
      });
  if (!pair.ok()) return std::move(pair).failure();
  return Figure{pair->value, "ns", pair->denominator, "walk of the guest's tables without EPT"};
}

// Up to the first instruction: the engine sets itself up when it is first run.
Result<Figure> creation() {
  std::vector<double> costs;
  for (int round = 0; round < 9; ++round) {
    const double start = processor_seconds();
    auto engine = BareEngine::create(LoopKind::cpuid);
    if (!engine.ok()) return std::move(engine).failure();
    CUPEL_TRY((*engine)->trap_cost(1));
    costs.push_back((processor_seconds() - start) * 1e3);
  }
  return Figure{median(costs), "ms"};
}

}  // namespace

void add_engine_figures() {
  add_figure("engine.tlb_fill", tlb_fill);
  add_figure("engine.create", creation);
}

}  // namespace cupel::bench
