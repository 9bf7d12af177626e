// The PCI transport of a virtio device, modern interface only, with INTx.
// Source: VIRTIO 1.2, "Virtio Over PCI Bus".
#pragma once

#include <cstdint>
#include <memory>

#include "core/chips/pci.h"
#include "hypervisor/devices/virtio_device.h"

namespace cupel::devices {

// Device ID 0x1040 + type, revision 1. BAR 0 holds the common, ISR, device and notification
// structures; the PCI configuration capability reaches the same BAR through configuration space.
// No MSI-X: drivers fall back to the pin.
class VirtioPci final : public chips::PciFunction {
 public:
  static constexpr uint32_t kBarSize = 0x4000;
  static constexpr uint32_t kCommon = 0x0000, kIsr = 0x1000, kDevice = 0x2000, kNotify = 0x3000;
  static constexpr uint32_t kNotifyMultiplier = 4;

  explicit VirtioPci(std::unique_ptr<VirtioDevice> device);
  VirtioDevice& device() { return *device_; }

  uint32_t config_read(unsigned offset, unsigned size) override;
  void config_write(unsigned offset, unsigned size, uint32_t value) override;
  uint64_t bar_read(unsigned bar, uint64_t offset, unsigned size) override;
  void bar_write(unsigned bar, uint64_t offset, unsigned size, uint64_t value) override;

  void save(ArchiveWriter& out) const;
  // The guest's RAM must be restored first.
  void restore(ArchiveReader& in);

 private:
  struct Register;
  static const Register* find_register(uint64_t offset);
  uint64_t common_read(uint64_t offset);
  void common_write(uint64_t offset, unsigned size, uint64_t value);
  uint8_t take_isr();
  Virtqueue* selected_queue();
  // Where the PCI configuration capability points; false when it points nowhere.
  bool window(uint32_t& offset, unsigned& length) const;

  std::unique_ptr<VirtioDevice> device_;
  unsigned window_capability_ = 0;
  uint32_t device_feature_select_ = 0;
  uint32_t driver_feature_select_ = 0;
  uint16_t queue_select_ = 0;
  uint8_t isr_ = 0;
};

}  // namespace cupel::devices
