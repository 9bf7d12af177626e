// The heartbeat frame, as hosts send it to each other by Ethernet broadcast.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/error.h"
#include "core/host.h"
#include "core/net_port.h"

namespace cupel::cluster {

inline constexpr uint16_t kEtherType = 0x88b5;  // IEEE 802 local experimental EtherType 1
inline constexpr size_t kMaxVmsInHeartbeat = 64;

struct HeartbeatMessage {
  HostId sender = HostId::none;
  uint32_t boot = 0;        // grows with every start of the sender
  uint64_t sequence = 0;    // grows with every message of one boot
  bool storage_ok = false;  // the sender reaches the shared datastore
  std::vector<VmId> owned;  // VMs it holds leases of or still runs

  bool operator==(const HeartbeatMessage&) const = default;
  bool owns(VmId vm) const;
};

// The host's own port: locally administered, 02:63:75:70 and the host number.
MacAddress agent_mac(HostId host);
// At most kMaxVmsInHeartbeat VMs.
Frame encode(const HeartbeatMessage& message);
// bad_input for anything but a whole, undamaged heartbeat of this version.
Result<HeartbeatMessage> decode_heartbeat(std::span<const std::byte> frame);
// Whether the frame carries our EtherType at all; others share the wire.
bool is_cluster_frame(std::span<const std::byte> frame);

}  // namespace cupel::cluster
