// An Ethernet switch that learns addresses.
//
// Fault contract. Single ports or the whole switch may go down: their links lose carrier and every
// frame inside is lost. It forgets learnt addresses of a port that goes down. It never sends a
// frame back out of the port it came from, never alters one, and drops runts. There is no spanning
// tree: loops are the caller's fault.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/event_queue.h"
#include "core/trace.h"
#include "hw_models/network/link.h"

namespace cupel::network {

struct SwitchConfig {
  std::string name = "switch";
  Nanoseconds forwarding_delay = 3_us;
  size_t max_addresses = 8192;  // beyond that frames are flooded
};

class Switch {
 public:
  Switch(SwitchConfig config, EventQueue& queue, Trace& trace);

  // Takes over one end of a link, which must outlive the switch; returns the port number.
  size_t attach(Link::End& end);
  size_t ports() const { return ports_.size(); }

  void set_port_down(size_t port, bool down);
  void set_down(bool down);

 private:
  struct Port {
    Link::End* end;
    bool down = false;
  };
  void receive(size_t port, const Frame& frame);
  void forward(size_t from, const Frame& frame);
  void update_carrier(size_t port);
  void forget(size_t port);

  SwitchConfig config_;
  EventQueue& queue_;
  Trace& trace_;
  std::vector<Port> ports_;
  std::map<MacAddress, size_t> table_;
  bool down_ = false;
};

}  // namespace cupel::network
