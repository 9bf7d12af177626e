// virtio network device over any core NetPort. Source: VIRTIO 1.2, "Network Device".
#pragma once

#include <cstdint>
#include <deque>
#include <string>

#include "core/net_port.h"
#include "hypervisor/devices/virtio_device.h"

namespace cupel::devices {

// One receive and one transmit queue, MAC and STATUS, no offloads. Frames that arrive while the
// guest offers no buffer wait, at most kBacklog of them; then the newest is dropped, as by a card
// whose memory is full. Frames longer than 1514 bytes, or shorter than 14, are dropped both ways.
// Snapshots carry the backlog.
class VirtioNet final : public VirtioDevice {
 public:
  static constexpr uint16_t kQueueSize = 256;
  static constexpr size_t kBacklog = 256;
  static constexpr size_t kLongestFrame = 1514;
  static constexpr size_t kShortestFrame = 14;
  static constexpr unsigned kReceiveQueue = 0, kTransmitQueue = 1;
  struct Counters {
    uint64_t received = 0, sent = 0;
    uint64_t receive_dropped = 0, send_dropped = 0;
  };

  // `port` is borrowed and outlives this device, which is its receiver and link watcher.
  VirtioNet(GuestMemory& memory, NetPort& port, MacAddress mac);
  ~VirtioNet() override;

  const Counters& counters() const { return counters_; }

 protected:
  void process(unsigned i) override;
  void on_reset() override { backlog_.clear(); }
  void save_device(ArchiveWriter& out) const override;
  void restore_device(ArchiveReader& in) override;

 private:
  void receive(const Frame& frame);
  void deliver();
  void transmit();
  void link_changed(bool up);

  NetPort& port_;
  std::deque<Frame> backlog_;
  Counters counters_;
};

}  // namespace cupel::devices
