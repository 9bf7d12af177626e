#include "hw_models/storage/shared_disk.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "core/probe.h"

namespace cupel::storage {
namespace {

std::string host_name(HostId id) { return "host " + std::to_string(number(id)); }

std::string key_text(ReservationKey key) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text = "key 0x";
  for (int shift = 60; shift >= 0; shift -= 4) {
    text += kDigits[static_cast<uint64_t>(key) >> shift & 0xf];
  }
  return text;
}

}  // namespace

SharedDisk::SharedDisk(SharedDiskConfig config, EventQueue& queue, const RandomSource& random,
                       Trace& trace)
    : config_(std::move(config)),
      queue_(queue),
      trace_(trace),
      jitter_(random.stream(config_.name + "/jitter")),
      power_(random.stream(config_.name + "/power")),
      faults_(random.stream(config_.name + "/faults")),
      medium_(config_.sectors, config_.cache) {
  assert(config_.sectors > 0 && config_.concurrency > 0);
}

SharedDisk::~SharedDisk() = default;

DiskPort& SharedDisk::add_port(HostId owner) {
  ports_.push_back(std::make_unique<DiskPort>(*this, owner));
  return *ports_.back();
}

DiskPort* SharedDisk::port(HostId owner) {
  const auto it = std::ranges::find_if(ports_, [&](auto& p) { return p->owner() == owner; });
  return it == ports_.end() ? nullptr : it->get();
}

void SharedDisk::submit(Command command) {
  DiskPort& port = *command.port;
  if (queue_.now() < port.delay_until_) {
    queue_.after(port.delay_, [this, c = std::move(command)]() mutable { arrive(std::move(c)); });
  } else {
    arrive(std::move(command));
  }
}

void SharedDisk::arrive(Command command) {
  if (!command.port->path_up_ || !powered_) {
    reply_later(std::move(command), BlockStatus::io_error, config_.transport_timeout);
    return;
  }
  if (lost_) {
    reply_later(std::move(command), BlockStatus::device_lost, config_.latency);
    return;
  }
  waiting_.push_back(std::move(command));
  start_more();
}

void SharedDisk::start_more() {
  while (!waiting_.empty() && in_service_.size() < config_.concurrency) {
    Command command = std::move(waiting_.front());
    waiting_.pop_front();
    if (command.session != command.port->session_) {
      CUPEL_PROBE("disk.dropped_command_of_dead_host");
      continue;
    }
    const uint64_t jitter = jitter_.uniform(0, static_cast<uint64_t>(config_.jitter.count()));
    const Nanoseconds time = config_.latency + config_.per_sector * command.sectors +
                             Nanoseconds(static_cast<int64_t>(jitter));
    const uint64_t id = next_id_++;
    const auto event =
        queue_.after(time * faults_.slowness(queue_.now()), [this, id] { finish(id); });
    in_service_.emplace(id, InService{std::move(command), event});
  }
}

void SharedDisk::finish(uint64_t id) {
  auto node = in_service_.extract(id);
  Command command = std::move(node.mapped().command);
  Outcome outcome = apply(command);
  trace_.mix("disk.command",
             static_cast<uint64_t>(command.kind) << 32 | number(command.port->owner()),
             command.lba.value() << 8 | static_cast<uint64_t>(outcome.status));
  start_more();
  reply(std::move(command), std::move(outcome));
}

bool SharedDisk::shut_out(const Command& command) const {
  if (!reserved_ || command.kind == Kind::register_key) return false;
  return command.port->key_ == ReservationKey::none ||
         command.generation != command.port->generation_;
}

SharedDisk::Outcome SharedDisk::apply(Command& command) {
  if (shut_out(command)) {
    CUPEL_PROBE("disk.fenced_command");
    return {BlockStatus::fenced};
  }
  switch (command.kind) {
    case Kind::register_key:
      apply_register(command);
      return {};
    case Kind::preempt:
      apply_preempt(command);
      return {};
    default:
      return apply_io(command);
  }
}

SharedDisk::Outcome SharedDisk::apply_io(Command& command) {
  if (command.kind != Kind::flush && !medium_.contains(command.lba, command.sectors)) {
    return {BlockStatus::out_of_range};
  }
  const BlockOp op = command.kind == Kind::read    ? BlockOp::read
                     : command.kind == Kind::flush ? BlockOp::flush
                                                   : BlockOp::write;
  if (faults_.fails(op, command.lba, command.sectors, queue_.now())) {
    return {BlockStatus::io_error};
  }
  switch (command.kind) {
    case Kind::read: {
      Outcome outcome;
      outcome.data.resize(command.sectors * kSectorSize);
      medium_.read(command.lba, outcome.data);
      return outcome;
    }
    case Kind::write:
      medium_.write(command.lba, command.data, command.fua);
      observe(command);
      return {};
    case Kind::flush:
      if (std::exchange(command.port->cache_was_lost_, false)) return {BlockStatus::io_error};
      medium_.flush();
      return {};
    default:
      return compare_and_write(command);
  }
}

SharedDisk::Outcome SharedDisk::compare_and_write(Command& command) {
  std::array<std::byte, kSectorSize> current;
  medium_.read(command.lba, current);
  Outcome outcome;
  outcome.matched = std::ranges::equal(current, command.expected);
  if (outcome.matched) {
    medium_.write(command.lba, command.data, true);
    observe(command);
  }
  return outcome;
}

void SharedDisk::apply_register(const Command& command) {
  command.port->key_ = command.key;
  ++command.port->generation_;
  reserved_ = true;
  trace_.record(config_.name, "disk.registered",
                host_name(command.port->owner()) + ", " + key_text(command.key));
}

