#include "hypervisor/devices/virtqueue.h"

#include <bit>
#include <cassert>
#include <cstdio>

#include "core/probe.h"

namespace cupel::devices {
namespace {

// VIRTIO 1.2, "The Virtqueue Descriptor Table", "The Virtqueue Available Ring".
constexpr uint16_t kNext = 1, kWrite = 2, kIndirect = 4;
constexpr uint16_t kNoInterrupt = 1;
constexpr uint64_t kDescriptorSize = 16, kUsedElementSize = 8, kRingHeader = 4;

struct UsedElement {
  uint32_t id;
  uint32_t length;
};

std::string hex(uint64_t v) {
  char text[24];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(v));
  return text;
}

Failure<std::string> broken(std::string why) { return Failure<std::string>(std::move(why)); }

}  // namespace

void Virtqueue::set_size(uint16_t size) {
  if (!enabled_) size_ = size;
}
void Virtqueue::set_descriptors(Gpa at) {
  if (!enabled_) descriptors_ = at;
}
void Virtqueue::set_driver_area(Gpa at) {
  if (!enabled_) driver_ = at;
}
void Virtqueue::set_device_area(Gpa at) {
  if (!enabled_) device_ = at;
}

Result<void, Virtqueue::Fault> Virtqueue::enable(bool indirect, bool event_index) {
  if (size_ > max_size_ || !std::has_single_bit(size_))
    return broken("size " + std::to_string(size_) + " is not a power of two up to " +
                  std::to_string(max_size_));
  struct Area {
    const char* name;
    Gpa at;
    uint64_t length, alignment;
  };
  const Area areas[] = {
      {"descriptor table", descriptors_, kDescriptorSize * size_, 16},
      {"available ring", driver_, kRingHeader + 2ull * size_ + 2, 2},
      {"used ring", device_, kRingHeader + kUsedElementSize * size_ + 2, 4},
  };
  for (const Area& a : areas) {
    if (a.at.value() % a.alignment != 0)
      return broken(std::string(a.name) + " at " + hex(a.at.value()) + " is not aligned");
    if (!memory_->contains(a.at, a.length))
      return broken(std::string(a.name) + " at " + hex(a.at.value()) + " is outside RAM");
  }
  enabled_ = true;
  indirect_ = indirect;
  event_index_ = event_index;
  next_available_ = next_used_ = signalled_used_ = 0;
  in_flight_.assign(size_, false);
  return {};
}

void Virtqueue::reset() { *this = Virtqueue(*memory_, max_size_); }

Virtqueue::Popped Virtqueue::pop() {
  if (!enabled_) return std::optional<DescriptorChain>();
  uint16_t index = 0;
  memory_->read(driver_ + 2, index);
  const auto waiting = static_cast<uint16_t>(index - next_available_);
  if (waiting == 0) {
    ask_for_notification();
    return std::optional<DescriptorChain>();
  }
  if (waiting > size_) {
    CUPEL_PROBE("virtqueue.index_jump");
    return broken("available index jumped to " + std::to_string(index) + " from " +
                  std::to_string(next_available_) + ", ring size " + std::to_string(size_));
  }
  uint16_t head = 0;
  memory_->read(driver_ + kRingHeader + 2ull * (next_available_ % size_), head);
  auto chain = reopen(head);
  if (!chain) return std::move(chain).failure();
  ++next_available_;
  return std::optional<DescriptorChain>(std::move(*chain));
}

Result<DescriptorChain, Virtqueue::Fault> Virtqueue::reopen(uint16_t head) {
  if (!enabled_ || head >= size_)
    return broken("descriptor " + std::to_string(head) + " does not exist in a ring of " +
                  std::to_string(enabled_ ? size_ : 0));
  if (in_flight_[head])
    return broken("descriptor " + std::to_string(head) + " was offered again while in use");
  auto chain = walk(head);
  if (chain) in_flight_[head] = true;
  return chain;
}

Result<DescriptorChain, Virtqueue::Fault> Virtqueue::walk(uint16_t head) const {
  DescriptorChain chain;
  chain.head = head;
  if (auto fault = walk_table(Table{descriptors_, size_, false}, head, chain))
    return broken("descriptor chain " + std::to_string(head) + ": " + *fault);
  return chain;
}

std::optional<Virtqueue::Fault> Virtqueue::walk_table(const Table& table, uint16_t first,
                                                      DescriptorChain& chain) const {
  uint32_t at = first;
  // More steps than descriptors means a loop.
  for (uint32_t steps = 0; steps < table.count; ++steps) {
    Descriptor d{};
    memory_->read(table.at + kDescriptorSize * at, d);
    if ((d.flags & kIndirect) != 0) {
      if (table.indirect) return "indirect table inside an indirect table";
      return enter_indirect(d, chain);
    }
    if (auto fault = add_buffer(d, chain)) return fault;
    if ((d.flags & kNext) == 0) return std::nullopt;
    at = d.next;
    if (at >= table.count) return "next descriptor " + std::to_string(at) + " does not exist";
  }
  CUPEL_PROBE("virtqueue.loop");
  return "loops";
}

