// One run of a VM on one host: seat, virtual machine, the way to its disk, its network card.
#pragma once

#include <memory>
#include <string>

#include "core/block_device.h"
#include "core/net_port.h"
#include "core/trace.h"
#include "hypervisor/vm/virtual_machine.h"
#include "scenarios/backend/seat.h"
#include "scenarios/language/scenario.h"
#include "scenarios/oracles/block_observer.h"
#include "scenarios/oracles/single_instance.h"
#include "scenarios/runner/guest_assets.h"

namespace cupel::scenarios {

// Dies as one with its host's power: nothing of it calls back afterwards.
class VmInstance {
 public:
  struct Setup {
    const VmSpec& spec;
    BackendKind backend;
    const GuestImages& images;
    VirtualClock& clock;
    Trace& trace;
    std::unique_ptr<BlockDevice> disk;          // may be null
    NoAcknowledgedWriteLost* oracle = nullptr;  // watches the disk
    NetPort* port = nullptr;                    // may be null
    std::function<Nanoseconds()> horizon;       // time of the next event outside the VM
  };
  // Builds and starts it. Errors: bad_input (images, sizes), environment.
  static Result<std::unique_ptr<VmInstance>> start(Setup setup);

  vm::VmStatus run_until(Nanoseconds until) { return vm_->run_until(until); }
  const std::string& name() const { return name_; }
  vm::Vm& vm() { return *vm_; }
  Seat& seat() { return *seat_; }
  // Console output, for reports; the tail only.
  const std::string& console() const { return console_; }
  SingleInstance::InstanceId id = 0;

 private:
  VmInstance() = default;
  void printed(uint8_t byte);

  static constexpr size_t kConsoleTail = 16384;
  std::string name_;
  std::unique_ptr<BlockDevice> disk_;
  std::unique_ptr<BlockObserver> observed_;
  std::unique_ptr<Seat> seat_;
  std::unique_ptr<vm::Vm> vm_;
  std::string console_;
};

}  // namespace cupel::scenarios
