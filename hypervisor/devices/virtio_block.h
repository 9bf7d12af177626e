// virtio block device over any core BlockDevice. Source: VIRTIO 1.2, "Block Device".
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/block_device.h"
#include "hypervisor/devices/virtio_device.h"

namespace cupel::devices {

// What the guest was promised and told: the oracles' view of one disk. Called in the order of
// events at this disk; `id` counts the disk's requests from 1 and names one in both calls.
class BlockObserver {
 public:
  virtual ~BlockObserver() = default;
  // The device has taken the request from the ring; request.data holds what a write carries.
  virtual void on_accepted(uint64_t id, const BlockRequest& request) = 0;
  // The guest can see the completion from now on. `data`: what a read gave it, else empty.
  // Requests that the guest forgets by a device reset are never completed.
  virtual void on_completed(uint64_t id, BlockOp op, BlockStatus status,
                            std::span<const std::byte> data) = 0;
};

// IN, OUT, FLUSH and GET_ID, asynchronously, any number in flight up to the ring size. What the
// disk cannot do reaches the guest as VIRTIO_BLK_S_IOERR or _UNSUPP; a request without a header or
// a status byte breaks the device. If the driver does not negotiate FLUSH, every write is FUA.
//
// Fault contract: none of its own; a disk that never answers leaves the request in flight.
//
// Snapshots record which chains are in flight, in order; restore() submits them again, which is
// safe because the guest has seen none of them complete. The observer sees them accepted again,
// under their old ids.
class VirtioBlock final : public VirtioDevice {
 public:
  static constexpr uint16_t kQueueSize = 128;
  static constexpr uint32_t kMaxSegments = kQueueSize - 2;
  static constexpr uint32_t kMaxSegmentBytes = 32 * 1024;
  static constexpr unsigned kIdSize = 20;
  struct Options {
    std::string id = {};  // cut to 20 bytes
    bool read_only = false;
    BlockObserver* observer = nullptr;  // borrowed; may be null
  };

  // `disk` is borrowed; completions that come after this object is gone are ignored.
  VirtioBlock(GuestMemory& memory, BlockDevice& disk, Options options);

  size_t in_flight() const { return in_flight_.size(); }

 protected:
  void process(unsigned i) override;
  void on_reset() override { in_flight_.clear(); }
  void save_device(ArchiveWriter& out) const override;
  void restore_device(ArchiveReader& in) override;

 private:
  struct Header {
    uint32_t type;
    uint32_t reserved;
    uint64_t sector;
  };
  void start(uint64_t id, DescriptorChain chain);
  void start_read(uint64_t id, DescriptorChain chain, Lba sector);
  void start_write(uint64_t id, DescriptorChain chain, Lba sector);
  void answer_id(const DescriptorChain& chain);
  void submit(uint64_t id, DescriptorChain chain, BlockRequest request);
  void complete(uint64_t id, BlockOp op, const BlockReply& reply);
  void finish(const DescriptorChain& chain, uint8_t status, uint32_t data_bytes);
  bool fits(Lba sector, uint64_t bytes) const;

  BlockDevice& disk_;
  Options options_;
  uint64_t last_id_ = 0;
  std::map<uint64_t, DescriptorChain> in_flight_;
  std::shared_ptr<VirtioBlock*> self_;  // dies with this object; completions hold it weakly
};

}  // namespace cupel::devices
