#include "bench/vm_loop.h"

#include <algorithm>

#include "bench/figure.h"
#include "bench/guest_loop.h"

namespace cupel::bench {

using scenarios::BackendKind;

Result<std::unique_ptr<VmLoop>> VmLoop::on_model(LoopKind kind) {
  return create(BackendKind::model, kind);
}
Result<std::unique_ptr<VmLoop>> VmLoop::on_kvm(LoopKind kind) {
  return create(BackendKind::kvm, kind);
}

Result<std::unique_ptr<VmLoop>> VmLoop::create(BackendKind backend, LoopKind kind) {
  std::unique_ptr<VmLoop> loop(new VmLoop);
  auto seat = scenarios::make_seat(backend, kLoopRam, loop->clock_);
  if (!seat.ok()) return std::move(seat).failure();
  loop->seat_ = std::move(seat).value();
  vm::VmConfig config;
  config.name = "loop";
  config.platform.tsc_hz = scenarios::kTscHz;
  config.console = true;  // its registers are what the MMIO loop reads
  auto vm = vm::Vm::create(std::move(config), loop->clock_, nullptr, loop->seat_->memory(),
                           loop->seat_->host_cpuid(), loop->seat_->factory());
  if (!vm.ok()) return std::move(vm).failure();
  loop->vm_ = std::move(vm).value();
  loop->enable_memory_decoding();
  if (kind == LoopKind::hlt) loop->raise_interrupt();
  const auto start = place_loop(loop->seat_->memory().writable(Gpa(0), kLoopRam), kind);
  CUPEL_TRY(loop->vm_->boot_at(start));
  CUPEL_TRY(loop->vm_->start());
  return loop;
}

// The two below do what the guest's drivers would, so that the loops hold nothing else.

// PCI slot 1, Command register: memory space on.
void VmLoop::enable_memory_decoding() {
  vm_->platform().port_out(0xcf8, 4, 1u << 31 | 1u << 11 | 4);
  vm_->platform().port_out(0xcfc, 2, 2);
}

// 8259: vectors from 0x20, automatic end of interrupt, IRQ 4 level-triggered and alone. The
// transmitter of the 16550 is empty and says so for ever: HLT always ends at once.
void VmLoop::raise_interrupt() {
  const auto out = [&](uint16_t port, uint8_t value) { vm_->platform().port_out(port, 1, value); };
  out(0x20, 0x11);
  out(0x21, kLoopVector - 4);
  out(0x21, 0x04);
  out(0x21, 0x03);
  out(0x21, static_cast<uint8_t>(~(1 << 4)));
  out(0x4d0, 1 << 4);
  out(0x3f9, 0x02);
  out(0x3fc, 0x08);
}

Result<void> VmLoop::run(Nanoseconds slice) {
  const auto status = vm_->run_until(clock_.now() + slice);
  if (status.state == vm::VmState::running) return {};
  return fail(ErrorKind::guest, "the guest ended: " + vm_->crash().message);
}

Result<double> VmLoop::exit_cost(x86::ExitReason reason, Nanoseconds slice) {
  const auto before = vm_->vcpu().exits();
  const double start = processor_seconds();
  CUPEL_TRY(run(slice));
  const double elapsed = processor_seconds() - start;
  const auto& after = vm_->vcpu().exits();
  const auto index = static_cast<size_t>(reason);
  const double wanted = static_cast<double>(after.by_reason[index] - before.by_reason[index]);
  const double all = static_cast<double>(after.total - before.total);
  if (wanted < 20 || all - wanted > std::max(wanted / 20, 3.0)) {
    return fail(ErrorKind::internal, "only " + std::to_string(wanted) + " of " +
                                         std::to_string(all) + " exits were " + to_string(reason));
  }
  return elapsed * 1e9 / wanted;
}

}  // namespace cupel::bench
