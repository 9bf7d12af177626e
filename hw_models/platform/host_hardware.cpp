#include "hw_models/platform/host_hardware.h"

#include <algorithm>
#include <cassert>

namespace cupel::platform {

HostHardware::HostHardware(HostHardwareConfig config, EventQueue& queue, Trace& trace)
    : config_(std::move(config)), queue_(queue), trace_(trace) {
  assert(config_.id != HostId::none);
}

HostHardware::~HostHardware() = default;

HostNic& HostHardware::add_nic(network::Link::End& wire) {
  nics_.push_back(std::make_unique<HostNic>(*this, wire, config_.nic_ring));
  wire.set_carrier(alive());
  return *nics_.back();
}

HostDisk& HostHardware::add_disk(storage::DiskPort& port) {
  disks_.push_back(std::make_unique<HostDisk>(*this, port));
  return *disks_.back();
}

HostDisk& HostHardware::add_local_disk(storage::LocalDisk& disk) {
  local_disks_.push_back(&disk);
  return add_disk(disk.port());
}

void HostHardware::start_running() {
  if (state_ != PowerState::off) return;
  boot();
  run_software();
}

void HostHardware::power_on() {
  if (state_ != PowerState::off) return;
  boot();
}

void HostHardware::boot() {
  state_ = PowerState::booting;
  trace_.record(config_.name, "host.booting");
  queue_.after(config_.boot_time, [this, session = session_] {
    if (session == session_) run_software();
  });
}

void HostHardware::run_software() {
  if (state_ != PowerState::booting) return;
  state_ = PowerState::running;
  ++boots_;
  trace_.record(config_.name, "host.booted");
  for (auto& nic : nics_) nic->set_powered(true);
  for (auto* listener : listeners_) listener->host_booted();
}

void HostHardware::stop(std::string_view reason) {
  const bool had_software = alive();
  state_ = PowerState::off;
  ++session_;
  for (auto& [id, timer] : timers_) queue_.cancel(timer.event);
  timers_.clear();
  deferred_.clear();
  disarm();
  for (auto& nic : nics_) nic->set_powered(false);
  for (auto& disk : disks_) disk->initiator_lost_power();
  if (!had_software) return;
  for (auto* listener : listeners_) listener->host_stopped(reason);
}

void HostHardware::power_loss(Nanoseconds duration) {
  trace_.record(config_.name, "power.lost");
  stop("power loss");
  for (auto* disk : local_disks_) disk->power_cut(duration);
  if (duration == Nanoseconds::max()) return;
  queue_.after(duration, [this, session = session_] {
    if (session == session_) power_on();
  });
}

void HostHardware::reset(std::string_view reason) {
  if (state_ == PowerState::off) return;
  trace_.record(config_.name, "host.reset", reason);
  stop(reason);
  boot();
}

void HostHardware::hang(Nanoseconds duration) {
  if (!alive()) return;
  trace_.record(config_.name, "processors.hung");
  const Nanoseconds until = duration == Nanoseconds::max() ? duration : now() + duration;
  hung_until_ = state_ == PowerState::hung ? std::max(hung_until_, until) : until;
  if (state_ != PowerState::hung) {
    state_ = PowerState::hung;
    for (auto* listener : listeners_) listener->host_hung();
  }
  if (until == Nanoseconds::max()) return;
  queue_.at(until, [this, session = session_] {
    if (session == session_ && state_ == PowerState::hung && now() >= hung_until_) resume();
  });
}

void HostHardware::resume() {
  state_ = PowerState::running;
  trace_.record(config_.name, "host.resumed");
  // Guests first: a vCPU need not wait for the agent to notice how long the host was away.
  for (auto* listener : listeners_) listener->host_resumed();
  while (running() && !deferred_.empty()) {
    const Action action = std::move(deferred_.front().action);
    deferred_.pop_front();
    action();
  }
}

void HostHardware::nic_link_down(size_t nic, Nanoseconds duration) {
  trace_.record(config_.name, "nic.link_lost", "nic " + std::to_string(nic));
  HostNic& port = *nics_.at(nic);
  port.set_failed(true);
  if (duration == Nanoseconds::max()) return;
  queue_.after(duration, [this, nic] {
    trace_.record(config_.name, "nic.link_restored", "nic " + std::to_string(nic));
    nics_[nic]->set_failed(false);
  });
}

HostTimers::Id HostHardware::after(Nanoseconds delay, Action action) {
  const Id id = next_timer_++;
  const auto event = queue_.after(delay, [this, id] { timer_due(id); });
  timers_.emplace(id, Timer{event, std::move(action)});
  return id;
}

void HostHardware::timer_due(Id id) {
  auto node = timers_.extract(id);
  if (node.empty()) return;
  if (state_ == PowerState::hung) {
    deferred_.push_back({id, std::move(node.mapped().action)});
  } else {
    node.mapped().action();
  }
}

void HostHardware::cancel(Id id) {
  if (const auto it = timers_.find(id); it != timers_.end()) {
    queue_.cancel(it->second.event);
    timers_.erase(it);
    return;
  }
  std::erase_if(deferred_, [&](const Deferred& d) { return d.timer == id; });
}

void HostHardware::deliver(uint64_t session, Action action) {
  if (session != session_ || !alive()) return;
  if (state_ == PowerState::hung) {
    deferred_.push_back({0, std::move(action)});
  } else {
    action();
  }
}

void HostHardware::arm(Nanoseconds timeout) {
  assert(timeout > 0_ns);
  disarm();
  watchdog_ = queue_.after(timeout, [this] {
    watchdog_armed_ = false;
    trace_.record(config_.name, "watchdog.fired");
    reset("watchdog");
  });
  watchdog_armed_ = true;
}

void HostHardware::disarm() {
  if (watchdog_armed_) queue_.cancel(watchdog_);
  watchdog_armed_ = false;
}

}  // namespace cupel::platform
