#include "hypervisor/cluster/messages.h"

#include <algorithm>
#include <cassert>

#include "core/hash.h"

namespace cupel::cluster {
namespace {

constexpr uint32_t kMagic = 0x42485543;  // "CUHB"
constexpr uint8_t kVersion = 1;
constexpr uint8_t kStorageOk = 1;
constexpr size_t kHeaderBytes = 14;
constexpr size_t kFixedBytes = 4 + 1 + 1 + 2 + 4 + 8 + 2;  // up to and with the VM count
constexpr size_t kChecksumBytes = 8;
constexpr size_t kMinFrame = 60;

template <class T>
void append(Frame& frame, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) {
    frame.push_back(static_cast<std::byte>(static_cast<uint64_t>(value) >> (8 * i)));
  }
}

class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes) {}
  size_t left() const { return bytes_.size(); }
  template <class T>
  T take() {
    assert(left() >= sizeof(T));
    uint64_t value = 0;
    for (size_t i = 0; i < sizeof(T); ++i) value |= static_cast<uint64_t>(bytes_[i]) << (8 * i);
    bytes_ = bytes_.subspan(sizeof(T));
    return static_cast<T>(value);
  }

 private:
  std::span<const std::byte> bytes_;
};

Failure<Error> bad(const char* what) {
  return fail(ErrorKind::bad_input, std::string("heartbeat: ") + what);
}

}  // namespace

bool HeartbeatMessage::owns(VmId vm) const { return std::ranges::find(owned, vm) != owned.end(); }

MacAddress agent_mac(HostId host) {
  const uint16_t n = number(host);
  return {0x02, 0x63, 0x75, 0x70, static_cast<uint8_t>(n >> 8), static_cast<uint8_t>(n)};
}

Frame encode(const HeartbeatMessage& message) {
  assert(message.owned.size() <= kMaxVmsInHeartbeat);
  Frame frame(6, std::byte{0xff});
  for (uint8_t b : agent_mac(message.sender)) frame.push_back(std::byte{b});
  frame.push_back(std::byte{kEtherType >> 8});
  frame.push_back(std::byte{kEtherType & 0xff});
  append(frame, kMagic);
  append(frame, kVersion);
  append(frame, message.storage_ok ? kStorageOk : uint8_t{0});
  append(frame, number(message.sender));
  append(frame, message.boot);
  append(frame, message.sequence);
  append(frame, static_cast<uint16_t>(message.owned.size()));
  for (VmId vm : message.owned) append(frame, number(vm));
  append(frame, hash_bytes(frame.data() + kHeaderBytes, frame.size() - kHeaderBytes));
  if (frame.size() < kMinFrame) frame.resize(kMinFrame);
  return frame;
}

bool is_cluster_frame(std::span<const std::byte> frame) {
  return frame.size() >= kHeaderBytes && frame[12] == std::byte{kEtherType >> 8} &&
         frame[13] == std::byte{kEtherType & 0xff};
}

Result<HeartbeatMessage> decode_heartbeat(std::span<const std::byte> frame) {
  if (!is_cluster_frame(frame)) return bad("of another EtherType");
  const auto payload = frame.subspan(kHeaderBytes);
  if (payload.size() < kFixedBytes + kChecksumBytes) return bad("too short");
  Reader reader(payload);
  if (reader.take<uint32_t>() != kMagic) return bad("no magic");
  if (reader.take<uint8_t>() != kVersion) return bad("of an unknown version");
  HeartbeatMessage message;
  message.storage_ok = (reader.take<uint8_t>() & kStorageOk) != 0;
  message.sender = HostId{reader.take<uint16_t>()};
  message.boot = reader.take<uint32_t>();
  message.sequence = reader.take<uint64_t>();
  const size_t vms = reader.take<uint16_t>();
  if (vms > kMaxVmsInHeartbeat) return bad("too many VMs");
  if (reader.left() < vms * sizeof(uint16_t) + kChecksumBytes) return bad("cut off");
  for (size_t i = 0; i < vms; ++i) message.owned.push_back(VmId{reader.take<uint16_t>()});
  const size_t covered = payload.size() - reader.left();
  if (reader.take<uint64_t>() != hash_bytes(payload.data(), covered)) return bad("damaged");
  if (message.sender == HostId::none) return bad("from nobody");
  return message;
}

}  // namespace cupel::cluster
