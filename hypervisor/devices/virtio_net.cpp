#include "hypervisor/devices/virtio_net.h"

#include <array>

namespace cupel::devices {
namespace {

// VIRTIO 1.2, "Network Device": feature bits, status, struct virtio_net_hdr.
constexpr uint64_t kMac = 1 << 5, kStatus = 1 << 16;
constexpr uint16_t kLinkUp = 1;
constexpr unsigned kStatusOffset = 6;
constexpr size_t kHeaderSize = 12, kGsoType = 1, kNumBuffers = 10;

bool acceptable(size_t length) {
  return length >= VirtioNet::kShortestFrame && length <= VirtioNet::kLongestFrame;
}

}  // namespace

VirtioNet::VirtioNet(GuestMemory& memory, NetPort& port, MacAddress mac)
    : VirtioDevice(VirtioType::network, memory, kMac | kStatus, {kQueueSize, kQueueSize}),
      port_(port) {
  for (unsigned i = 0; i < mac.size(); ++i) set_config<uint8_t>(i, mac[i]);
  set_config<uint16_t>(kStatusOffset, port.link_up() ? kLinkUp : 0);
  port_.set_receiver([this](const Frame& frame) { receive(frame); });
  port_.set_link_watcher([this](bool up) { link_changed(up); });
}

VirtioNet::~VirtioNet() {
  port_.set_receiver({});
  port_.set_link_watcher({});
}

void VirtioNet::process(unsigned i) {
  if (i == kReceiveQueue) {
    deliver();
  } else {
    transmit();
  }
}

void VirtioNet::receive(const Frame& frame) {
  if (!running()) return;  // a card that nobody drives
  if (!acceptable(frame.size()) || backlog_.size() >= kBacklog) {
    ++counters_.receive_dropped;
    return;
  }
  backlog_.push_back(frame);
  deliver();
}

void VirtioNet::deliver() {
  DescriptorChain chain;
  while (!backlog_.empty() && pop(kReceiveQueue, chain)) {
    const Frame frame = std::move(backlog_.front());
    backlog_.pop_front();
    if (chain.writable_bytes < kHeaderSize + frame.size()) {
      ++counters_.receive_dropped;
      push(kReceiveQueue, chain, 0);
      continue;
    }
    std::array<std::byte, kHeaderSize> header{};
    header[kNumBuffers] = std::byte{1};
    scatter(memory(), chain.writable, 0, header);
    scatter(memory(), chain.writable, kHeaderSize, frame);
    push(kReceiveQueue, chain, static_cast<uint32_t>(kHeaderSize + frame.size()));
    ++counters_.received;
  }
  signal(kReceiveQueue);
}

void VirtioNet::transmit() {
  DescriptorChain chain;
  while (pop(kTransmitQueue, chain)) {
    std::array<std::byte, kHeaderSize> header{};
    const size_t got = gather(memory(), chain.readable, 0, header);
    const size_t length = chain.readable_bytes - got;
    // No offload was offered: a header that asks for one is wrong, and so is the frame.
    const bool plain = header[0] == std::byte{0} && header[kGsoType] == std::byte{0};
    if (got == kHeaderSize && plain && acceptable(length)) {
      Frame frame(length);
      gather(memory(), chain.readable, kHeaderSize, frame);
      port_.send(std::move(frame));
      ++counters_.sent;
    } else {
      ++counters_.send_dropped;
    }
    push(kTransmitQueue, chain, 0);
  }
  signal(kTransmitQueue);
}

void VirtioNet::link_changed(bool up) {
  set_config<uint16_t>(kStatusOffset, up ? kLinkUp : 0);
  if (negotiated(kStatus)) change_config();
}

void VirtioNet::save_device(ArchiveWriter& out) const {
  out.put(static_cast<uint16_t>(backlog_.size()));
  for (const Frame& frame : backlog_) out.put_bytes(frame);
}

void VirtioNet::restore_device(ArchiveReader& in) {
  const auto count = in.get<uint16_t>();
  for (unsigned i = 0; i < count && in.ok(); ++i) {
    Frame frame = in.get_bytes();
    if (acceptable(frame.size()) && backlog_.size() < kBacklog)
      backlog_.push_back(std::move(frame));
  }
  // The link belongs to the host, which may be another one now.
  const bool was_up = config_byte(kStatusOffset) != 0;
  if (port_.link_up() != was_up) link_changed(!was_up);
}

}  // namespace cupel::devices
