// The device side of a virtio split virtqueue. Source: VIRTIO 1.2, "Split Virtqueues".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/archive.h"
#include "core/guest_memory.h"
#include "hypervisor/devices/descriptor_chain.h"

namespace cupel::devices {

// Rings and descriptors belong to a hostile driver: nothing in them is believed. What breaks a
// rule comes back as one line that says which; the device then asks for a reset. At most `size`
// chains are out at a time, each with at most `size` buffers, so that a driver cannot make the
// host allocate without bound.
class Virtqueue {
 public:
  static constexpr uint32_t kMaxChainBytes = 8u << 20;
  using Fault = std::string;
  using Popped = Result<std::optional<DescriptorChain>, Fault>;

  Virtqueue(GuestMemory& memory, uint16_t max_size)
      : memory_(&memory), max_size_(max_size), size_(max_size) {}

  // Transport registers. Ignored while the queue is enabled.
  uint16_t max_size() const { return max_size_; }
  uint16_t size() const { return size_; }
  void set_size(uint16_t size);
  Gpa descriptors() const { return descriptors_; }
  Gpa driver_area() const { return driver_; }
  Gpa device_area() const { return device_; }
  void set_descriptors(Gpa at);
  void set_driver_area(Gpa at);
  void set_device_area(Gpa at);
  bool enabled() const { return enabled_; }
  // Checks size, alignment and placement.
  Result<void, Fault> enable(bool indirect, bool event_index);
  void reset();

  // The next available chain; nothing when the driver has offered no more.
  Popped pop();
  // The chain `head`, in flight again after a restore.
  Result<DescriptorChain, Fault> reopen(uint16_t head);
  // Returns a chain to the driver with `written` bytes in its writable buffers.
  void push(uint16_t head, uint32_t written);
  // Whether the driver wants to hear of what was pushed since the last call that said yes.
  bool wants_interrupt();

  void save(ArchiveWriter& out) const;
  void restore(ArchiveReader& in);

 private:
  struct Descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags;
    uint16_t next;
  };
  // Where the descriptors of a chain stand: the ring's own table, or an indirect one.
  struct Table {
    Gpa at;
    uint32_t count;
    bool indirect;
  };
  Result<DescriptorChain, Fault> walk(uint16_t head) const;
  std::optional<Fault> walk_table(const Table& table, uint16_t first, DescriptorChain& chain) const;
  std::optional<Fault> enter_indirect(const Descriptor& d, DescriptorChain& chain) const;
  std::optional<Fault> add_buffer(const Descriptor& d, DescriptorChain& chain) const;
  void ask_for_notification();

  GuestMemory* memory_;
  uint16_t max_size_;
  uint16_t size_;
  Gpa descriptors_, driver_, device_;
  bool enabled_ = false;
  bool indirect_ = false;
  bool event_index_ = false;
  uint16_t next_available_ = 0;
  uint16_t next_used_ = 0;
  uint16_t signalled_used_ = 0;
  std::vector<bool> in_flight_;  // by head
};

}  // namespace cupel::devices