// VIRTIO 1.2, "Indirect Descriptors": the table ends the chain.
std::optional<Virtqueue::Fault> Virtqueue::enter_indirect(const Descriptor& d,
                                                          DescriptorChain& chain) const {
  if (!indirect_) return "indirect table without VIRTIO_F_INDIRECT_DESC";
  if ((d.flags & kNext) != 0) return "indirect table that has a next descriptor";
  if (d.length == 0 || d.length % kDescriptorSize != 0)
    return "indirect table of " + std::to_string(d.length) + " bytes";
  const uint64_t count = d.length / kDescriptorSize;
  if (count > size_)
    return "indirect table of " + std::to_string(count) + " descriptors in a ring of " +
           std::to_string(size_);
  if (!memory_->contains(Gpa(d.address), d.length))
    return "indirect table at " + hex(d.address) + " is outside RAM";
  return walk_table(Table{Gpa(d.address), static_cast<uint32_t>(count), true}, 0, chain);
}

std::optional<Virtqueue::Fault> Virtqueue::add_buffer(const Descriptor& d,
                                                      DescriptorChain& chain) const {
  if (d.length == 0) return "empty buffer";
  if (!memory_->contains(Gpa(d.address), d.length))
    return "buffer at " + hex(d.address) + " of " + std::to_string(d.length) +
           " bytes is outside RAM";
  const bool writable = (d.flags & kWrite) != 0;
  if (!writable && !chain.writable.empty()) return "readable buffer after a writable one";
  if (chain.readable.size() + chain.writable.size() >= size_)
    return "more than " + std::to_string(size_) + " buffers";
  if (d.length > kMaxChainBytes - chain.readable_bytes - chain.writable_bytes)
    return "more than " + std::to_string(kMaxChainBytes) + " bytes";
  (writable ? chain.writable : chain.readable).push_back({Gpa(d.address), d.length});
  (writable ? chain.writable_bytes : chain.readable_bytes) += d.length;
  return std::nullopt;
}

void Virtqueue::push(uint16_t head, uint32_t written) {
  if (!enabled_ || head >= size_ || !in_flight_[head]) return;
  in_flight_[head] = false;
  memory_->write(device_ + kRingHeader + kUsedElementSize * (next_used_ % size_),
                 UsedElement{head, written});
  ++next_used_;
  memory_->write(device_ + 2, next_used_);
}

void Virtqueue::ask_for_notification() {
  if (!event_index_) return;
  memory_->write(device_ + kRingHeader + kUsedElementSize * size_, next_available_);
}

// VIRTIO 1.2, "Used Buffer Notification Suppression".
bool Virtqueue::wants_interrupt() {
  if (!enabled_ || next_used_ == signalled_used_) return false;
  if (event_index_) {
    uint16_t event = 0;
    memory_->read(driver_ + kRingHeader + 2ull * size_, event);
    const auto since = static_cast<uint16_t>(next_used_ - event - 1);
    const auto pushed = static_cast<uint16_t>(next_used_ - signalled_used_);
    signalled_used_ = next_used_;
    return since < pushed;
  }
  signalled_used_ = next_used_;
  uint16_t flags = 0;
  memory_->read(driver_, flags);
  return (flags & kNoInterrupt) == 0;
}

void Virtqueue::save(ArchiveWriter& out) const {
  out.put(size_);
  out.put(descriptors_.value());
  out.put(driver_.value());
  out.put(device_.value());
  out.put(static_cast<uint8_t>(enabled_));
  out.put(static_cast<uint8_t>(indirect_));
  out.put(static_cast<uint8_t>(event_index_));
  out.put(next_available_);
  out.put(next_used_);
  out.put(signalled_used_);
}

// Chains in flight are not in here: each device lists those it holds and reopens them.
void Virtqueue::restore(ArchiveReader& in) {
  reset();
  in.get(size_);
  descriptors_ = Gpa(in.get<uint64_t>());
  driver_ = Gpa(in.get<uint64_t>());
  device_ = Gpa(in.get<uint64_t>());
  const bool was_enabled = in.get<uint8_t>() != 0;
  const bool indirect = in.get<uint8_t>() != 0;
  const bool event_index = in.get<uint8_t>() != 0;
  const auto available = in.get<uint16_t>();
  const auto used = in.get<uint16_t>();
  const auto signalled = in.get<uint16_t>();
  if (!was_enabled || !in.ok()) return;
  if (auto done = enable(indirect, event_index); !done) {
    in.note("virtqueue: " + done.error());
    return;
  }
  next_available_ = available;
  next_used_ = used;
  signalled_used_ = signalled;
}

}  // namespace cupel::devices