void SharedDisk::apply_preempt(const Command& command) {
  for (auto& port : ports_) {
    if (port->key_ != command.key || command.key == ReservationKey::none) continue;
    port->key_ = ReservationKey::none;
    ++port->generation_;
    trace_.record(config_.name, "disk.preempted",
                  host_name(port->owner()) + " by " + host_name(command.port->owner()));
  }
}

void SharedDisk::observe(const Command& command) const {
  if (observer_) observer_(command.port->owner(), command.lba, command.data);
}

void SharedDisk::reply(Command command, Outcome outcome) {
  if (!command.port->path_up_) {
    reply_later(std::move(command), BlockStatus::io_error, config_.transport_timeout);
    return;
  }
  if (command.session == command.port->session_) command.done(std::move(outcome));
}

void SharedDisk::reply_later(Command command, BlockStatus status, Nanoseconds delay) {
  queue_.after(delay, [c = std::move(command), status] {
    if (c.session == c.port->session_) c.done(Outcome{status, false, {}});
  });
}

// What is flushed after this must not stand for what was written before.
void SharedDisk::lose_cache() {
  if (medium_.unflushed_sectors() > 0) {
    for (auto& port : ports_) port->cache_was_lost_ = true;
  }
  medium_.power_cut(power_);
}

void SharedDisk::lose_device(Nanoseconds duration) {
  const Nanoseconds until = duration == Nanoseconds::max() ? duration : queue_.now() + duration;
  lost_until_ = lost_ ? std::max(lost_until_, until) : until;
  if (until != Nanoseconds::max()) {
    queue_.at(until, [this] {
      if (!lost_ || queue_.now() < lost_until_) return;
      lost_ = false;
      trace_.record(config_.name, "disk.returned");
    });
  }
  if (lost_) return;
  lost_ = true;
  trace_.record(config_.name, "disk.lost");
  lose_cache();
  for (auto& [id, active] : in_service_) {
    queue_.cancel(active.finish);
    reply_later(std::move(active.command), BlockStatus::device_lost, config_.latency);
  }
  in_service_.clear();
  for (auto& command : waiting_) {
    reply_later(std::move(command), BlockStatus::device_lost, config_.latency);
  }
  waiting_.clear();
}

void SharedDisk::power_cut(Nanoseconds duration) {
  if (!powered_) return;
  powered_ = false;
  trace_.record(config_.name, "fault.disk_power_cut");
  lose_cache();
  for (auto& [id, active] : in_service_) {
    queue_.cancel(active.finish);
    Command& c = active.command;
    if (c.kind == Kind::write && !shut_out(c) && medium_.contains(c.lba, c.sectors)) {
      medium_.tear(c.lba, c.data, power_);
    }
    reply_later(std::move(c), BlockStatus::io_error, config_.transport_timeout);
  }
  in_service_.clear();
  for (auto& command : waiting_) {
    reply_later(std::move(command), BlockStatus::io_error, config_.transport_timeout);
  }
  waiting_.clear();
  if (duration == Nanoseconds::max()) return;
  queue_.after(duration, [this] {
    powered_ = true;
    trace_.record(config_.name, "disk.power_restored");
  });
}

SharedDisk::Command DiskPort::command(SharedDisk::Kind kind) {
  SharedDisk::Command c;
  c.kind = kind;
  c.port = this;
  c.session = session_;
  c.generation = generation_;
  return c;
}

void DiskPort::submit(BlockRequest request, Completion done) {
  auto c = command(request.op == BlockOp::read    ? SharedDisk::Kind::read
                   : request.op == BlockOp::write ? SharedDisk::Kind::write
                                                  : SharedDisk::Kind::flush);
  assert(request.op != BlockOp::write || request.data.size() % kSectorSize == 0);
  c.lba = request.lba;
  c.fua = request.fua;
  c.data = std::move(request.data);
  if (request.op == BlockOp::read) c.sectors = request.sectors;
  if (request.op == BlockOp::write) c.sectors = static_cast<uint32_t>(c.data.size() / kSectorSize);
  c.done = [done = std::move(done)](SharedDisk::Outcome o) {
    done(BlockReply{o.status, std::move(o.data)});
  };
  disk_.submit(std::move(c));
}

void DiskPort::compare_and_write(Lba lba, Sector expected, Sector replacement,
                                 CompareCompletion done) {
  auto c = command(SharedDisk::Kind::compare_and_write);
  c.lba = lba;
  c.sectors = 1;
  c.expected.assign(expected.begin(), expected.end());
  c.data.assign(replacement.begin(), replacement.end());
  c.done = [done = std::move(done)](SharedDisk::Outcome o) {
    done(CompareReply{o.status, o.matched});
  };
  disk_.submit(std::move(c));
}

void DiskPort::register_key(ReservationKey key, StatusCompletion done) {
  auto c = command(SharedDisk::Kind::register_key);
  c.key = key;
  c.done = [done = std::move(done)](SharedDisk::Outcome o) { done(o.status); };
  disk_.submit(std::move(c));
}

void DiskPort::preempt(ReservationKey victim, StatusCompletion done) {
  auto c = command(SharedDisk::Kind::preempt);
  c.key = victim;
  c.done = [done = std::move(done)](SharedDisk::Outcome o) { done(o.status); };
  disk_.submit(std::move(c));
}

void DiskPort::set_path(bool up) {
  if (path_up_ == up) return;
  path_up_ = up;
  disk_.trace_.record(disk_.config_.name, up ? "path.up" : "fault.path_down", host_name(owner_));
}

void DiskPort::delay_path(Nanoseconds delay, Nanoseconds until) {
  delay_ = delay;
  delay_until_ = until;
  disk_.trace_.record(disk_.config_.name, "fault.path_delay", host_name(owner_));
}

}  // namespace cupel::storage
