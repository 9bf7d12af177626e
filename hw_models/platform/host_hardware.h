// A physical host as the hypervisor sees its hardware: power, processors, watchdog, NICs, disks.
//
// Fault contract. It may lose power (for a time or for ever), hang (the processors make no progress
// while disks, network and watchdog go on) and lose the link of a NIC. What the processors owed
// during a hang is made up for when it ends, in order; frames beyond the NIC's ring are lost. With
// power or by reset everything in memory is gone: timers, completions, receivers. The watchdog is
// never late and never fires unarmed. Nothing runs on a host that is off, booting or hung.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/event_queue.h"
#include "core/host.h"
#include "core/trace.h"
#include "hw_models/platform/host_disk.h"
#include "hw_models/platform/host_nic.h"
#include "hw_models/storage/local_disk.h"

namespace cupel::platform {

struct HostHardwareConfig {
  std::string name = "host";  // source in the trace
  HostId id{1};
  Nanoseconds boot_time = 60_s;  // from power on or reset to running software
  size_t nic_ring = 256;         // frames a NIC keeps while the processors hang
};

enum class PowerState : uint8_t { off, booting, running, hung };

// Told from the event queue, never from inside a call of the software on the host, except that
// it may be told of what it asked for itself (reset).
class HostListener {
 public:
  virtual ~HostListener() = default;
  // Power or state was lost; the software on this host no longer exists.
  virtual void host_stopped(std::string_view reason) = 0;
  virtual void host_hung() {}
  virtual void host_resumed() {}
  // The software may start, with nothing but its disks to remember by.
  virtual void host_booted() = 0;
};

class HostHardware : public HostTimers, public Watchdog {
 public:
  HostHardware(HostHardwareConfig config, EventQueue& queue, Trace& trace);
  HostHardware(const HostHardware&) = delete;
  HostHardware& operator=(const HostHardware&) = delete;
  ~HostHardware() override;

  HostId id() const { return config_.id; }
  const std::string& name() const { return config_.name; }
  PowerState state() const { return state_; }
  bool running() const { return state_ == PowerState::running; }
  // Hung software has not ended: it would go on from where it stands.
  bool alive() const { return running() || state_ == PowerState::hung; }
  // Counts starts of the software; a hypervisor derives unique keys from it.
  uint32_t boots() const { return boots_; }

  // The listener must outlive the host.
  void add_listener(HostListener& listener) { listeners_.push_back(&listener); }
  // The host owns what it returns; link ends and disks must outlive it.
  HostNic& add_nic(network::Link::End& wire);
  HostDisk& add_disk(storage::DiskPort& port);
  HostDisk& add_local_disk(storage::LocalDisk& disk);
  HostNic& nic(size_t index) { return *nics_.at(index); }

  // Running from now on, as if it had booted long ago.
  void start_running();
  void power_on();
  // Nanoseconds::max(): for ever.
  void power_loss(Nanoseconds duration);
  void hang(Nanoseconds duration);
  void reset(std::string_view reason);
  void nic_link_down(size_t nic, Nanoseconds duration);

  // HostTimers
  Nanoseconds now() const override { return queue_.now(); }
  Id after(Nanoseconds delay, Action action) override;
  void cancel(Id id) override;
  // Watchdog
  void arm(Nanoseconds timeout) override;
  void disarm() override;

  // For the devices of this host: runs `action` on its processors, now, or after a hang, or never
  // when the software that started in `session` is gone.
  void deliver(uint64_t session, Action action);
  uint64_t session() const { return session_; }

 private:
  struct Deferred {
    Id timer;  // 0: a delivery
    Action action;
  };
  void stop(std::string_view reason);
  void boot();
  void run_software();
  void resume();
  void timer_due(Id id);

  HostHardwareConfig config_;
  EventQueue& queue_;
  Trace& trace_;
  std::vector<HostListener*> listeners_;
  std::vector<std::unique_ptr<HostNic>> nics_;
  std::vector<std::unique_ptr<HostDisk>> disks_;
  std::vector<storage::LocalDisk*> local_disks_;
  PowerState state_ = PowerState::off;
  uint32_t boots_ = 0;
  uint64_t session_ = 0;  // of the software; changes whenever it stops
  Nanoseconds hung_until_;
  Id next_timer_ = 1;
  struct Timer {
    EventQueue::Id event;
    Action action;
  };
  std::map<Id, Timer> timers_;
  std::deque<Deferred> deferred_;
  EventQueue::Id watchdog_{};
  bool watchdog_armed_ = false;
};

}  // namespace cupel::platform
