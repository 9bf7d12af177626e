// The driver's side of virtio-pci, written against the specification and the platform's ports and
// memory accesses only.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <vector>

#include "core/guest_memory.h"
#include "hypervisor/vm/guest_platform.h"

namespace cupel::devices {

struct Descriptor {
  uint64_t address;
  uint32_t length;
  uint16_t flags;
  uint16_t next;
};
inline constexpr uint16_t kDescNext = 1, kDescWrite = 2, kDescIndirect = 4;

class PciConfigAccess {
 public:
  PciConfigAccess(vm::GuestPlatform& platform, unsigned slot) : platform_(platform), slot_(slot) {}
  uint32_t read(unsigned offset, unsigned size) {
    select(offset);
    return platform_.port_in(static_cast<uint16_t>(0xcfc + (offset & 3)), size);
  }
  void write(unsigned offset, unsigned size, uint32_t value) {
    select(offset);
    platform_.port_out(static_cast<uint16_t>(0xcfc + (offset & 3)), size, value);
  }

 private:
  void select(unsigned offset) {
    platform_.port_out(0xcf8, 4, 0x80000000 | slot_ << 11 | (offset & 0xfc));
  }
  vm::GuestPlatform& platform_;
  unsigned slot_;
};

class VirtioDriver {
 public:
  struct Buffer {
    Gpa at;
    uint32_t length;
  };
  struct Used {
    uint32_t id;
    uint32_t length;
  };
  struct Ring {
    uint16_t size = 0;
    Gpa desc, avail, used;
    uint16_t next_desc = 0, avail_index = 0, used_index = 0;
    Gpa notify;
  };
  static constexpr uint64_t kVersion1 = 1ull << 32, kIndirect = 1ull << 28, kEventIdx = 1ull << 29;

  // Takes memory for rings and buffers from `arena` upward.
  VirtioDriver(vm::GuestPlatform& platform, GuestMemory& memory, unsigned slot,
               Gpa arena = Gpa(0x100000))
      : config(platform, slot), platform_(platform), memory_(memory), arena_(arena) {
    config.write(4, 2, 6);  // memory space, bus master
    for (unsigned at = config.read(0x34, 1); at != 0; at = config.read(at + 1, 1)) {
      if (config.read(at, 1) != 9) continue;
      const unsigned type = config.read(at + 3, 1), bar = config.read(at + 4, 1);
      const Gpa base(config.read(0x10 + 4 * bar, 4) & ~0xfu);
      cap_[type] = base + config.read(at + 8, 4);
      if (type == 2) multiplier_ = config.read(at + 16, 4);
      if (type == 5) pci_cfg_cap = at;
    }
  }

  uint64_t common_read(unsigned offset, unsigned size) {
    return platform_.mmio_read(cap_[1] + offset, size);
  }
  void common_write(unsigned offset, unsigned size, uint64_t value) {
    platform_.mmio_write(cap_[1] + offset, size, value);
  }
  uint64_t device_config(unsigned offset, unsigned size) {
    return platform_.mmio_read(cap_[4] + offset, size);
  }
  uint8_t isr() { return static_cast<uint8_t>(platform_.mmio_read(cap_[3], 1)); }
  uint8_t status() { return static_cast<uint8_t>(common_read(0x14, 1)); }
  void set_status(uint8_t status) { common_write(0x14, 1, status); }

