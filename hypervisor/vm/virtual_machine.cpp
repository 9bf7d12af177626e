#include "hypervisor/vm/virtual_machine.h"

#include <algorithm>

namespace cupel::vm {

std::string_view to_string(VmState state) {
  switch (state) {
    case VmState::created:
      return "created";
    case VmState::running:
      return "running";
    case VmState::paused:
      return "paused";
    case VmState::stopped:
      return "stopped";
    case VmState::crashed:
      return "crashed";
  }
  return "unknown";
}

Vm::Vm(VmConfig config, VirtualClock& clock, Trace* trace, GuestMemory& memory)
    : config_(std::move(config)), clock_(clock), trace_(trace), memory_(memory) {}

Vm::~Vm() { memory_.set_write_observer({}); }

Result<std::unique_ptr<Vm>> Vm::create(VmConfig config, VirtualClock& clock, Trace* trace,
                                       GuestMemory& memory, const x86::CpuidTable& host,
                                       const VcpuFactory& factory) {
  std::unique_ptr<Vm> vm(new Vm(std::move(config), clock, trace, memory));
  auto platform = devices::PcPlatform::create(clock, memory, host, vm->config_.platform);
  if (!platform) return std::move(platform).failure();
  vm->platform_ = std::move(*platform);
  vm->platform_->set_broken_observer(
      [raw = vm.get()](const std::string& why) { raw->record("virtio.needs_reset", why); });
  CUPEL_TRY(vm->add_devices());
  auto vcpu = factory(memory, *vm->platform_);
  if (!vcpu) return std::move(vcpu).failure();
  vm->vcpu_ = std::move(*vcpu);
  memory.set_write_observer(
      [cpu = vm->vcpu_.get()](Gpa at, uint64_t length) { cpu->memory_changed(at, length); });
  vm->record("vm.create", std::to_string(memory.size() >> 20) + " MiB");
  return vm;
}

Result<void> Vm::add_devices() {
  for (const DiskConfig& d : config_.disks) {
    if (auto added = platform_->add_disk(*d.device, d.options); !added)
      return std::move(added).failure();
  }
  for (const NicConfig& n : config_.nics) {
    if (auto added = platform_->add_nic(*n.port, n.mac); !added) return std::move(added).failure();
  }
  if (config_.console) {
    if (auto added = platform_->add_console(); !added) return std::move(added).failure();
  }
  return {};
}

Result<void> Vm::boot_linux(const boot::LinuxImage& image) {
  CUPEL_TRY(expect(VmState::created, "load a kernel into"));
  auto entry = boot::load_linux(image, memory_);
  if (!entry) return std::move(entry).failure();
  return boot_at(*entry);
}

Result<void> Vm::boot_pvh(const boot::PvhImage& image) {
  CUPEL_TRY(expect(VmState::created, "load an image into"));
  auto entry = boot::load_pvh(image, memory_);
  if (!entry) return std::move(entry).failure();
  return boot_at(*entry);
}

Result<void> Vm::boot_at(const x86::CpuState& state) {
  CUPEL_TRY(expect(VmState::created, "set the entry point of"));
  CUPEL_TRY(vcpu_->set_state(state));
  bootable_ = true;
  return {};
}

Result<void> Vm::start() {
  CUPEL_TRY(expect(VmState::created, "start"));
  if (!bootable_)
    return fail(ErrorKind::bad_input,
                "cannot start VM '" + name() + "': nothing to boot was loaded",
                "load a kernel or an image first");
  enter(VmState::running, "vm.start");
  return {};
}

Result<void> Vm::pause() {
  CUPEL_TRY(expect(VmState::running, "pause"));
  enter(VmState::paused, "vm.pause");
  return {};
}

Result<void> Vm::resume() {
  CUPEL_TRY(expect(VmState::paused, "resume"));
  enter(VmState::running, "vm.resume");
  return {};
}

Result<void> Vm::stop() {
  if (state_ == VmState::stopped || state_ == VmState::crashed)
    return expect(VmState::running, "stop");
  enter(VmState::stopped, "vm.stop", "by the host");
  return {};
}

void Vm::set_horizon(Horizon horizon, HorizonUse use) {
  platform_->set_horizon(use == HorizonUse::always ? horizon : Horizon());
  horizon_ = std::move(horizon);
}

VmStatus Vm::run_until(Nanoseconds until) {
  platform_->begin_slice(clock_.now());
  while (state_ == VmState::running && clock_.now() < until && !platform_->slice_ended()) {
    idle_ = false;
    Stop stop = vcpu_->run(until);
    switch (stop.reason) {
      case StopReason::deadline:
        break;
      case StopReason::halted: {
        // The vCPU had nothing it could take at this time: only a timer can change that, or an
        // event outside the VM.
        platform_->advance(clock_.now());
        idle_ = true;
        if (horizon_ && horizon_() < until) until = std::max(horizon_(), clock_.now());
        clock_.advance_to(std::min(until, platform_->next_deadline()));
        platform_->advance(clock_.now());
        break;
      }
      case StopReason::stop_request:
        if (platform_->exit_request().kind == chips::ExitRequest::Kind::none) break;
        enter(VmState::stopped, "vm.exit", to_string(platform_->exit_request()));
        break;
      case StopReason::triple_fault:
      case StopReason::error:
        crash_ = std::move(stop.error);
        enter(VmState::crashed, "vm.crash", crash_.message);
        break;
    }
  }
  return status();
}

VmStatus Vm::status() const {
  const bool idle = idle_ && state_ == VmState::running;
  return {state_, idle, idle ? platform_->next_timer() : clock_.now()};
}

Result<void> Vm::expect(VmState wanted, std::string_view action) const {
  if (state_ == wanted) return {};
  return fail(ErrorKind::bad_input, "cannot " + std::string(action) + " VM '" + config_.name +
                                        "': it is " + std::string(to_string(state_)) + ", not " +
                                        std::string(to_string(wanted)));
}

void Vm::enter(VmState state, std::string_view what, std::string_view detail) {
  state_ = state;
  if (trace_ != nullptr) trace_->mix("vm.exits", vcpu_->exits().total);
  record(what, detail);
}

void Vm::record(std::string_view what, std::string_view detail) {
  if (trace_ != nullptr) trace_->record("vm/" + config_.name, what, detail);
}

Result<void> Vm::save_state(ArchiveWriter& out) {
  CUPEL_TRY(expect(VmState::paused, "save"));
  out.section("vm", 1);
  out.put(clock_.now());
  platform_->save(out);
  vcpu_->save(out);
  return {};
}

Result<void> Vm::restore_state(ArchiveReader& in) {
  if (state_ != VmState::created) CUPEL_TRY(expect(VmState::paused, "restore"));
  in.section("vm", 1);
  const auto saved_at = in.get<Nanoseconds>();
  if (in.ok() && saved_at > clock_.now())
    in.note("virtual time stands before that of the snapshot");
  CUPEL_TRY(in.finish());
  vcpu_->memory_changed(Gpa(0), memory_.size());
  CUPEL_TRY(platform_->restore(in));
  CUPEL_TRY(vcpu_->restore(in));
  bootable_ = true;
  idle_ = false;
  enter(VmState::paused, "vm.restore");
  return in.finish();
}

Result<Vm::Snapshot> Vm::snapshot() {
  ArchiveWriter out;
  CUPEL_TRY(save_state(out));
  auto copied = memory_.host().take_snapshot();
  if (!copied) return std::move(copied).failure();
  record("vm.snapshot", {});
  return Snapshot{out.take(), copied->pages_copied};
}

Result<void> Vm::restore(const Snapshot& snapshot) {
  if (state_ != VmState::created) CUPEL_TRY(expect(VmState::paused, "restore"));
  CUPEL_TRY(memory_.host().restore_snapshot());
  ArchiveReader in(snapshot.state);
  return restore_state(in);
}

}  // namespace cupel::vm
