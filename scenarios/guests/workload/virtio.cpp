#include "scenarios/guests/workload/virtio.h"

#include "scenarios/guests/workload/console.h"
#include "scenarios/guests/workload/x86.h"

namespace workload {
namespace {

constexpr uint16_t kVendor = 0x1af4;

// Common configuration structure.
constexpr unsigned kDeviceFeatureSelect = 0, kDeviceFeature = 4, kDriverFeatureSelect = 8,
                   kDriverFeature = 12, kMsixConfig = 16, kStatus = 20, kQueueSelect = 22,
                   kQueueSize = 24, kQueueMsixVector = 26, kQueueEnable = 28, kQueueNotifyOff = 30,
                   kQueueDescriptors = 32, kQueueDriver = 40, kQueueDevice = 48;
constexpr uint8_t kAcknowledge = 1, kDriver = 2, kDriverOk = 4, kFeaturesOk = 8;
constexpr uint16_t kNoVector = 0xffff;

template <class T>
volatile T& field(volatile uint8_t* base, unsigned offset) {
  return *reinterpret_cast<volatile T*>(base + offset);
}

void write_address(volatile uint8_t* common, unsigned offset, const void* p) {
  const auto address = reinterpret_cast<uint64_t>(p);
  field<uint32_t>(common, offset) = static_cast<uint32_t>(address);
  field<uint32_t>(common, offset + 4) = static_cast<uint32_t>(address >> 32);
}

}  // namespace

bool VirtioDevice::open(VirtioKind kind, unsigned n, uint64_t wanted) {
  const auto number = static_cast<uint16_t>(kind);
  const auto modern = static_cast<uint16_t>(0x1040 + number);
  const auto transitional = static_cast<uint16_t>(0x1000 + number - 1);
  if (!pci::find(kVendor, modern, transitional, n, function_)) return false;
  if (!find_capabilities()) {
    print("WORKLOAD error: a virtio device without modern PCI capabilities\n");
    return false;
  }
  return negotiate(wanted);
}

bool VirtioDevice::find_capabilities() {
  constexpr uint8_t kVendorSpecific = 0x09;
  function_.enable();
  if ((function_.read16(0x06) & 1 << 4) == 0) return false;
  uint8_t at = function_.read8(0x34) & 0xfc;
  for (unsigned steps = 0; at != 0 && steps < 48; ++steps) {
    const uint32_t head = function_.read32(at);
    if (static_cast<uint8_t>(head) == kVendorSpecific) {
      const auto type = static_cast<uint8_t>(head >> 24);
      const uint8_t bar = function_.read8(static_cast<uint8_t>(at + 4));
      const uint32_t offset = function_.read32(static_cast<uint8_t>(at + 8));
      volatile uint8_t* const base = type >= 1 && type <= 4 ? function_.map_bar(bar) : nullptr;
      if (base != nullptr) {
        if (type == 1) common_ = base + offset;
        if (type == 2) {
          notify_ = base + offset;
          notify_multiplier_ = function_.read32(static_cast<uint8_t>(at + 16));
        }
        if (type == 3) isr_ = base + offset;
        if (type == 4) config_ = base + offset;
      }
    }
    at = static_cast<uint8_t>(head >> 8) & 0xfc;
  }
  return common_ != nullptr && notify_ != nullptr && isr_ != nullptr && config_ != nullptr;
}

bool VirtioDevice::negotiate(uint64_t wanted) {
  field<uint8_t>(common_, kStatus) = 0;
  while (field<uint8_t>(common_, kStatus) != 0) pause();
  field<uint8_t>(common_, kStatus) = kAcknowledge;
  field<uint8_t>(common_, kStatus) = kAcknowledge | kDriver;
  uint64_t offered = 0;
  for (unsigned half = 0; half < 2; ++half) {
    field<uint32_t>(common_, kDeviceFeatureSelect) = half;
    offered |= static_cast<uint64_t>(field<uint32_t>(common_, kDeviceFeature)) << 32 * half;
  }
  features_ = offered & (wanted | kVirtioVersion1);
  for (unsigned half = 0; half < 2; ++half) {
    field<uint32_t>(common_, kDriverFeatureSelect) = half;
    field<uint32_t>(common_, kDriverFeature) = static_cast<uint32_t>(features_ >> 32 * half);
  }
  field<uint8_t>(common_, kStatus) = kAcknowledge | kDriver | kFeaturesOk;
  if (!has(kVirtioVersion1) || (field<uint8_t>(common_, kStatus) & kFeaturesOk) == 0) {
    print_all("WORKLOAD error: virtio features refused, offered ", Hex{offered}, "\n");
    return false;
  }
  field<uint16_t>(common_, kMsixConfig) = kNoVector;
  return true;
}

void VirtioDevice::start() {
  field<uint8_t>(common_, kStatus) = kAcknowledge | kDriver | kFeaturesOk | kDriverOk;
}

volatile uint16_t* VirtioDevice::set_queue(uint16_t index, uint16_t& size, const void* descriptors,
                                           const void* available, const void* used) {
  field<uint16_t>(common_, kQueueSelect) = index;
  const uint16_t maximum = field<uint16_t>(common_, kQueueSize);
  if (maximum == 0 || maximum == 0xffff) return nullptr;
  if (maximum < size) size = maximum;
  field<uint16_t>(common_, kQueueSize) = size;
  field<uint16_t>(common_, kQueueMsixVector) = kNoVector;
  write_address(common_, kQueueDescriptors, descriptors);
  write_address(common_, kQueueDriver, available);
  write_address(common_, kQueueDevice, used);
  const uint32_t offset = field<uint16_t>(common_, kQueueNotifyOff) * notify_multiplier_;
  field<uint16_t>(common_, kQueueEnable) = 1;
  return &field<uint16_t>(notify_, offset);
}

bool Queue::attach(VirtioDevice& device, uint16_t index) {
  index_ = index;
  notify_ = device.set_queue(index, size_, descriptors_, &available_, &used_);
  return notify_ != nullptr;
}

void Queue::set(uint16_t i, const void* data, uint32_t length, uint16_t flags, uint16_t next) {
  descriptors_[i] = {reinterpret_cast<uint64_t>(data), length, flags, next};
}

void Queue::submit(uint16_t head) {
  const uint16_t index = available_.index;
  available_.ring[index % size_] = head;
  __atomic_store_n(&available_.index, static_cast<uint16_t>(index + 1), __ATOMIC_RELEASE);
  full_barrier();
  constexpr uint16_t kNoNotify = 1;
  if ((__atomic_load_n(&used_.flags, __ATOMIC_RELAXED) & kNoNotify) == 0) *notify_ = index_;
}

Queue::Done Queue::take() {
  const Done done = used_.ring[taken_ % size_];
  taken_ = static_cast<uint16_t>(taken_ + 1);
  return done;
}

}  // namespace workload
