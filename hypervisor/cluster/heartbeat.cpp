#include "hypervisor/cluster/heartbeat.h"

#include <algorithm>
#include <tuple>

#include "core/probe.h"

namespace cupel::cluster {

std::string_view to_string(PeerState state) {
  switch (state) {
    case PeerState::unknown:
      return "unknown";
    case PeerState::alive:
      return "alive";
    case PeerState::suspect:
      return "suspect";
    case PeerState::dead:
      return "dead";
  }
  return "?";
}

Heartbeat::Heartbeat(const HaConfig& config, NetPort& port, HostTimers& timers, Trace& trace,
                     Content content)
    : config_(config), port_(port), timers_(timers), trace_(trace), content_(std::move(content)) {
  for (HostId id : config.peers) peers_.emplace(id, Peer{});
}

Heartbeat::~Heartbeat() { port_.set_receiver(nullptr); }

void Heartbeat::later(Nanoseconds delay, HostTimers::Action action) {
  timers_.after(delay, [action = std::move(action), alive = std::weak_ptr<int>(alive_)] {
    if (!alive.expired()) action();
  });
}

void Heartbeat::start() {
  port_.set_receiver([this](const Frame& frame) { received(frame); });
  last_judged_ = timers_.now();
  for (auto& [id, peer] : peers_) peer.last_heard = timers_.now();
  send();
  judge();
}

void Heartbeat::send() {
  HeartbeatMessage message = content_();
  message.sender = config_.self;
  message.boot = config_.boot;
  message.sequence = ++sequence_;
  port_.send(encode(message));
  later(config_.timings.heartbeat, [this] { send(); });
}

void Heartbeat::judge() {
  const Nanoseconds period = config_.timings.heartbeat / 4;
  const Nanoseconds gap = timers_.now() - last_judged_;
  last_judged_ = timers_.now();
  for (auto& [id, peer] : peers_) {
    // While we were hung ourselves, silence says nothing about the peers.
    if (gap > period * 2) {
      CUPEL_PROBE("heartbeat.own_absence");
      peer.last_heard = std::min(peer.last_heard + gap, timers_.now());
    }
    judge(id, peer);
  }
  later(period, [this] { judge(); });
}

void Heartbeat::judge(HostId id, Peer& peer) {
  const Nanoseconds silence = timers_.now() - peer.last_heard;
  if (silence >= config_.timings.dead) {
    if (peer.state != PeerState::dead) note("ha.heartbeat_lost", id);
    peer.state = PeerState::dead;
  } else if (silence >= config_.timings.suspect && peer.state == PeerState::alive) {
    peer.state = PeerState::suspect;
    note("ha.heartbeat_suspect", id);
  }
}

void Heartbeat::received(const Frame& frame) {
  if (!is_cluster_frame(frame)) return;
  auto message = decode_heartbeat(frame);
  if (!message.ok()) {
    CUPEL_PROBE("heartbeat.bad_frame");
    return;
  }
  const auto it = peers_.find(message->sender);
  if (it == peers_.end()) {
    CUPEL_PROBE("heartbeat.stranger");
    return;
  }
  Peer& peer = it->second;
  const auto age = [](const HeartbeatMessage& m) { return std::tuple(m.boot, m.sequence); };
  if (peer.heard && age(*message) <= age(peer.message)) {
    CUPEL_PROBE("heartbeat.replayed");
    return;
  }
  if (peer.state == PeerState::dead || peer.state == PeerState::suspect) {
    note("ha.heartbeat_back", it->first);
  }
  peer.state = PeerState::alive;
  peer.last_heard = timers_.now();
  peer.heard = true;
  peer.message = std::move(*message);
}

PeerState Heartbeat::state(HostId peer) const {
  const auto it = peers_.find(peer);
  return it == peers_.end() ? PeerState::dead : it->second.state;
}

const HeartbeatMessage* Heartbeat::last(HostId peer) const {
  const auto it = peers_.find(peer);
  return it == peers_.end() || !it->second.heard ? nullptr : &it->second.message;
}

bool Heartbeat::alone() const {
  return !peers_.empty() && std::ranges::all_of(peers_, [](const auto& p) {
    return p.second.state == PeerState::dead;
  });
}

void Heartbeat::note(std::string_view what, HostId peer) {
  trace_.record(config_.name, what, "host " + std::to_string(number(peer)));
}

}  // namespace cupel::cluster
