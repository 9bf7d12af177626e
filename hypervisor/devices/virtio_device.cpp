#include "hypervisor/devices/virtio_device.h"

#include "core/probe.h"

namespace cupel::devices {

using namespace virtio;

std::string_view to_string(VirtioType type) {
  switch (type) {
    case VirtioType::network:
      return "network";
    case VirtioType::block:
      return "block";
    case VirtioType::console:
      return "console";
  }
  return "unknown";
}

VirtioDevice::VirtioDevice(VirtioType type, GuestMemory& memory, uint64_t device_features,
                           std::vector<uint16_t> queue_sizes)
    : type_(type),
      memory_(memory),
      offered_(device_features | kVersion1 | kIndirectDesc | kEventIdx) {
  for (const uint16_t size : queue_sizes) queues_.emplace_back(memory, size);
}

void VirtioDevice::set_driver_features(uint64_t features) {
  if ((status_ & kFeaturesOk) == 0) accepted_ = features;
}

// VIRTIO 1.2, "Device Initialization": bits only accumulate; FEATURES_OK sticks when the device
// agrees; NEEDS_RESET is the device's own.
void VirtioDevice::write_status(uint8_t status) {
  if (status == 0) {
    reset();
    return;
  }
  uint8_t set = static_cast<uint8_t>(status & ~status_ & ~kNeedsReset);
  const bool agreeable = (accepted_ & ~offered_) == 0 && (accepted_ & kVersion1) != 0;
  if ((set & kFeaturesOk) != 0 && !agreeable) set &= static_cast<uint8_t>(~kFeaturesOk);
  if ((set & kDriverOk) != 0 && ((status_ | set) & kFeaturesOk) == 0)
    set &= static_cast<uint8_t>(~kDriverOk);
  status_ |= set;
  if ((set & kDriverOk) == 0) return;
  for (unsigned i = 0; i < queue_count(); ++i) notify(i);
}

void VirtioDevice::reset() {
  status_ = 0;
  accepted_ = 0;
  broken_reason_.clear();
  for (Virtqueue& q : queues_) q.reset();
  on_reset();
}

void VirtioDevice::enable_queue(unsigned i) {
  if (queues_[i].enabled()) return;
  auto done = queues_[i].enable(negotiated(kIndirectDesc), negotiated(kEventIdx));
  if (!done) break_device("queue " + std::to_string(i) + ": " + done.error());
}

void VirtioDevice::notify(unsigned i) {
  if (i < queues_.size() && running() && queues_[i].enabled()) process(i);
}

bool VirtioDevice::pop(unsigned i, DescriptorChain& chain) {
  if (!running()) return false;
  auto popped = queues_[i].pop();
  if (!popped) {
    break_device("queue " + std::to_string(i) + ": " + popped.error());
    return false;
  }
  if (!popped->has_value()) return false;
  chain = std::move(**popped);
  return true;
}

bool VirtioDevice::reopen(unsigned i, uint16_t head, DescriptorChain& chain) {
  auto opened = queues_[i].reopen(head);
  if (!opened) {
    break_device("queue " + std::to_string(i) + ": " + opened.error());
    return false;
  }
  chain = std::move(*opened);
  return true;
}

void VirtioDevice::push(unsigned i, const DescriptorChain& chain, uint32_t written) {
  if (running()) queues_[i].push(chain.head, written);
}

void VirtioDevice::signal(unsigned i) {
  if (running() && queues_[i].wants_interrupt() && interrupt_) interrupt_(Interrupt::queue);
}

// VIRTIO 1.2, "Device Status Field": after DRIVER_OK the driver is told by a configuration change.
void VirtioDevice::break_device(std::string reason) {
  if ((status_ & kNeedsReset) != 0) return;
  CUPEL_PROBE("virtio.needs_reset");
  status_ |= kNeedsReset;
  broken_reason_ = std::move(reason);
  if (on_broken_) on_broken_(broken_reason_);
  if ((status_ & kDriverOk) != 0) change_config();
}

void VirtioDevice::change_config() {
  ++config_generation_;
  if ((status_ & kDriverOk) != 0 && interrupt_) interrupt_(Interrupt::config);
}

void VirtioDevice::save(ArchiveWriter& out) const {
  out.section(std::string("virtio-") + std::string(to_string(type_)), 1);
  out.put(accepted_);
  out.put(status_);
  out.put(config_generation_);
  const auto* reason = reinterpret_cast<const std::byte*>(broken_reason_.data());
  out.put_bytes({reason, broken_reason_.size()});
  for (const Virtqueue& q : queues_) q.save(out);
  save_device(out);
}

void VirtioDevice::restore(ArchiveReader& in) {
  reset();
  in.section(std::string("virtio-") + std::string(to_string(type_)), 1);
  in.get(accepted_);
  in.get(status_);
  in.get(config_generation_);
  const auto reason = in.get_bytes();
  broken_reason_.assign(reinterpret_cast<const char*>(reason.data()), reason.size());
  for (Virtqueue& q : queues_) q.restore(in);
  if (in.ok()) restore_device(in);
}

}  // namespace cupel::devices
