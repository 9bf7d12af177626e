#include "hypervisor/devices/descriptor_chain.h"

#include <algorithm>

namespace cupel::devices {
namespace {

// Calls visit(address, position in the caller's span, length) for the part of each buffer that
// overlaps [offset, offset + size) of the stream.
template <class Visit>
size_t for_parts(std::span<const GuestBuffer> buffers, size_t offset, size_t size, Visit visit) {
  size_t done = 0;
  for (const GuestBuffer& b : buffers) {
    if (done == size) break;
    if (offset >= b.length) {
      offset -= b.length;
      continue;
    }
    const size_t n = std::min<size_t>(b.length - offset, size - done);
    visit(b.at + offset, done, n);
    done += n;
    offset = 0;
  }
  return done;
}

}  // namespace

size_t gather(const GuestMemory& memory, std::span<const GuestBuffer> buffers, size_t offset,
              std::span<std::byte> out) {
  return for_parts(buffers, offset, out.size(), [&](Gpa at, size_t position, size_t n) {
    memory.read(at, out.subspan(position, n));
  });
}

size_t scatter(GuestMemory& memory, std::span<const GuestBuffer> buffers, size_t offset,
               std::span<const std::byte> in) {
  return for_parts(buffers, offset, in.size(), [&](Gpa at, size_t position, size_t n) {
    memory.write(at, in.subspan(position, n));
  });
}

}  // namespace cupel::devices
