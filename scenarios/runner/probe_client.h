// A client on the network that asks VMs how far they have come: outages as users see them.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/event_queue.h"
#include "core/net_port.h"
#include "scenarios/language/units.h"

namespace cupel::scenarios {

// Sends a UDP request to port 7777 of each target every interval, resolves addresses by ARP (RFC
// 826) and answers ARP for its own. A target that answered and then leaves requests unanswered
// for `timeout` is down since the first of them.
class ProbeClient {
 public:
  struct Listener {
    std::function<void(const std::string& vm, Nanoseconds since)> down;
    std::function<void(const std::string& vm, Nanoseconds at)> answering;
  };

  ProbeClient(NetPort& port, EventQueue& queue, Listener listener);

  void watch(const std::string& vm, Ipv4 address, Nanoseconds interval, Nanoseconds timeout);
  uint64_t answers() const { return answers_; }

 private:
  struct Target {
    std::string vm;
    Ipv4 address{};
    Nanoseconds interval, timeout;
    std::optional<MacAddress> mac;
    uint16_t port = 0;  // our source port: names the target in answers
    bool up = false;
    std::optional<Nanoseconds> first_unanswered;
  };
  void ask(size_t index);
  void receive(const Frame& frame);
  void receive_arp(const Frame& frame);
  void receive_udp(const Frame& frame);
  void answered(Target& target);
  void send_arp(uint16_t operation, const MacAddress& to, const Ipv4& address);
  void send_request(const Target& target);

  static constexpr MacAddress kMac{0x52, 0x54, 0x00, 0xc1, 0x1e, 0x01};
  NetPort& port_;
  EventQueue& queue_;
  Listener listener_;
  std::vector<Target> targets_;
  uint64_t answers_ = 0;
};

}  // namespace cupel::scenarios
