// The first virtio block device, one request at a time.
#pragma once

#include <stdint.h>

namespace workload {

inline constexpr uint32_t kSectorSize = 512;
inline constexpr uint32_t kMaxSectors = 128;  // a request

// False: no usable device.
bool block_open();
uint64_t block_sectors();

// Status byte of the device: 0 ok, 1 I/O error, 2 unsupported. VIRTIO 1.2, "Block Device".
// They halt until the device answers, however long that takes; the network is served meanwhile.
uint8_t block_read(uint64_t sector, void* data, uint32_t sectors);
// Write, then flush where the device has a volatile cache.
uint8_t block_write_flushed(uint64_t sector, const void* data, uint32_t sectors);

}  // namespace workload
