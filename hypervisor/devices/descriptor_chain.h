// A validated virtio descriptor chain, and byte access to its buffers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/guest_memory.h"
#include "core/types.h"

namespace cupel::devices {

struct GuestBuffer {
  Gpa at;
  uint32_t length = 0;
};

// Every buffer lies in RAM and is not empty; the sums do not exceed Virtqueue::kMaxChainBytes.
struct DescriptorChain {
  uint16_t head = 0;
  std::vector<GuestBuffer> readable;  // device reads: request headers, data to write
  std::vector<GuestBuffer> writable;  // device writes: data read, status
  uint32_t readable_bytes = 0;
  uint32_t writable_bytes = 0;
};

// Bytes of `buffers` seen as one stream, from `offset`; returns how many there were.
size_t gather(const GuestMemory& memory, std::span<const GuestBuffer> buffers, size_t offset,
              std::span<std::byte> out);
size_t scatter(GuestMemory& memory, std::span<const GuestBuffer> buffers, size_t offset,
               std::span<const std::byte> in);

}  // namespace cupel::devices
