// What every virtio device is, whatever carries it. Source: VIRTIO 1.2, "Basic Facilities of a
// Virtio Device".
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/archive.h"
#include "core/guest_memory.h"
#include "hypervisor/devices/virtqueue.h"

namespace cupel::devices {

enum class VirtioType : uint16_t { network = 1, block = 2, console = 3 };
std::string_view to_string(VirtioType type);

namespace virtio {
// Device status. VIRTIO 1.2, "Device Status Field".
inline constexpr uint8_t kAcknowledge = 1, kDriver = 2, kDriverOk = 4, kFeaturesOk = 8,
                         kNeedsReset = 64, kFailed = 128;
// Reserved feature bits. VIRTIO 1.2, "Reserved Feature Bits".
inline constexpr uint64_t kIndirectDesc = 1ull << 28, kEventIdx = 1ull << 29,
                          kVersion1 = 1ull << 32;
}  // namespace virtio

// Feature negotiation, status and queues. A driver that breaks a rule of its rings turns the
// device into NEEDS_RESET: it touches no ring any more until the driver resets it, and
// broken_reason() keeps the one line that says why.
class VirtioDevice {
 public:
  enum class Interrupt : uint8_t { queue = 1, config = 2 };  // bits of the ISR status
  using InterruptSink = std::function<void(Interrupt)>;
  using BrokenObserver = std::function<void(const std::string& reason)>;

  VirtioDevice(VirtioType type, GuestMemory& memory, uint64_t device_features,
               std::vector<uint16_t> queue_sizes);
  virtual ~VirtioDevice() = default;
  VirtioDevice(const VirtioDevice&) = delete;
  VirtioDevice& operator=(const VirtioDevice&) = delete;

  VirtioType type() const { return type_; }
  const std::string& broken_reason() const { return broken_reason_; }
  void set_broken_observer(BrokenObserver observer) { on_broken_ = std::move(observer); }

  // For the transport.
  void set_interrupt_sink(InterruptSink sink) { interrupt_ = std::move(sink); }
  uint64_t offered_features() const { return offered_; }
  uint64_t driver_features() const { return accepted_; }
  void set_driver_features(uint64_t features);
  uint8_t status() const { return status_; }
  void write_status(uint8_t status);
  unsigned queue_count() const { return static_cast<unsigned>(queues_.size()); }
  Virtqueue& queue(unsigned i) { return queues_[i]; }
  void enable_queue(unsigned i);
  void notify(unsigned i);
  uint8_t config_generation() const { return config_generation_; }
  uint8_t config_byte(unsigned offset) const {
    return offset < config_.size() ? config_[offset] : 0;
  }

  // Rings and requests in flight; the guest's RAM must be restored first, because a device reads
  // its open chains from there again.
  void save(ArchiveWriter& out) const;
  void restore(ArchiveReader& in);

 protected:
  // The driver has put buffers into queue i, or has just become ready.
  virtual void process(unsigned i) = 0;
  // The driver has reset the device: requests in flight are forgotten.
  virtual void on_reset() {}
  virtual void save_device(ArchiveWriter&) const {}
  virtual void restore_device(ArchiveReader&) {}

  bool negotiated(uint64_t feature) const { return (accepted_ & feature) != 0; }
  bool running() const {
    return (status_ & (virtio::kDriverOk | virtio::kNeedsReset)) == virtio::kDriverOk;
  }
  // False: no chain now (none offered, not running, or the ring just broke).
  bool pop(unsigned i, DescriptorChain& chain);
  bool reopen(unsigned i, uint16_t head, DescriptorChain& chain);
  void push(unsigned i, const DescriptorChain& chain, uint32_t written);
  // Interrupts when the driver wants to know what was pushed.
  void signal(unsigned i);
  void break_device(std::string reason);

  GuestMemory& memory() const { return memory_; }
  // Little-endian device configuration space; change_config() tells the driver.
  template <class T>
  void set_config(unsigned offset, T value) {
    if (config_.size() < offset + sizeof value) config_.resize(offset + sizeof value);
    for (size_t b = 0; b < sizeof value; ++b)
      config_[offset + b] = static_cast<uint8_t>(static_cast<uint64_t>(value) >> (8 * b));
  }
  void change_config();

 private:
  void reset();

  VirtioType type_;
  GuestMemory& memory_;
  uint64_t offered_;
  uint64_t accepted_ = 0;
  uint8_t status_ = 0;
  uint8_t config_generation_ = 0;
  std::vector<Virtqueue> queues_;
  std::vector<uint8_t> config_;
  std::string broken_reason_;
  InterruptSink interrupt_;
  BrokenObserver on_broken_;
};

}  // namespace cupel::devices
