#include "bench/bare_kvm.h"

#include <cerrno>
#include <cstring>

#include "bench/figure.h"
#include "bench/guest_loop.h"
#include "hypervisor/kvm/cpuid.h"
#include "hypervisor/kvm/exit_counting.h"
#include "hypervisor/kvm/registers.h"

namespace cupel::bench {
namespace {

uint32_t exit_of(LoopKind kind) {
  switch (kind) {
    case LoopKind::mmio:
      return KVM_EXIT_MMIO;
    case LoopKind::hlt:
      return KVM_EXIT_HLT;
    default:
      return KVM_EXIT_IO;
  }
}

}  // namespace

Result<std::unique_ptr<BareKvm>> BareKvm::create(LoopKind kind) {
  std::unique_ptr<BareKvm> bare(new BareKvm);
  bare->expected_ = exit_of(kind);
  auto physical = PhysicalMemory::create(kLoopRam);
  if (!physical.ok()) return std::move(physical).failure();
  bare->physical_ = std::move(physical).value();
  bare->memory_ = std::make_unique<GuestMemory>(*bare->physical_, Hpa(0), kLoopRam);
  auto machine = kvm::VirtualMachine::create(*bare->memory_);
  if (!machine.ok()) return std::move(machine).failure();
  bare->machine_ = std::move(machine).value();
  auto leaves = kvm::supported_leaves(bare->machine_->system());
  if (!leaves.ok()) return std::move(leaves).failure();
  CUPEL_TRY(kvm::set_cpuid(bare->machine_->vcpu(), *leaves));
  const auto start = place_loop(bare->memory_->writable(Gpa(0), kLoopRam), kind);
  CUPEL_TRY(kvm::write_state(*bare->machine_, start, Nanoseconds(0)));
  return bare;
}

Result<void> BareKvm::step() {
  kvm_run* const run = machine_->run();
  int result = 0;
  do {
    result = machine_->vcpu().call(KVM_RUN, 0);
  } while (result != 0 && errno == EINTR);
  if (result != 0) {
    return fail(ErrorKind::environment, std::string("KVM_RUN failed: ") + std::strerror(errno));
  }
  if (run->exit_reason != expected_) {
    return fail(ErrorKind::environment, std::string("the bare KVM_RUN loop left with ") +
                                            kvm::kvm_exit_name(run->exit_reason));
  }
  switch (run->exit_reason) {
    case KVM_EXIT_IO:
      if (run->io.direction == KVM_EXIT_IO_IN)
        *(reinterpret_cast<uint8_t*>(run) + run->io.data_offset) = 0;
      return {};
    case KVM_EXIT_MMIO:
      std::memset(run->mmio.data, 0, sizeof run->mmio.data);
      return {};
    default: {
      kvm_interrupt interrupt{};
      interrupt.irq = kLoopVector;
      return machine_->vcpu().control(KVM_INTERRUPT, "KVM_INTERRUPT", &interrupt);
    }
  }
}

Result<double> BareKvm::exit_cost(unsigned count) {
  const double start = processor_seconds();
  for (unsigned i = 0; i < count; ++i) CUPEL_TRY(step());
  return (processor_seconds() - start) * 1e9 / count;
}

}  // namespace cupel::bench
