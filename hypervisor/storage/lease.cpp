#include "hypervisor/storage/lease.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "core/probe.h"

namespace cupel::datastore {

Result<void> check(const LeaseTimings& t) {
  const auto bad = [](const char* rule) {
    return fail(ErrorKind::bad_input, std::string("lease timings: ") + rule,
                "keep 0 < 2 * renew <= duration - margin < watchdog < duration");
  };
  if (t.renew <= 0_ns || t.margin <= 0_ns) return bad("renew and margin must be positive");
  if (t.renew * 2 > t.duration - t.margin) return bad("no renewal may be missed");
  if (t.duration - t.margin >= t.watchdog) return bad("the watchdog fires before self-fencing");
  if (t.watchdog >= t.duration) return bad("the watchdog fires after the lease may be broken");
  return {};
}

Lease::Lease(const Setup& setup, Lba record_at, VmId vm, std::string vm_name, Lost lost)
    : lun_(setup.lun),
      timers_(setup.timers),
      trace_(setup.trace),
      self_(setup.self),
      timings_(setup.timings),
      bug_(setup.bug),
      at_(record_at),
      vm_(vm),
      vm_name_(std::move(vm_name)),
      lost_(std::move(lost)) {}

Lease::~Lease() { timers_.cancel(deadline_timer_); }

// ---- operations ----

uint64_t Lease::begin() {
  busy_ = true;
  return ++operation_;
}

void Lease::end(bool ok) {
  busy_ = false;
  if (const Settled settled = std::exchange(settled_, nullptr)) settled(ok);
}

template <class Reply>
std::function<void(Reply)> Lease::guarded(uint64_t operation, std::function<void(Reply)> handler) {
  return [this, operation, handler = std::move(handler),
          alive = std::weak_ptr<int>(alive_)](Reply reply) {
    if (!alive.expired() && operation == operation_) handler(std::move(reply));
  };
}

void Lease::read_record(std::function<void(BlockReply)> handler) {
  BlockRequest request;
  request.op = BlockOp::read;
  request.lba = at_;
  request.sectors = 1;
  lun_.submit(std::move(request), guarded<BlockReply>(operation_, std::move(handler)));
}

// ---- observing ----

bool Lease::poll(Settled done) {
  if (busy_) return false;
  begin();
  settled_ = std::move(done);
  read_record([this](BlockReply reply) {
    const bool ok = reply.status == BlockStatus::ok && reply.data.size() == kSectorSize;
    shut_out_ = reply.status == BlockStatus::fenced;
    if (ok) {
      LeaseSector sector;
      std::ranges::copy(reply.data, sector.begin());
      saw(sector);
    }
    end(ok);
  });
  return true;
}

void Lease::saw(const LeaseSector& sector) {
  if (seen_ && sector == raw_) return;
  seen_ = true;
  raw_ = sector;
  first_seen_ = timers_.now();
  auto record = decode_lease(sector);
  if (!record.ok()) {
    CUPEL_PROBE("lease.corrupt");
    observed_.reset();
    note("lease.corrupt", record.error().message);
  } else if (record->vm != vm_) {
    observed_.reset();
    note("lease.corrupt", "record of another VM");
  } else {
    observed_ = *record;
  }
}

bool Lease::expired() const {
  if (!observed_ || !observed_->owned()) return false;
  const Nanoseconds wait =
      bug_ == PlantedBug::break_lease_early ? timings_.duration / 4 : timings_.duration;
  return timers_.now() - first_seen_ >= wait;
}

// ---- taking over ----

bool Lease::take_over(Settled done) {
  if (busy_ || held_ || !observed_) return false;
  begin();
  settled_ = std::move(done);
  // The owner we follow died while taking over: whom it had still to shut out, we shut out first.
  const bool unfinished = observed_->state == LeaseState::fencing &&
                          observed_->previous_key != ReservationKey::none &&
                          observed_->previous_key != self_.key;
  if (!unfinished || bug_ == PlantedBug::skip_fencing) {
    write_take_over();
    return true;
  }
  CUPEL_PROBE("lease.finish_fencing_of_dead_taker");
  fence(observed_->previous_key, [this](BlockStatus status) {
    if (status == BlockStatus::ok) {
      write_take_over();
    } else {
      end(false);
    }
  });
  return true;
}

void Lease::write_take_over() {
  const LeaseRecord& old = *observed_;
  LeaseRecord record = old;
  record.owner = self_.id;
  record.owner_key = self_.key;
  ++record.epoch;
  ++record.counter;
  const bool must_fence =
      old.owned() && old.owner_key != self_.key && bug_ != PlantedBug::skip_fencing;
  record.state = must_fence ? LeaseState::fencing : LeaseState::held;
  record.previous_key = must_fence ? old.owner_key : ReservationKey::none;
  const LeaseSector next = encode(record);
  lun_.compare_and_write(
      at_, raw_, next,
      guarded<CompareReply>(operation_, [this, record, issued = timers_.now()](CompareReply reply) {
        taken_over(record, issued, reply);
      }));
}

void Lease::taken_over(const LeaseRecord& record, Nanoseconds issued, CompareReply reply) {
  if (reply.status != BlockStatus::ok || !reply.matched) {
    CUPEL_PROBE("lease.take_over_refused");
    end(false);
    return;
  }
  saw(encode(record));
  mine_ = record;
  renewed_at_ = issued;
  if (record.state == LeaseState::fencing) {
    fence_previous_owner();
  } else {
    now_held();
  }
}

void Lease::fence_previous_owner() {
  fence(mine_.previous_key, [this](BlockStatus status) {
    if (timers_.now() >= deadline() || status == BlockStatus::fenced) {
      end(false);
    } else if (status == BlockStatus::ok) {
      now_held();
    } else {
      fence_previous_owner();
    }
  });
}

void Lease::fence(ReservationKey victim, std::function<void(BlockStatus)> handler) {
  note("ha.fence", "old owner's registration");
  lun_.preempt(victim, guarded<BlockStatus>(operation_, std::move(handler)));
}

void Lease::now_held() {
  assert(mine_.owner_key == self_.key);
  if (timers_.now() >= deadline()) {
    end(false);
    return;
  }
  held_ = true;
  mine_.state = LeaseState::held;
  mine_.previous_key = ReservationKey::none;
  watch_deadline();
  note("lease.acquired", "epoch " + std::to_string(mine_.epoch));
  end(true);
}

// ---- owning ----

Nanoseconds Lease::deadline() const { return renewed_at_ + timings_.duration - timings_.margin; }

bool Lease::owns(uint64_t epoch) const {
  return held_ && epoch == mine_.epoch && timers_.now() < deadline();
}

void Lease::watch_deadline() {
  timers_.cancel(deadline_timer_);
  deadline_timer_ = timers_.after(deadline() - timers_.now(), [this] {
    if (held_) lose(BlockStatus::io_error);
  });
}

bool Lease::renew(Settled done) {
  if (busy_ || !held_) return false;
  begin();
  settled_ = std::move(done);
  write_renewal();
  return true;
}

void Lease::write_renewal() {
  LeaseRecord record = mine_;
  ++record.counter;
  lun_.compare_and_write(
      at_, raw_, encode(record),
      guarded<CompareReply>(operation_, [this, record, issued = timers_.now()](CompareReply reply) {
        renewed(record, issued, reply);
      }));
}

void Lease::renewed(const LeaseRecord& record, Nanoseconds issued, CompareReply reply) {
  if (timers_.now() >= deadline()) {  // back from a hang: too late, whatever the disk says
    lose(BlockStatus::io_error);
  } else if (reply.status == BlockStatus::fenced) {
    lose(BlockStatus::fenced);
  } else if (reply.status != BlockStatus::ok) {
    if (!renewal_failing_) note("lease.renew_failed", std::string(to_string(reply.status)));
    renewal_failing_ = true;
    end(false);
  } else if (!reply.matched) {
    confirm_ownership();
  } else {
    renewal_failing_ = false;
    saw(encode(record));
    mine_ = record;
    renewed_at_ = issued;
    watch_deadline();
    end(true);
  }
}

// The record is not what we wrote last. Either a renewal whose reply was lost took effect after
// all, or somebody has taken the lease.
void Lease::confirm_ownership() {
  read_record([this](BlockReply reply) {
    if (reply.status != BlockStatus::ok) {
      if (reply.status == BlockStatus::fenced) {
        lose(BlockStatus::fenced);
      } else {
        end(false);
      }
      return;
    }
    LeaseSector sector;
    std::ranges::copy(reply.data, sector.begin());
    saw(sector);
    if (observed_ && observed_->owned() && observed_->owner_key == self_.key &&
        observed_->epoch == mine_.epoch) {
      CUPEL_PROBE("lease.renewal_took_effect_without_reply");
      mine_.counter = observed_->counter;
      write_renewal();
    } else {
      lose(BlockStatus::fenced);
    }
  });
}

bool Lease::release(LeaseState to, Settled done) {
  if (busy_ || held_ || !observed_) return false;
  begin();
  settled_ = std::move(done);
  LeaseRecord record = *observed_;
  record.state = to;
  if (to == LeaseState::free) record.owner = HostId::none;
  record.previous_key = ReservationKey::none;
  ++record.counter;
  lun_.compare_and_write(
      at_, raw_, encode(record),
      guarded<CompareReply>(operation_, [this, record](CompareReply reply) {
        const bool ok = reply.status == BlockStatus::ok && reply.matched;
        if (ok) {
          saw(encode(record));
          note("lease.released", record.state == LeaseState::orphaned ? "to be restarted" : "free");
        }
        end(ok);
      }));
  return true;
}

void Lease::abandon() {
  held_ = false;
  renewal_failing_ = false;
  timers_.cancel(deadline_timer_);
  ++operation_;
  busy_ = false;
  settled_ = nullptr;
}

void Lease::lose(BlockStatus why) {
  const uint64_t epoch = mine_.epoch;
  const Settled unsettled = std::exchange(settled_, nullptr);
  abandon();
  note("lease.lost", "epoch " + std::to_string(epoch) +
                         (why == BlockStatus::fenced ? ", fenced" : ", not renewed in time"));
  lost_(why);
  if (unsettled) unsettled(false);
}

void Lease::note(std::string_view what, const std::string& detail) {
  trace_.record(self_.name, what, "vm " + vm_name_ + (detail.empty() ? "" : ", " + detail));
}

}  // namespace cupel::datastore
