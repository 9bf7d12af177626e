// A PC with RAM, a clock and an event queue, and devices at its edges that tests control.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "core/event_queue.h"
#include "hypervisor/devices/pc_platform.h"

namespace cupel::devices {

// Completes every request `latency` after it was submitted, unless it is held.
class TestDisk final : public BlockDevice {
 public:
  TestDisk(EventQueue& events, uint64_t sectors) : events_(events), bytes_(sectors * kSectorSize) {}
  uint64_t sectors() const override { return bytes_.size() / kSectorSize; }
  void submit(BlockRequest request, Completion done) override {
    log.push_back(request);
    if (hold) return;
    events_.after(latency, [this, request = std::move(request), done = std::move(done)] {
      done(perform(request));
    });
  }
  std::byte* at(uint64_t sector) { return bytes_.data() + sector * kSectorSize; }

  Nanoseconds latency = 10_us;
  BlockStatus status = BlockStatus::ok;
  bool hold = false;  // never answers
  std::vector<BlockRequest> log;

 private:
  BlockReply perform(const BlockRequest& r) {
    if (status != BlockStatus::ok) return {status, {}};
    if (r.op == BlockOp::write) std::copy(r.data.begin(), r.data.end(), at(r.lba.value()));
    if (r.op == BlockOp::read)
      return {BlockStatus::ok, {at(r.lba.value()), at(r.lba.value() + r.sectors)}};
    return {};
  }
  EventQueue& events_;
  std::vector<std::byte> bytes_;
};

class TestPort final : public NetPort {
 public:
  void send(Frame frame) override { sent.push_back(std::move(frame)); }
  void set_receiver(Receiver receiver) override { deliver = std::move(receiver); }
  bool link_up() const override { return up; }
  void set_link_watcher(LinkWatcher watcher) override { link_watcher = std::move(watcher); }
  void set_link(bool now_up) {
    up = now_up;
    link_watcher(now_up);
  }
  std::vector<Frame> sent;
  Receiver deliver;
  LinkWatcher link_watcher;
  bool up = true;
};

// An Intel processor with a few features that a guest must not see.
inline x86::CpuidTable test_cpuid() {
  x86::CpuidTable t;
  t.set(0, 0, {0x1f, 0x756e6547, 0x6c65746e, 0x49656e69});
  t.set(1, 0, {0x000306a9, 0x00100800, 0xffffffff, 0xffffffff});
  t.mark_indexed(4);
  t.mark_indexed(7);
  t.set(4, 0, {0x1c004121, 0x01c0003f, 0x3f, 0});
  t.set(7, 0, {2, 0xffffffff, 0xffffffff, 0xffffffff});
  t.mark_indexed(0xd);
  t.set(0xd, 0, {7, 0x340, 0x340, 0});
  t.set(0x80000000, 0, {0x8000001f, 0, 0, 0});
  t.set(0x80000001, 0, {0, 0, 0xffffffff, 0xffffffff});
  t.set(0x80000007, 0, {0, 0, 0, 0});
  t.set(0x80000008, 0, {0x3028, 0xffff, 0xffff, 0});
  t.set(0x8000000a, 0, {1, 2, 3, 4});
  return t;
}

class GuestRig {
 public:
  explicit GuestRig(uint64_t ram = 16_MiB, PcConfig config = {})
      : host(PhysicalMemory::create(ram).value()),
        memory(*host, Hpa(0), ram),
        platform(PcPlatform::create(clock, memory, test_cpuid(), config).value()) {
    platform->set_broken_observer([this](const std::string& why) { broken.push_back(why); });
  }
  void run_events(Nanoseconds duration = 1_ms) { events.run_until(clock.now() + duration); }

  // Both 8259s initialized as Linux does, nothing masked: vectors 0x30 and 0x38.
  void init_pic() {
    for (const auto& [port, value] : std::vector<std::pair<uint16_t, uint32_t>>{{0x20, 0x11},
                                                                                {0x21, 0x30},
                                                                                {0x21, 4},
                                                                                {0x21, 1},
                                                                                {0x21, 0},
                                                                                {0xa0, 0x11},
                                                                                {0xa1, 0x38},
                                                                                {0xa1, 2},
                                                                                {0xa1, 1},
                                                                                {0xa1, 0}})
      platform->port_out(port, 1, value);
  }

  VirtualClock clock;
  EventQueue events{clock};
  std::unique_ptr<PhysicalMemory> host;
  GuestMemory memory;
  std::unique_ptr<PcPlatform> platform;
  std::vector<std::string> broken;
};

}  // namespace cupel::devices
