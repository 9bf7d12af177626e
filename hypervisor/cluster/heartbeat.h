// Heartbeats to and from the other hosts of the cluster.
#pragma once

#include <functional>
#include <map>
#include <memory>

#include "core/host.h"
#include "core/net_port.h"
#include "core/trace.h"
#include "hypervisor/cluster/ha_config.h"
#include "hypervisor/cluster/messages.h"

namespace cupel::cluster {

enum class PeerState : uint8_t {
  unknown,  // not heard yet, and we have not listened long enough to judge
  alive,
  suspect,
  dead,
};
std::string_view to_string(PeerState state);

class Heartbeat {
 public:
  // Asked before each message for what it should say; sender, boot and sequence are filled in.
  using Content = std::function<HeartbeatMessage()>;

  // Takes over the port's receiver. Frames that are damaged, foreign, from hosts that are not
  // peers, or older than one already heard are ignored.
  Heartbeat(const HaConfig& config, NetPort& port, HostTimers& timers, Trace& trace,
            Content content);
  ~Heartbeat();
  Heartbeat(const Heartbeat&) = delete;
  Heartbeat& operator=(const Heartbeat&) = delete;

  void start();
  PeerState state(HostId peer) const;
  // The last message of a peer; null when none was heard.
  const HeartbeatMessage* last(HostId peer) const;
  // Every peer is dead.
  bool alone() const;
  bool link_up() const { return port_.link_up(); }

 private:
  struct Peer {
    PeerState state = PeerState::unknown;
    Nanoseconds last_heard;
    bool heard = false;
    HeartbeatMessage message;
  };
  void send();
  void judge();
  void judge(HostId id, Peer& peer);
  void received(const Frame& frame);
  void later(Nanoseconds delay, HostTimers::Action action);
  void note(std::string_view what, HostId peer);

  const HaConfig& config_;
  NetPort& port_;
  HostTimers& timers_;
  Trace& trace_;
  Content content_;
  std::map<HostId, Peer> peers_;
  uint64_t sequence_ = 0;
  Nanoseconds last_judged_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace cupel::cluster
