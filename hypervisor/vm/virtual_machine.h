// A virtual machine with one vCPU: configuration, life cycle, running in slices, snapshots.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/boot/linux_boot.h"
#include "core/boot/pvh_boot.h"
#include "core/trace.h"
#include "core/x86/cpuid.h"
#include "hypervisor/devices/pc_platform.h"
#include "hypervisor/vm/vcpu.h"

namespace cupel::vm {

struct DiskConfig {
  BlockDevice* device = nullptr;  // borrowed
  devices::VirtioBlock::Options options = {};
};
struct NicConfig {
  NetPort* port = nullptr;  // borrowed
  MacAddress mac{};
};
struct VmConfig {
  std::string name = {};
  devices::PcConfig platform = {};
  std::vector<DiskConfig> disks = {};  // PCI slots in this order: disks, NICs, console
  std::vector<NicConfig> nics = {};
  bool console = false;  // virtio console beside the serial port
};

using VcpuFactory =
    std::function<Result<std::unique_ptr<Vcpu>>(GuestMemory& memory, GuestPlatform& platform)>;

enum class VmState : uint8_t {
  created,  // built, never started
  running,
  paused,
  stopped,  // ended by the guest (exit_request()) or by stop(); for good
  crashed,  // ended by a fault (crash()); for good
};
std::string_view to_string(VmState state);

struct VmStatus {
  VmState state = VmState::created;
  // The guest stood in HLT when the slice ended. wake_at: its next timer, Nanoseconds::max() if
  // only a device can wake it.
  bool idle = false;
  Nanoseconds wake_at;
};

// Legal moves: created -> running -> paused -> running; running -> stopped or crashed by itself;
// any but an ended one -> stopped by stop(). Everything else is refused with bad_input.
//
// A paused VM executes nothing, but the world goes on: completions of its disks and frames still
// reach its memory, as they do on a machine whose processor is held.
class Vm {
 public:
  // clock and memory are borrowed; trace too, and may be null. `host`: CPUID of the processor that
  // will run the guest. Errors: bad_input by the configuration, and whatever the factory returns.
  static Result<std::unique_ptr<Vm>> create(VmConfig config, VirtualClock& clock, Trace* trace,
                                            GuestMemory& memory, const x86::CpuidTable& host,
                                            const VcpuFactory& factory);
  ~Vm();

  // One of these before start(). Errors: bad_input by the image.
  Result<void> boot_linux(const boot::LinuxImage& image);
  Result<void> boot_pvh(const boot::PvhImage& image);
  Result<void> boot_at(const x86::CpuState& state);

  Result<void> start();
  Result<void> pause();
  Result<void> resume();
  Result<void> stop();

  // Runs the guest from clock.now() up to `until`, or until it ends; time that it spends in HLT is
  // skipped. A VM that is not running returns at once. May return earlier, still running: see
  // set_horizon().
  VmStatus run_until(Nanoseconds until);
  // `horizon` tells the time of the next event outside the VM, Nanoseconds::max() for none.
  // idle: a guest that sleeps does not sleep past it, so that a completion of its own request,
  // scheduled inside the slice, finds it asleep at that time. always: a busy guest stops there too,
  // which is exact, and needs a scheduler that goes on from where each VM stopped.
  using Horizon = devices::PcPlatform::Horizon;
  enum class HorizonUse : uint8_t { idle, always };
  void set_horizon(Horizon horizon, HorizonUse use = HorizonUse::idle);

  VmState state() const { return state_; }
  const std::string& name() const { return config_.name; }
  const chips::ExitRequest& exit_request() const { return platform_->exit_request(); }
  const Error& crash() const { return crash_; }  // meaningful when crashed
  devices::PcPlatform& platform() { return *platform_; }
  Vcpu& vcpu() { return *vcpu_; }
  GuestMemory& memory() { return memory_; }

  // State of vCPU, chips and devices without RAM; the VM must be paused. Disk requests in flight
  // are recorded, not waited for, and submitted again by restore_state(). For a consistent pair,
  // RAM is copied at the same virtual time.
  Result<void> save_state(ArchiveWriter& out);
  // Into a VM of the same configuration that is created or paused, with RAM restored before; it is
  // paused afterwards. Virtual time must not be before that of the snapshot: the guest sees the
  // difference as time that passed. After an error the VM is good for stop() only.
  Result<void> restore_state(ArchiveReader& in);

  // The same with RAM, by the snapshot of the host memory behind it: for a VM that has that memory
  // for itself. Only the last snapshot can be restored.
  struct Snapshot {
    std::vector<std::byte> state;
    uint64_t pages_copied = 0;
  };
  Result<Snapshot> snapshot();
  Result<void> restore(const Snapshot& snapshot);

 private:
  Vm(VmConfig config, VirtualClock& clock, Trace* trace, GuestMemory& memory);
  Result<void> add_devices();
  Result<void> expect(VmState wanted, std::string_view action) const;
  void enter(VmState state, std::string_view what, std::string_view detail = {});
  void record(std::string_view what, std::string_view detail);
  VmStatus status() const;

  VmConfig config_;
  VirtualClock& clock_;
  Trace* trace_;
  GuestMemory& memory_;
  std::unique_ptr<devices::PcPlatform> platform_;
  std::unique_ptr<Vcpu> vcpu_;  // after the platform, which it refers to
  VmState state_ = VmState::created;
  bool bootable_ = false;
  bool idle_ = false;
  Horizon horizon_;
  Error crash_;
};

}  // namespace cupel::vm
