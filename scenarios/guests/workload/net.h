// The first virtio network device: answers ARP, ICMP echo and UDP questions about the progress.
#pragma once

#include <stdint.h>

namespace workload {

inline constexpr uint16_t kProgressPort = 7777;

// What UDP port 7777 tells: any datagram is answered with `acked` as 8 bytes, little-endian; the
// text "count?" with the text "count=<acked> generation=<generation>\n".
struct Progress {
  uint64_t acked = 0;
  uint64_t generation = 0;
};
extern Progress progress;

// False: no usable device. Announces the address (host byte order) by a gratuitous ARP.
bool net_open(uint32_t ip);
// Answers what has arrived. Interrupts off. Does nothing without a device.
void net_poll();

}  // namespace workload
