// A LUN of a disk array with one port per host, and the failures it is subject to.
//
// Fault contract. It may fail commands (rules), answer slowly, stop answering (power cut: commands
// in flight and new ones end in io_error after the transport timeout), be lost for a time or for
// good (device_lost; commands in service have no effect), lose one port's path (io_error after the
// timeout; a command in service still takes effect, only its reply is lost) or hold one port's
// commands up on their way. It completes out of order. After a power cut or a loss it has torn or
// lost only what Medium allows, and when it may have lost writes, the first flush from each port
// ends in io_error, so that nobody takes lost writes for flushed ones. It
// never applies a command of an initiator that was preempted before the effect, never starts one of
// an initiator that has lost power, never runs a completion twice or inside submit, and applies
// compare-and-write in one step, durably.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/event_queue.h"
#include "core/host.h"
#include "core/lease_device.h"
#include "core/trace.h"
#include "hw_models/storage/disk_faults.h"
#include "hw_models/storage/medium.h"

namespace cupel::storage {

struct SharedDiskConfig {
  std::string name = "disk/shared";  // source in the trace; also names the random streams
  uint64_t sectors = 0;              // > 0
  CachePolicy cache = CachePolicy::stable_cache;
  // Service time = latency + sectors * per_sector + uniform(0, jitter); defaults: a flash array.
  Nanoseconds latency = 200_us;
  Nanoseconds per_sector = 1280_ns;
  Nanoseconds jitter = 100_us;
  unsigned concurrency = 8;                // commands in service at once, > 0
  Nanoseconds transport_timeout = 500_ms;  // until an initiator gives up on a silent path
};

class DiskPort;

class SharedDisk {
 public:
  // Sees every write at the moment it takes effect: the seam of the oracles.
  using WriteObserver = std::function<void(HostId, Lba, std::span<const std::byte>)>;

  SharedDisk(SharedDiskConfig config, EventQueue& queue, const RandomSource& random, Trace& trace);
  ~SharedDisk();

  // The disk owns the port; it lives as long as the disk.
  DiskPort& add_port(HostId owner);
  DiskPort* port(HostId owner);

  DiskFaults& faults() { return faults_; }
  // Gone for `duration` with its volatile cache; Nanoseconds::max(): for good.
  void lose_device(Nanoseconds duration = Nanoseconds::max());
  bool lost() const { return lost_; }
  // Power is back after `duration`; Nanoseconds::max(): never.
  void power_cut(Nanoseconds duration);
  bool powered() const { return powered_; }

  // Access outside of virtual time, for images and oracles.
  Medium& medium() { return medium_; }
  const Medium& medium() const { return medium_; }
  void set_write_observer(WriteObserver observer) { observer_ = std::move(observer); }
  uint64_t sectors() const { return config_.sectors; }

 private:
  friend class DiskPort;
  enum class Kind : uint8_t { read, write, flush, compare_and_write, register_key, preempt };
  struct Outcome {
    BlockStatus status = BlockStatus::ok;
    bool matched = false;
    std::vector<std::byte> data{};
  };
  struct Command {
    Kind kind = Kind::read;
    DiskPort* port = nullptr;
    uint64_t session = 0;     // of the initiator: changes when its host loses power
    uint64_t generation = 0;  // of the registration it was issued under
    Lba lba{0};
    uint32_t sectors = 0;
    bool fua = false;
    std::vector<std::byte> data;
    std::vector<std::byte> expected;
    ReservationKey key = ReservationKey::none;
    std::function<void(Outcome)> done;
  };
  struct InService {
    Command command;
    EventQueue::Id finish;
  };

  void submit(Command command);
  void arrive(Command command);
  void start_more();
  void finish(uint64_t id);
  Outcome apply(Command& command);
  Outcome apply_io(Command& command);
  Outcome compare_and_write(Command& command);
  void apply_register(const Command& command);
  void apply_preempt(const Command& command);
  bool shut_out(const Command& command) const;
  void reply(Command command, Outcome outcome);
  void reply_later(Command command, BlockStatus status, Nanoseconds delay);
  void observe(const Command& command) const;
  void lose_cache();

  SharedDiskConfig config_;
  EventQueue& queue_;
  Trace& trace_;
  RandomStream jitter_;
  RandomStream power_;
  DiskFaults faults_;
  Medium medium_;
  WriteObserver observer_;
  std::vector<std::unique_ptr<DiskPort>> ports_;
  std::deque<Command> waiting_;
  std::map<uint64_t, InService> in_service_;
  uint64_t next_id_ = 0;
  bool powered_ = true;
  bool lost_ = false;
  Nanoseconds lost_until_;
  bool reserved_ = false;  // from the first registration on: registrants only
};

// One host's way to the LUN. While any initiator is registered, those that are not get `fenced`
// for everything but registration (SPC-4 Exclusive Access, Registrants Only).
class DiskPort : public LeaseDevice {
 public:
  DiskPort(SharedDisk& disk, HostId owner) : disk_(disk), owner_(owner) {}

  uint64_t sectors() const override { return disk_.sectors(); }
  void submit(BlockRequest request, Completion done) override;
  void compare_and_write(Lba lba, Sector expected, Sector replacement,
                         CompareCompletion done) override;
  void register_key(ReservationKey key, StatusCompletion done) override;
  void preempt(ReservationKey victim, StatusCompletion done) override;

  HostId owner() const { return owner_; }
  ReservationKey key() const { return key_; }
  // The host behind this port lost power or was reset: what has not started is dropped.
  void initiator_lost_power() { ++session_; }

  // Faults of the path.
  void set_path(bool up);
  bool path_up() const { return path_up_; }
  // Commands issued until then take `delay` longer to reach the array.
  void delay_path(Nanoseconds delay, Nanoseconds until);

 private:
  friend class SharedDisk;
  SharedDisk::Command command(SharedDisk::Kind kind);

  SharedDisk& disk_;
  HostId owner_;
  ReservationKey key_ = ReservationKey::none;
  uint64_t generation_ = 0;
  uint64_t session_ = 0;
  bool path_up_ = true;
  bool cache_was_lost_ = false;  // to be told at the next flush
  Nanoseconds delay_;
  Nanoseconds delay_until_;
};

}  // namespace cupel::storage
