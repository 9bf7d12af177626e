#include "hypervisor/devices/virtio_pci.h"

#include <array>

namespace cupel::devices {
namespace {

constexpr uint8_t kVendorCapability = 0x09;
constexpr uint16_t kVirtioVendor = 0x1af4, kNoVector = 0xffff;
// cfg_type. VIRTIO 1.2, "Virtio Structure PCI Capabilities".
enum CapabilityType : uint8_t {
  kCommonCfg = 1,
  kNotifyCfg = 2,
  kIsrCfg = 3,
  kDeviceCfg = 4,
  kPciCfg = 5,
};

uint32_t class_code(VirtioType type) {
  switch (type) {
    case VirtioType::network:
      return 0x020000;
    case VirtioType::block:
      return 0x010000;
    case VirtioType::console:
      return 0x078000;
  }
  return 0xff0000;
}

chips::PciFunction::Identity identity(VirtioType type) {
  const auto id = static_cast<uint16_t>(0x1040 + static_cast<uint16_t>(type));
  return {.vendor = kVirtioVendor,
          .device = id,
          .subsystem_vendor = kVirtioVendor,
          .subsystem = id,
          .revision = 1,
          .class_code = class_code(type),
          .interrupt = true};
}

// The body of struct virtio_pci_cap after its ID and next bytes, with 4 bytes of tail.
std::array<uint8_t, 18> capability(CapabilityType type, uint32_t offset, uint32_t length,
                                   uint32_t tail, bool has_tail) {
  std::array<uint8_t, 18> body{};
  body[0] = has_tail ? 20 : 16;  // cap_len, of the whole structure
  body[1] = type;
  body[2] = 0;  // BAR
  for (unsigned b = 0; b < 4; ++b) {
    body[6 + b] = static_cast<uint8_t>(offset >> (8 * b));
    body[10 + b] = static_cast<uint8_t>(length >> (8 * b));
    body[14 + b] = static_cast<uint8_t>(tail >> (8 * b));
  }
  return body;
}

uint64_t with_half(uint64_t old, bool high, unsigned size, uint64_t value) {
  if (size == 8) return value;
  const uint64_t half = value & 0xffffffffu;
  return high ? (old & 0xffffffffu) | half << 32 : (old & ~0xffffffffull) | half;
}

}  // namespace

// One row a field of the common configuration structure. A 64-bit field may be accessed in halves.
// VIRTIO 1.2, "Common configuration structure layout".
struct VirtioPci::Register {
  uint32_t offset;
  unsigned width;
  uint64_t (*read)(VirtioPci& t);
  void (*write)(VirtioPci& t, uint64_t value);
};

const VirtioPci::Register* VirtioPci::find_register(uint64_t offset) {
  using T = VirtioPci;
  constexpr auto ignore = [](T&, uint64_t) {};
  constexpr auto no_vector = [](T&) -> uint64_t { return kNoVector; };
  static constexpr Register kRegisters[] = {
      {0x00, 4, [](T& t) -> uint64_t { return t.device_feature_select_; },
       [](T& t, uint64_t v) { t.device_feature_select_ = static_cast<uint32_t>(v); }},
      {0x04, 4,
       [](T& t) -> uint64_t {
         const uint32_t word = t.device_feature_select_;
         return word < 2 ? t.device_->offered_features() >> (32 * word) & 0xffffffffu : 0;
       },
       ignore},
      {0x08, 4, [](T& t) -> uint64_t { return t.driver_feature_select_; },
       [](T& t, uint64_t v) { t.driver_feature_select_ = static_cast<uint32_t>(v); }},
      {0x0c, 4,
       [](T& t) -> uint64_t {
         const uint32_t word = t.driver_feature_select_;
         return word < 2 ? t.device_->driver_features() >> (32 * word) & 0xffffffffu : 0;
       },
       [](T& t, uint64_t v) {
         if (t.driver_feature_select_ < 2)
           t.device_->set_driver_features(
               with_half(t.device_->driver_features(), t.driver_feature_select_ == 1, 4, v));
       }},
      {0x10, 2, no_vector, ignore},  // msix_config
      {0x12, 2, [](T& t) -> uint64_t { return t.device_->queue_count(); }, ignore},
      {0x14, 1, [](T& t) -> uint64_t { return t.device_->status(); },
       [](T& t, uint64_t v) {
         t.device_->write_status(static_cast<uint8_t>(v));
         if ((v & 0xff) == 0) t.take_isr();
       }},
      {0x15, 1, [](T& t) -> uint64_t { return t.device_->config_generation(); }, ignore},
      {0x16, 2, [](T& t) -> uint64_t { return t.queue_select_; },
       [](T& t, uint64_t v) { t.queue_select_ = static_cast<uint16_t>(v); }},
      {0x18, 2,
       [](T& t) -> uint64_t { return t.selected_queue() ? t.selected_queue()->size() : 0; },
       [](T& t, uint64_t v) {
         if (auto* q = t.selected_queue()) q->set_size(static_cast<uint16_t>(v));
       }},
      {0x1a, 2, no_vector, ignore},  // queue_msix_vector
      {0x1c, 2,
       [](T& t) -> uint64_t { return t.selected_queue() ? t.selected_queue()->enabled() : 0; },
       [](T& t, uint64_t v) {
         if (v == 1 && t.selected_queue()) t.device_->enable_queue(t.queue_select_);
       }},
      {0x1e, 2, [](T& t) -> uint64_t { return t.queue_select_; }, ignore},  // queue_notify_off
      {0x20, 8,
       [](T& t) -> uint64_t {
         return t.selected_queue() ? t.selected_queue()->descriptors().value() : 0;
       },
       [](T& t, uint64_t v) {
         if (auto* q = t.selected_queue()) q->set_descriptors(Gpa(v));
       }},
      {0x28, 8,
       [](T& t) -> uint64_t {
         return t.selected_queue() ? t.selected_queue()->driver_area().value() : 0;
       },
       [](T& t, uint64_t v) {
         if (auto* q = t.selected_queue()) q->set_driver_area(Gpa(v));
       }},
      {0x30, 8,
       [](T& t) -> uint64_t {
         return t.selected_queue() ? t.selected_queue()->device_area().value() : 0;
       },
       [](T& t, uint64_t v) {
         if (auto* q = t.selected_queue()) q->set_device_area(Gpa(v));
       }},
  };
  for (const Register& r : kRegisters)
    if (offset >= r.offset && offset < r.offset + r.width) return &r;
  return nullptr;
}

VirtioPci::VirtioPci(std::unique_ptr<VirtioDevice> owned)
    : PciFunction(identity(owned->type())), device_(std::move(owned)) {
  add_memory_bar(0, kBarSize);
  const auto add = [&](CapabilityType type, uint32_t at, uint32_t length, uint32_t tail,
                       bool has_tail) {
    const auto body = capability(type, at, length, tail, has_tail);
    return add_capability(kVendorCapability, {body.data(), has_tail ? size_t{18} : size_t{14}});
  };
  add(kCommonCfg, kCommon, 0x38, 0, false);
  add(kIsrCfg, kIsr, 1, 0, false);
  add(kDeviceCfg, kDevice, 0x1000, 0, false);
  add(kNotifyCfg, kNotify, kNotifyMultiplier * device_->queue_count(), kNotifyMultiplier, true);
  window_capability_ = add(kPciCfg, 0, 0, 0, true);
  make_writable(window_capability_ + 4, 1);  // bar
  make_writable(window_capability_ + 8, 8);  // offset, length
  device_->set_interrupt_sink([this](VirtioDevice::Interrupt cause) {
    isr_ |= static_cast<uint8_t>(cause);
    set_interrupt(true);
  });
}

Virtqueue* VirtioPci::selected_queue() {
  return queue_select_ < device_->queue_count() ? &device_->queue(queue_select_) : nullptr;
}

uint8_t VirtioPci::take_isr() {
  const uint8_t causes = isr_;
  isr_ = 0;
  set_interrupt(false);
  return causes;
}

uint64_t VirtioPci::common_read(uint64_t offset) {
  const Register* r = find_register(offset);
  if (r == nullptr) return 0;
  return r->read(*this) >> (8 * (offset - r->offset));
}

void VirtioPci::common_write(uint64_t offset, unsigned size, uint64_t value) {
  const Register* r = find_register(offset);
  if (r == nullptr) return;
  const uint64_t into = offset - r->offset;
  if (r->width == 8 && (size == 4 || size == 8) && into % size == 0) {
    r->write(*this, with_half(r->read(*this), into == 4, size, value));
  } else if (r->width == size && into == 0) {
    r->write(*this, value);
  }
}

uint64_t VirtioPci::bar_read(unsigned, uint64_t offset, unsigned size) {
  if (offset < kIsr) return common_read(offset);
  if (offset < kDevice) return offset == kIsr ? take_isr() : 0;
  if (offset >= kNotify) return 0;
  uint64_t value = 0;
  for (unsigned b = 0; b < size; ++b)
    value |=
        static_cast<uint64_t>(device_->config_byte(static_cast<unsigned>(offset - kDevice) + b))
        << (8 * b);
  return value;
}

void VirtioPci::bar_write(unsigned, uint64_t offset, unsigned size, uint64_t value) {
  if (offset < kIsr) {
    common_write(offset, size, value);
  } else if (offset >= kNotify) {
    device_->notify(static_cast<unsigned>((offset - kNotify) / kNotifyMultiplier));
  }
}

// VIRTIO 1.2, "PCI configuration access capability": bar, offset and length choose what
// pci_cfg_data, the last four bytes, reads and writes.
bool VirtioPci::window(uint32_t& offset, unsigned& length) const {
  offset = raw(window_capability_ + 8, 4);
  length = raw(window_capability_ + 12, 4);
  if (raw(window_capability_ + 4, 1) != 0) return false;
  if (length != 1 && length != 2 && length != 4) return false;
  return offset % length == 0 && offset <= kBarSize - length;
}

uint32_t VirtioPci::config_read(unsigned at, unsigned size) {
  uint32_t offset = 0;
  unsigned length = 0;
  const unsigned data = window_capability_ + 16;
  if (at >= data && at < data + 4 && window(offset, length))
    set_raw(data, 4, static_cast<uint32_t>(bar_read(0, offset, length)));
  return PciFunction::config_read(at, size);
}

void VirtioPci::config_write(unsigned at, unsigned size, uint32_t value) {
  uint32_t offset = 0;
  unsigned length = 0;
  if (at == window_capability_ + 16) {
    if (window(offset, length) && size == length) bar_write(0, offset, length, value);
  } else {
    PciFunction::config_write(at, size, value);
  }
}

void VirtioPci::save(ArchiveWriter& out) const {
  out.section("virtio-pci", 1);
  PciFunction::save(out);
  out.put(device_feature_select_);
  out.put(driver_feature_select_);
  out.put(queue_select_);
  out.put(isr_);
  device_->save(out);
}

void VirtioPci::restore(ArchiveReader& in) {
  in.section("virtio-pci", 1);
  PciFunction::restore(in);
  in.get(device_feature_select_);
  in.get(driver_feature_select_);
  in.get(queue_select_);
  in.get(isr_);
  isr_ &= 3;
  device_->restore(in);
}

}  // namespace cupel::devices
