#include "scenarios/guests/workload/net.h"

#include <stddef.h>

#include "scenarios/guests/workload/console.h"
#include "scenarios/guests/workload/interrupts.h"
#include "scenarios/guests/workload/virtio.h"
#include "scenarios/guests/workload/x86.h"

extern "C" {
void* memcpy(void*, const void*, size_t);
void* memset(void*, int, size_t);
int memcmp(const void*, const void*, size_t);
}

namespace workload {

Progress progress;

namespace {

constexpr uint64_t kFeatureMac = 1 << 5;
constexpr uint16_t kTypeIpv4 = 0x0800, kTypeArp = 0x0806;
constexpr uint8_t kIcmp = 1, kUdp = 17;

// Network byte order on the wire.
constexpr uint16_t swap16(uint16_t v) { return static_cast<uint16_t>(v << 8 | v >> 8); }
constexpr uint32_t swap32(uint32_t v) { return __builtin_bswap32(v); }

struct [[gnu::packed]] Ethernet {
  uint8_t to[6], from[6];
  uint16_t type;
};
struct [[gnu::packed]] Arp {
  uint16_t hardware, protocol;
  uint8_t hardware_size, protocol_size;
  uint16_t operation;
  uint8_t sender_mac[6];
  uint32_t sender_ip;
  uint8_t target_mac[6];
  uint32_t target_ip;
};
struct [[gnu::packed]] Ipv4 {
  uint8_t version_size, service;
  uint16_t length, id, fragment;
  uint8_t ttl, protocol;
  uint16_t checksum;
  uint32_t from, to;
};
struct [[gnu::packed]] Icmp {
  uint8_t type, code;
  uint16_t checksum, id, sequence;
};
struct [[gnu::packed]] Udp {
  uint16_t from, to, length, checksum;
};

constexpr unsigned kHeader = 12;  // virtio_net_hdr with num_buffers (VERSION_1)
constexpr unsigned kBuffer = 2048, kReceiveBuffers = 16, kSmallestFrame = 60;

constinit VirtioDevice device;
constinit Queue receive_queue, send_queue;
bool present = false, sending = false;
uint8_t mac[6];
uint32_t own_ip;  // network byte order
alignas(16) uint8_t received[kReceiveBuffers][kBuffer];
alignas(16) uint8_t answer[kBuffer];

uint16_t checksum(const uint8_t* data, unsigned size) {
  uint32_t sum = 0;
  for (unsigned i = 0; i + 1 < size; i += 2)
    sum += static_cast<uint32_t>(data[i] | data[i + 1] << 8);
  if (size % 2 != 0) sum += data[size - 1];
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

// The one send buffer is busy until the device gives it back; an answer that comes meanwhile is
// dropped, as Ethernet may.
bool send_buffer_free() {
  if (sending && send_queue.has_used()) {
    send_queue.take();
    sending = false;
  }
  return !sending;
}

void send_answer(unsigned frame_size) {
  if (frame_size < kSmallestFrame) {
    memset(answer + kHeader + frame_size, 0, kSmallestFrame - frame_size);
    frame_size = kSmallestFrame;
  }
  memset(answer, 0, kHeader);
  send_queue.set(0, answer, kHeader + frame_size, 0);
  sending = true;
  send_queue.submit(0);
}

void announce() {
  if (!send_buffer_free()) return;
  auto* const ethernet = reinterpret_cast<Ethernet*>(answer + kHeader);
  auto* const arp = reinterpret_cast<Arp*>(ethernet + 1);
  memset(ethernet->to, 0xff, 6);
  memcpy(ethernet->from, mac, 6);
  ethernet->type = swap16(kTypeArp);
  *arp = {swap16(1), swap16(kTypeIpv4), 6, 4, swap16(1), {}, own_ip, {}, own_ip};
  memcpy(arp->sender_mac, mac, 6);
  send_answer(sizeof(Ethernet) + sizeof(Arp));
}

// The answer goes where the question came from; returns the frame's length so far.
Ethernet* answer_ethernet(const Ethernet& question) {
  auto* const ethernet = reinterpret_cast<Ethernet*>(answer + kHeader);
  memcpy(ethernet->to, question.from, 6);
  memcpy(ethernet->from, mac, 6);
  ethernet->type = question.type;
  return ethernet;
}

void handle_arp(const Ethernet& ethernet, const Arp& question) {
  if (question.operation != swap16(1) || question.target_ip != own_ip) return;
  auto* const reply = reinterpret_cast<Arp*>(answer_ethernet(ethernet) + 1);
  *reply = question;
  reply->operation = swap16(2);
  memcpy(reply->target_mac, question.sender_mac, 6);
  reply->target_ip = question.sender_ip;
  memcpy(reply->sender_mac, mac, 6);
  reply->sender_ip = own_ip;
  send_answer(sizeof(Ethernet) + sizeof(Arp));
}

void send_ip(const Ethernet& ethernet, const Ipv4& question, unsigned payload) {
  auto* const ip = reinterpret_cast<Ipv4*>(answer_ethernet(ethernet) + 1);
  const unsigned size = sizeof(Ipv4) + payload;
  *ip = {0x45,
         0,
         swap16(static_cast<uint16_t>(size)),
         0,
         swap16(0x4000),
         64,
         question.protocol,
         0,
         own_ip,
         question.from};
  ip->checksum = checksum(reinterpret_cast<const uint8_t*>(ip), sizeof *ip);
  send_answer(sizeof(Ethernet) + size);
}

uint8_t* answer_payload() { return answer + kHeader + sizeof(Ethernet) + sizeof(Ipv4); }

void handle_icmp(const Ethernet& ethernet, const Ipv4& ip, const uint8_t* data, unsigned size) {
  constexpr uint8_t kEchoRequest = 8;
  if (size < sizeof(Icmp) || data[0] != kEchoRequest) return;
  memcpy(answer_payload(), data, size);
  auto* const icmp = reinterpret_cast<Icmp*>(answer_payload());
  icmp->type = 0;
  icmp->checksum = 0;
  icmp->checksum = checksum(answer_payload(), size);
  send_ip(ethernet, ip, size);
}

unsigned append(uint8_t* at, const char* text) {
  unsigned size = 0;
  for (; text[size] != '\0'; ++size) at[size] = static_cast<uint8_t>(text[size]);
  return size;
}
unsigned append(uint8_t* at, uint64_t value) {
  unsigned size = 1;
  for (uint64_t rest = value / 10; rest != 0; rest /= 10) ++size;
  for (unsigned i = size; i-- > 0; value /= 10) at[i] = static_cast<uint8_t>('0' + value % 10);
  return size;
}

unsigned write_progress(uint8_t* at, bool as_text) {
  if (!as_text) {
    memcpy(at, &progress.acked, sizeof progress.acked);
    return sizeof progress.acked;
  }
  unsigned size = append(at, "count=");
  size += append(at + size, progress.acked);
  size += append(at + size, " generation=");
  size += append(at + size, progress.generation);
  return size + append(at + size, "\n");
}

void handle_udp(const Ethernet& ethernet, const Ipv4& ip, const uint8_t* data, unsigned size) {
  if (size < sizeof(Udp)) return;
  const auto& question = *reinterpret_cast<const Udp*>(data);
  const unsigned length = swap16(question.length);
  if (question.to != swap16(kProgressPort) || length < sizeof(Udp) || length > size) return;
  const unsigned text_size = length - sizeof(Udp);
  const bool as_text = text_size >= 6 && memcmp(data + sizeof(Udp), "count?", 6) == 0;
  const unsigned payload = write_progress(answer_payload() + sizeof(Udp), as_text);
  const auto reply_size = static_cast<uint16_t>(sizeof(Udp) + payload);
  // Checksum 0: not computed. RFC 768.
  *reinterpret_cast<Udp*>(answer_payload()) = {question.to, question.from, swap16(reply_size), 0};
  send_ip(ethernet, ip, reply_size);
}

void handle_frame(const uint8_t* frame, unsigned size) {
  if (size < sizeof(Ethernet)) return;
  const auto& ethernet = *reinterpret_cast<const Ethernet*>(frame);
  const uint8_t* const data = frame + sizeof(Ethernet);
  size -= static_cast<unsigned>(sizeof(Ethernet));
  if (ethernet.type == swap16(kTypeArp) && size >= sizeof(Arp)) {
    handle_arp(ethernet, *reinterpret_cast<const Arp*>(data));
  }
  if (ethernet.type != swap16(kTypeIpv4) || size < sizeof(Ipv4)) return;
  const auto& ip = *reinterpret_cast<const Ipv4*>(data);
  const unsigned header = (ip.version_size & 15u) * 4;
  const unsigned length = swap16(ip.length);
  const bool fragment = (ip.fragment & swap16(0x3fff)) != 0;
  if (ip.version_size >> 4 != 4 || header < sizeof(Ipv4) || length < header || length > size ||
      length > 1500 || ip.to != own_ip || fragment) {
    return;
  }
  if (ip.protocol == kIcmp) handle_icmp(ethernet, ip, data + header, length - header);
  if (ip.protocol == kUdp) handle_udp(ethernet, ip, data + header, length - header);
}

void offer_buffer(uint16_t i) {
  receive_queue.set(i, received[i], kBuffer, Descriptor::kWrite);
  receive_queue.submit(i);
}

void on_interrupt(void*) { device.read_isr(); }

}  // namespace

bool net_open(uint32_t ip) {
  if (!device.open(VirtioKind::net, 0, kFeatureMac)) return false;
  if (!receive_queue.attach(device, 0) || !send_queue.attach(device, 1)) {
    print("WORKLOAD error: the network device has no usable queues\n");
    return false;
  }
  own_ip = swap32(ip);
  constexpr uint8_t kLocalMac[6] = {0x02, 0x43, 0x55, 0x50, 0x45, 0x4c};
  for (unsigned i = 0; i < 6; ++i) {
    mac[i] = device.has(kFeatureMac) ? device.config()[i] : kLocalMac[i];
  }
  if (!add_irq_handler(device.interrupt_line(), on_interrupt, nullptr)) forbid_halt();
  device.start();
  disable_interrupts();
  for (uint16_t i = 0; i < kReceiveBuffers && i < receive_queue.size(); ++i) offer_buffer(i);
  present = true;
  announce();
  enable_interrupts();
  return true;
}

void net_poll() {
  if (!present) return;
  while (receive_queue.has_used()) {
    const Queue::Done done = receive_queue.take();
    const auto i = static_cast<uint16_t>(done.head % kReceiveBuffers);
    if (done.length > kHeader && done.length <= kBuffer && send_buffer_free()) {
      handle_frame(received[i] + kHeader, done.length - kHeader);
    }
    offer_buffer(i);
  }
}

}  // namespace workload
