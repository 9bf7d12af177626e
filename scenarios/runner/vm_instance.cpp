#include "scenarios/runner/vm_instance.h"

#include "scenarios/session/console_session.h"

namespace cupel::scenarios {

Result<std::unique_ptr<VmInstance>> VmInstance::start(Setup setup) {
  std::unique_ptr<VmInstance> made(new VmInstance);
  VmInstance* self = made.get();
  self->name_ = setup.spec.name;
  auto seat = make_seat(setup.backend, setup.spec.memory, setup.clock);
  if (!seat.ok()) return std::move(seat).failure();
  self->seat_ = std::move(seat).value();
  self->disk_ = std::move(setup.disk);

  vm::VmConfig config;
  config.name = setup.spec.name;
  config.platform.tsc_hz = kTscHz;
  if (self->disk_ != nullptr) {
    BlockDevice* device = self->disk_.get();
    if (setup.oracle != nullptr) {
      self->observed_ = std::make_unique<BlockObserver>(*device, *setup.oracle, setup.clock);
      device = self->observed_.get();
    }
    config.disks.push_back(
        {device, {.id = setup.spec.name, .read_only = false, .observer = nullptr}});
  }
  if (setup.port != nullptr) config.nics.push_back({setup.port, setup.spec.nic->mac});
  auto vm = vm::Vm::create(std::move(config), setup.clock, &setup.trace, self->seat_->memory(),
                           self->seat_->host_cpuid(), self->seat_->factory());
  if (!vm.ok()) return std::move(vm).failure();
  self->vm_ = std::move(vm).value();
  self->vm_->set_horizon(std::move(setup.horizon));
  self->vm_->platform().set_serial_sink([self](uint8_t byte) { self->printed(byte); });
  CUPEL_TRY(
      boot_image(*self->vm_, setup.images.kernel, setup.images.initrd, command_line(setup.spec)));
  CUPEL_TRY(self->vm_->start());
  return made;
}

void VmInstance::printed(uint8_t byte) {
  if (console_.size() >= 2 * kConsoleTail) console_.erase(0, kConsoleTail);
  console_.push_back(static_cast<char>(byte));
}

}  // namespace cupel::scenarios
