// One host's side of one VM's lease on the shared LUN.
//
// Rules (after VMFS on-disk locks and sanlock):
// - The owner renews by changing the record. Others judge it only by whether the record changed
//   while their own clock ran; no clock is ever compared with another host's.
// - A lease may be broken only after a full duration without change. The new owner raises the
//   epoch and preempts the old owner's registration before it may run the VM.
// - Every change is a compare-and-write, so of two takers one wins, and a renewal of a lease that
//   was taken fails.
// - An owner counts from the moment it *issued* its last successful renewal, and gives up by
//   itself at duration - margin, before anybody may break the lease.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "core/host.h"
#include "core/lease_device.h"
#include "core/trace.h"
#include "hypervisor/storage/lease_record.h"
#include "hypervisor/storage/planted_bug.h"

namespace cupel::datastore {

struct LeaseTimings {
  Nanoseconds duration = 8_s;  // without change before others may break the lease
  Nanoseconds renew = 2_s;     // between renewals
  Nanoseconds margin = 3_s;    // the owner stops at duration - margin
  Nanoseconds watchdog = 6_s;  // the host is reset this long after the last renewal
};
// bad_input unless 0 < 2 * renew <= duration - margin < watchdog < duration: one renewal may fail,
// software gives up before hardware does, and hardware before others act.
Result<void> check(const LeaseTimings& timings);

// A host on the LUN: its number and the registration it writes under at the moment.
struct HostIdentity {
  HostId id = HostId::none;
  ReservationKey key = ReservationKey::none;
  std::string name;  // source in the trace
};

// Asked before every request of a VM's disk.
class Ownership {
 public:
  virtual ~Ownership() = default;
  virtual bool owns(uint64_t epoch) const = 0;
};

class Lease : public Ownership {
 public:
  struct Setup {
    LeaseDevice& lun;
    HostTimers& timers;
    Trace& trace;
    const HostIdentity& self;  // the key may change while no lease is held
    LeaseTimings timings;
    PlantedBug bug = PlantedBug::none;
  };
  using Settled = std::function<void(bool ok)>;
  using Lost = std::function<void(BlockStatus why)>;

  // `lost` is told once for each loss of a held lease: fenced, or io_error for "not renewed in
  // time". The VM must be stopped inside it.
  Lease(const Setup& setup, Lba record_at, VmId vm, std::string vm_name, Lost lost);
  ~Lease() override;
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  // Each starts one operation and is refused (returns false) while another is under way.
  bool poll(Settled done);
  // Needs an observed record; the caller has found that it may be taken.
  bool take_over(Settled done);
  // Needs a held lease.
  bool renew(Settled done);
  // Writes `to` over the observed record of a lease that was abandoned.
  bool release(LeaseState to, Settled done);
  // Gives the lease up in memory at once, without telling `lost` or the operation under way; the
  // record stays.
  void abandon();

  bool held() const { return held_; }
  bool busy() const { return busy_; }
  bool owns(uint64_t epoch) const override;
  uint64_t epoch() const { return mine_.epoch; }
  // When the last successful change was issued; meaningful while held.
  Nanoseconds renewed_at() const { return renewed_at_; }

  // The record as last read or written; nothing when it is unreadable.
  const std::optional<LeaseRecord>& observed() const { return observed_; }
  // Owned, and unchanged for the full duration by this host's clock.
  bool expired() const;
  // The last poll was refused: this host's registration is gone.
  bool shut_out() const { return shut_out_; }

  VmId vm() const { return vm_; }
  const std::string& vm_name() const { return vm_name_; }

 private:
  // Starts an operation; completions of an operation that was given up are ignored.
  uint64_t begin();
  void end(bool ok);
  template <class Reply>
  std::function<void(Reply)> guarded(uint64_t operation, std::function<void(Reply)> handler);

  void read_record(std::function<void(BlockReply)> handler);
  void saw(const LeaseSector& sector);
  void fence(ReservationKey victim, std::function<void(BlockStatus)> handler);
  void write_take_over();
  void taken_over(const LeaseRecord& record, Nanoseconds issued, CompareReply reply);
  void fence_previous_owner();
  void now_held();
  void write_renewal();
  void renewed(const LeaseRecord& record, Nanoseconds issued, CompareReply reply);
  void confirm_ownership();
  void lose(BlockStatus why);
  void watch_deadline();
  void note(std::string_view what, const std::string& detail = {});
  Nanoseconds deadline() const;

  LeaseDevice& lun_;
  HostTimers& timers_;
  Trace& trace_;
  const HostIdentity& self_;
  LeaseTimings timings_;
  PlantedBug bug_;
  Lba at_;
  VmId vm_;
  std::string vm_name_;
  Lost lost_;

  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
  bool busy_ = false;
  uint64_t operation_ = 0;
  Settled settled_;

  LeaseSector raw_{};
  bool seen_ = false;
  bool shut_out_ = false;
  std::optional<LeaseRecord> observed_;
  Nanoseconds first_seen_;

  bool held_ = false;
  bool renewal_failing_ = false;
  LeaseRecord mine_;  // while held: what the record should say
  Nanoseconds renewed_at_;
  HostTimers::Id deadline_timer_ = 0;
};

}  // namespace cupel::datastore
