#include "bench/bare_engine.h"

#include "bench/figure.h"
#include "bench/guest_loop.h"
#include "scenarios/backend/seat.h"

namespace cupel::bench {

Result<std::unique_ptr<BareEngine>> BareEngine::create(LoopKind kind) {
  std::unique_ptr<BareEngine> engine(new BareEngine);
  auto memory = PhysicalMemory::create(kLoopRam);
  if (!memory.ok()) return std::move(memory).failure();
  engine->memory_ = std::move(memory).value();
  auto processor =
      cpu::Processor::create(*engine->memory_, engine->clock_,
                             {cpu::server_profile(scenarios::kTscHz), scenarios::kTscHz, 0});
  if (!processor.ok()) return std::move(processor).failure();
  engine->processor_ = std::move(processor).value();
  engine->processor_->set_monitor(engine.get());
  engine->processor_->set_state(place_loop({engine->memory_->data(), kLoopRam}, kind));
  return engine;
}

cpu::PhysicalTranslation BareEngine::translate(const cpu::PhysicalAccess& access) {
  const Hpa at(access.gpa.value());
  return {memory_->contains(at, 1), at, true, true};
}

Result<double> BareEngine::trap_cost(unsigned count) {
  processor_->set_deadline(Nanoseconds::max());
  const double start = processor_seconds();
  for (unsigned i = 0; i < count; ++i) {
    processor_->run();
    processor_->set_rip(processor_->rip() + 2);
  }
  return (processor_seconds() - start) * 1e9 / count;
}

void BareEngine::run(Nanoseconds slice) {
  processor_->set_deadline(clock_.now() + slice);
  processor_->run();
}

}  // namespace cupel::bench
