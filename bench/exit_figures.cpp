// VM exits, each handled by the whole hypervisor core.
#include "bench/bare_kvm.h"
#include "bench/figures.h"
#include "bench/raw_library.h"
#include "bench/vm_loop.h"

namespace cupel::bench {
namespace {

struct ExitLoop {
  const char* name;
  LoopKind kind;
  x86::ExitReason reason;
  double model_bound;  // 0: none
};
constexpr ExitLoop kLoops[] = {
    {"cpuid", LoopKind::cpuid, x86::ExitReason::cpuid, 2.5},
    {"io_in", LoopKind::io_in, x86::ExitReason::io_instruction, 0},
    {"io_out", LoopKind::io_out, x86::ExitReason::io_instruction, 0},
    {"msr_read", LoopKind::msr_read, x86::ExitReason::rdmsr, 0},
    {"mmio", LoopKind::mmio, x86::ExitReason::ept_violation, 0},
    {"hlt", LoopKind::hlt, x86::ExitReason::hlt, 0},
};
constexpr double kKvmBound = 1.2;
constexpr unsigned kRounds = 31;

Result<Figure> on_model(const ExitLoop& loop) {
  auto vm = VmLoop::on_model(loop.kind);
  if (!vm.ok()) return std::move(vm).failure();
  auto engine = RawLibrary::create();
  if (!engine.ok()) return std::move(engine).failure();
  auto pair = take_turns(
      kRounds, [&] { return (*vm)->exit_cost(loop.reason, 30_us); },
      [&] { return (*engine)->trap_cost(15'000); });
  if (!pair.ok()) return std::move(pair).failure();
  return Figure{pair->value, "ns", pair->denominator, "raw engine trap (CPUID)", loop.model_bound};
}

// The same trip against the least that a hypervisor on a fiber would pay.
Result<Figure> hosted_trip() {
  auto vm = VmLoop::on_model(LoopKind::cpuid);
  if (!vm.ok()) return std::move(vm).failure();
  auto engine = RawLibrary::create();
  if (!engine.ok()) return std::move(engine).failure();
  auto pair = take_turns(
      kRounds, [&] { return (*vm)->exit_cost(x86::ExitReason::cpuid, 30_us); },
      [&] { return (*engine)->fiber_trip_cost(15'000); });
  if (!pair.ok()) return std::move(pair).failure();
  return Figure{pair->value, "ns", pair->denominator, "raw engine trap to a fiber and back", 1.5};
}

Result<Figure> on_kvm(const ExitLoop& loop) {
  if (loop.kind == LoopKind::cpuid) {
    return fail(ErrorKind::environment, "KVM answers CPUID in the kernel: no exit reaches us");
  }
  if (loop.kind == LoopKind::msr_read) {
    return fail(ErrorKind::environment, "KVM answers this MSR in the kernel unless it is filtered");
  }
  auto vm = VmLoop::on_kvm(loop.kind);
  if (!vm.ok()) return std::move(vm).failure();
  auto bare = BareKvm::create(loop.kind);
  if (!bare.ok()) return std::move(bare).failure();
  auto pair = take_turns(
      kRounds, [&] { return (*vm)->exit_cost(loop.reason, 15_ms); },
      [&] { return (*bare)->exit_cost(1000); });
  if (!pair.ok()) return std::move(pair).failure();
  return Figure{pair->value, "ns", pair->denominator, "bare KVM_RUN loop", kKvmBound};
}

}  // namespace

void add_exit_figures() {
  for (const ExitLoop& loop : kLoops)
    add_figure(std::string("exit.") + loop.name + ".model", [&loop] { return on_model(loop); });
  add_figure("exit.trip.model", hosted_trip);
  for (const ExitLoop& loop : kLoops)
    add_figure(std::string("exit.") + loop.name + ".kvm", [&loop] { return on_kvm(loop); });
}

}  // namespace cupel::bench
