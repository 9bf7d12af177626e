// A modern virtio PCI device and its split queues.
// Source: VIRTIO 1.2, "Virtio Over PCI Bus" and "Split Virtqueues".
#pragma once

#include <stdint.h>

#include "scenarios/guests/workload/pci.h"

namespace workload {

enum class VirtioKind : uint16_t { net = 1, block = 2 };

inline constexpr uint64_t kVirtioVersion1 = 1ull << 32;

class VirtioDevice {
 public:
  // Finds the n-th device of a kind, resets it, negotiates VERSION_1 and what it offers of
  // `wanted`. Queues follow, then start(). False: not there, or not usable (said on the console).
  bool open(VirtioKind kind, unsigned n, uint64_t wanted);
  void start();

  bool has(uint64_t feature) const { return (features_ & feature) != 0; }
  volatile uint8_t* config() const { return config_; }
  volatile uint8_t* common() const { return common_; }
  uint8_t interrupt_line() const { return function_.interrupt_line(); }
  // Reading it lowers the interrupt line.
  uint8_t read_isr() const { return *isr_; }

  // Tells the device where a queue is; `size` is lowered to what the device can take. Returns the
  // address to notify at, nullptr when the device has no such queue.
  volatile uint16_t* set_queue(uint16_t index, uint16_t& size, const void* descriptors,
                               const void* available, const void* used);

 private:
  bool find_capabilities();
  bool negotiate(uint64_t wanted);

  pci::Function function_;
  volatile uint8_t* common_ = nullptr;
  volatile uint8_t* notify_ = nullptr;
  volatile uint8_t* isr_ = nullptr;
  volatile uint8_t* config_ = nullptr;
  uint32_t notify_multiplier_ = 0;
  uint64_t features_ = 0;
};

struct Descriptor {
  static constexpr uint16_t kNext = 1, kWrite = 2;
  uint64_t address;
  uint32_t length;
  uint16_t flags;
  uint16_t next;
};

// One split queue; descriptor chains are placed by the caller at fixed indexes.
class Queue {
 public:
  static constexpr uint16_t kMaxSize = 32;

  // Between VirtioDevice::open() and start(). False: no such queue.
  bool attach(VirtioDevice& device, uint16_t index);

  uint16_t size() const { return size_; }
  void set(uint16_t i, const void* data, uint32_t length, uint16_t flags, uint16_t next = 0);
  // Makes the chain that starts at `head` available and notifies the device.
  void submit(uint16_t head);
  bool has_used() const { return __atomic_load_n(&used_.index, __ATOMIC_ACQUIRE) != taken_; }
  struct Done {
    uint32_t head;
    uint32_t length;
  };
  // Only when has_used().
  Done take();

 private:
  struct Available {
    uint16_t flags, index, ring[kMaxSize], unused;
  };
  struct Used {
    uint16_t flags, index;
    Done ring[kMaxSize];
  };
  alignas(16) Descriptor descriptors_[kMaxSize] = {};
  alignas(4) Available available_ = {};
  alignas(4) Used used_ = {};
  volatile uint16_t* notify_ = nullptr;
  uint16_t index_ = 0, size_ = kMaxSize, taken_ = 0;
};

}  // namespace workload
