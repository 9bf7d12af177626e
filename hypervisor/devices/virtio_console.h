// virtio console, port 0 only. Source: VIRTIO 1.2, "Console Device".
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <span>

#include "hypervisor/devices/virtio_device.h"

namespace cupel::devices {

// What the guest prints goes to the sink; receive() is the keyboard. Input waits for the guest's
// buffers, at most kBacklog bytes of it. Snapshots carry what waits.
class VirtioConsole final : public VirtioDevice {
 public:
  static constexpr uint16_t kQueueSize = 64;
  static constexpr size_t kBacklog = 64 * 1024;
  static constexpr unsigned kReceiveQueue = 0, kTransmitQueue = 1;
  using Sink = std::function<void(std::span<const std::byte>)>;

  explicit VirtioConsole(GuestMemory& memory);

  void set_sink(Sink sink) { sink_ = std::move(sink); }
  // Returns how many bytes found room.
  size_t receive(std::span<const std::byte> input);

 protected:
  void process(unsigned i) override;
  void on_reset() override { waiting_.clear(); }
  void save_device(ArchiveWriter& out) const override;
  void restore_device(ArchiveReader& in) override;

 private:
  void deliver();
  void transmit();

  Sink sink_;
  std::deque<std::byte> waiting_;
};

}  // namespace cupel::devices
