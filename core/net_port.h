// An Ethernet port: frames in, frames out, link state.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace cupel {

using Frame = std::vector<std::byte>;  // from destination MAC to payload, no FCS; 14..9216 bytes
using MacAddress = std::array<uint8_t, 6>;

// Contract: send() never calls the receiver back from inside itself; a frame that is sent while
// the link is down is lost silently, as on a wire. Receivers run from the event queue.
class NetPort {
 public:
  using Receiver = std::function<void(const Frame&)>;
  using LinkWatcher = std::function<void(bool up)>;
  virtual ~NetPort() = default;
  virtual void send(Frame frame) = 0;
  virtual void set_receiver(Receiver receiver) = 0;
  virtual bool link_up() const = 0;
  virtual void set_link_watcher(LinkWatcher watcher) = 0;
};

}  // namespace cupel