  uint64_t device_features() {
    common_write(0, 4, 0);
    const uint64_t low = common_read(4, 4);
    common_write(0, 4, 1);
    return low | common_read(4, 4) << 32;
  }
  void write_features(uint64_t features) {
    for (unsigned word : {0u, 1u}) {
      common_write(8, 4, word);
      common_write(0xc, 4, features >> (32 * word) & 0xffffffff);
    }
  }
  // Reset to FEATURES_OK; false when the device does not agree.
  bool negotiate(uint64_t features) {
    set_status(0);
    set_status(1);
    set_status(3);
    write_features(features);
    set_status(11);
    features_ = features;
    return (status() & 8) != 0;
  }
  void setup_queue(unsigned i, uint16_t size = 0) {
    common_write(0x16, 2, i);
    if (size == 0) size = static_cast<uint16_t>(common_read(0x18, 2));
    Ring r;
    r.size = size;
    r.desc = allocate(16ull * size);
    r.avail = allocate(6 + 2ull * size);
    r.used = allocate(6 + 8ull * size);
    common_write(0x18, 2, size);
    common_write(0x20, 4, r.desc.value() & 0xffffffff);
    common_write(0x24, 4, r.desc.value() >> 32);
    common_write(0x28, 8, r.avail.value());
    common_write(0x30, 8, r.used.value());
    r.notify = cap_[2] + common_read(0x1e, 2) * multiplier_;
    common_write(0x1c, 2, 1);
    rings[i] = r;
  }
  // The whole dance.
  bool start(uint64_t features = kVersion1, unsigned queues = 1) {
    if (!negotiate(features)) return false;
    for (unsigned i = 0; i < queues; ++i) setup_queue(i);
    set_status(15);
    return true;
  }

  Gpa allocate(uint64_t bytes) {
    const Gpa at = arena_;
    arena_ += (bytes + 63) & ~63ull;
    const auto zeros = memory_.writable(at, bytes);
    std::fill(zeros.begin(), zeros.end(), std::byte{0});
    return at;
  }

  void write_descriptor(unsigned queue, uint16_t index, Descriptor d) {
    memory_.write(rings[queue].desc + 16ull * index, d);
  }
  // A chain of direct descriptors, readable buffers first.
  uint16_t add(unsigned queue, const std::vector<Buffer>& readable,
               const std::vector<Buffer>& writable) {
    Ring& r = rings[queue];
    const uint16_t head = r.next_desc;
    const size_t total = readable.size() + writable.size();
    for (size_t i = 0; i < total; ++i) {
      const bool out = i < readable.size();
      const Buffer& b = out ? readable[i] : writable[i - readable.size()];
      const auto next = static_cast<uint16_t>((r.next_desc + 1) % r.size);
      const auto flags =
          static_cast<uint16_t>((out ? 0 : kDescWrite) | (i + 1 < total ? kDescNext : 0));
      write_descriptor(queue, r.next_desc, {b.at.value(), b.length, flags, next});
      r.next_desc = next;
    }
    offer(queue, head);
    return head;
  }
  uint16_t add_indirect(unsigned queue, const std::vector<Descriptor>& table) {
    Ring& r = rings[queue];
    const Gpa at = allocate(16 * table.size());
    for (size_t i = 0; i < table.size(); ++i) memory_.write(at + 16 * i, table[i]);
    const uint16_t head = r.next_desc;
    write_descriptor(queue, head,
                     {at.value(), static_cast<uint32_t>(16 * table.size()), kDescIndirect, 0});
    r.next_desc = static_cast<uint16_t>((r.next_desc + 1) % r.size);
    offer(queue, head);
    return head;
  }
  void offer(unsigned queue, uint16_t head) {
    Ring& r = rings[queue];
    memory_.write(r.avail + 4 + 2ull * (r.avail_index % r.size), head);
    set_avail_index(queue, static_cast<uint16_t>(r.avail_index + 1));
  }
  void set_avail_index(unsigned queue, uint16_t index) {
    rings[queue].avail_index = index;
    memory_.write(rings[queue].avail + 2, index);
  }
  void kick(unsigned queue) { platform_.mmio_write(rings[queue].notify, 2, queue); }
  std::optional<Used> take_used(unsigned queue) {
    Ring& r = rings[queue];
    uint16_t index = 0;
    memory_.read(r.used + 2, index);
    if (index == r.used_index) return std::nullopt;
    Used u{};
    memory_.read(r.used + 4 + 8ull * (r.used_index % r.size), u);
    ++r.used_index;
    return u;
  }
  Gpa capability(unsigned type) { return cap_[type]; }

  PciConfigAccess config;
  std::map<unsigned, Ring> rings;
  unsigned pci_cfg_cap = 0;

 private:
  vm::GuestPlatform& platform_;
  GuestMemory& memory_;
  Gpa arena_;
  std::map<unsigned, Gpa> cap_;
  uint32_t multiplier_ = 0;
  uint64_t features_ = 0;
};

}  // namespace cupel::devices
