#include "scenarios/runner/probe_client.h"

#include <cstring>

namespace cupel::scenarios {
namespace {

constexpr uint16_t kEtherArp = 0x0806, kEtherIp = 0x0800, kService = 7777, kFirstPort = 20000;
constexpr MacAddress kBroadcast{0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
constexpr size_t kEthernet = 14, kArp = 28, kIp = 20, kUdp = 8, kSmallest = 60;
constexpr char kQuestion[] = "count?";

uint8_t at(const Frame& f, size_t i) { return static_cast<uint8_t>(f[i]); }
uint16_t be16(const Frame& f, size_t i) {
  return static_cast<uint16_t>(at(f, i) << 8 | at(f, i + 1));
}
void put16(Frame& f, size_t i, unsigned v) {
  f[i] = static_cast<std::byte>(v >> 8);
  f[i + 1] = static_cast<std::byte>(v);
}
template <size_t N>
void put(Frame& f, size_t i, const std::array<uint8_t, N>& bytes) {
  std::memcpy(&f[i], bytes.data(), N);
}
template <size_t N>
std::array<uint8_t, N> get(const Frame& f, size_t i) {
  std::array<uint8_t, N> bytes;
  std::memcpy(bytes.data(), &f[i], N);
  return bytes;
}

// RFC 1071.
uint16_t checksum(const Frame& f, size_t from, size_t length) {
  uint32_t sum = 0;
  for (size_t i = from; i + 1 < from + length; i += 2) sum += be16(f, i);
  while ((sum >> 16) != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

// The client sits at .254 of the target's /24.
Ipv4 own_address(Ipv4 target) {
  target[3] = 254;
  return target;
}

Frame ethernet(const MacAddress& to, const MacAddress& from, uint16_t type, size_t payload) {
  Frame f(std::max(kSmallest, kEthernet + payload));
  put(f, 0, to);
  put(f, 6, from);
  put16(f, 12, type);
  return f;
}

}  // namespace

ProbeClient::ProbeClient(NetPort& port, EventQueue& queue, Listener listener)
    : port_(port), queue_(queue), listener_(std::move(listener)) {
  port_.set_receiver([this](const Frame& frame) { receive(frame); });
}

void ProbeClient::watch(const std::string& vm, Ipv4 address, Nanoseconds interval,
                        Nanoseconds timeout) {
  Target target{vm, address, interval, timeout, {}, 0, false, {}};
  target.port = static_cast<uint16_t>(kFirstPort + targets_.size());
  targets_.push_back(target);
  queue_.after(interval, [this, i = targets_.size() - 1] { ask(i); });
}

void ProbeClient::ask(size_t index) {
  Target& t = targets_[index];
  const Nanoseconds now = queue_.now();
  if (t.up && t.first_unanswered && now - *t.first_unanswered >= t.timeout) {
    t.up = false;
    t.mac.reset();  // it may come back elsewhere, or with another card
    listener_.down(t.vm, *t.first_unanswered);
  }
  if (!t.first_unanswered) t.first_unanswered = now;
  if (t.mac) {
    send_request(t);
  } else {
    send_arp(1, kBroadcast, t.address);
  }
  queue_.after(t.interval, [this, index] { ask(index); });
}

void ProbeClient::send_arp(uint16_t operation, const MacAddress& to, const Ipv4& address) {
  Frame f = ethernet(to, kMac, kEtherArp, kArp);
  put16(f, 14, 1);         // Ethernet
  put16(f, 16, kEtherIp);  // IPv4
  put16(f, 18, 0x0604);    // address lengths
  put16(f, 20, operation);
  put(f, 22, kMac);
  put(f, 28, own_address(address));
  if (operation == 2) put(f, 32, to);
  put(f, 38, address);
  port_.send(std::move(f));
}

void ProbeClient::send_request(const Target& t) {
  const size_t payload = sizeof kQuestion - 1;
  Frame f = ethernet(*t.mac, kMac, kEtherIp, kIp + kUdp + payload);
  f[14] = std::byte{0x45};
  put16(f, 16, static_cast<unsigned>(kIp + kUdp + payload));
  f[22] = std::byte{64};
  f[23] = std::byte{17};
  put(f, 26, own_address(t.address));
  put(f, 30, t.address);
  put16(f, 24, checksum(f, 14, kIp));
  put16(f, 34, t.port);
  put16(f, 36, kService);
  put16(f, 38, static_cast<unsigned>(kUdp + payload));  // checksum 0: none (RFC 768)
  std::memcpy(&f[42], kQuestion, payload);
  port_.send(std::move(f));
}

void ProbeClient::receive(const Frame& frame) {
  if (frame.size() < kEthernet + kArp) return;
  const uint16_t type = be16(frame, 12);
  if (type == kEtherArp) receive_arp(frame);
  if (type == kEtherIp) receive_udp(frame);
}

void ProbeClient::receive_arp(const Frame& frame) {
  const auto sender_mac = get<6>(frame, 22);
  const Ipv4 sender = get<4>(frame, 28), wanted = get<4>(frame, 38);
  if (be16(frame, 20) == 1) {
    for (const Target& t : targets_)
      if (wanted == own_address(t.address) && sender == t.address)
        return send_arp(2, sender_mac, sender);
    return;
  }
  for (Target& t : targets_) {
    if (sender != t.address) continue;
    t.mac = sender_mac;
    send_request(t);
  }
}

void ProbeClient::receive_udp(const Frame& frame) {
  if (frame.size() < kEthernet + kIp + kUdp || at(frame, 14) != 0x45 || at(frame, 23) != 17) return;
  if (be16(frame, 34) != kService) return;
  const Ipv4 sender = get<4>(frame, 26);
  const uint16_t port = be16(frame, 36);
  for (Target& t : targets_)
    if (t.port == port && t.address == sender) answered(t);
}

void ProbeClient::answered(Target& t) {
  ++answers_;
  t.first_unanswered.reset();
  if (t.up) return;
  t.up = true;
  listener_.answering(t.vm, queue_.now());
}

}  // namespace cupel::scenarios
