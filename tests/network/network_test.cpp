#include <gtest/gtest.h>

#include "hw_models/network/switch.h"
#include "hw_models/platform/host_hardware.h"

namespace cupel::network {
namespace {

MacAddress mac(uint8_t n) { return {2, 0, 0, 0, 0, n}; }
const MacAddress kBroadcast{0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

Frame frame(const MacAddress& to, const MacAddress& from, size_t size = 60) {
  Frame f(size);
  for (size_t i = 0; i < 6; ++i) {
    f[i] = std::byte{to[i]};
    f[6 + i] = std::byte{from[i]};
  }
  return f;
}

class NetworkTest : public ::testing::Test {
 protected:
  VirtualClock clock;
  EventQueue queue{clock};
  Trace trace{clock};
  RandomSource random{1};
};

struct Counter {
  explicit Counter(NetPort& port) {
    port.set_receiver([this](const Frame&) { ++frames; });
    port.set_link_watcher([this](bool up) { (up ? ups : downs) += 1; });
  }
  unsigned frames = 0, ups = 0, downs = 0;
};

TEST_F(NetworkTest, LinkDelaysBySizeAndLatencyAndKeepsOrder) {
  Link link({}, queue, random, trace);
  std::vector<std::pair<Nanoseconds, size_t>> got;
  link.end(1).set_receiver([&](const Frame& f) { got.emplace_back(queue.now(), f.size()); });
  link.end(0).send(frame(mac(1), mac(2), 976));
  link.end(0).send(frame(mac(1), mac(2), 101));
  EXPECT_TRUE(got.empty()) << "delivered inside send";
  queue.run_until(1_s);
  ASSERT_EQ(got.size(), 2u);
  EXPECT_EQ(got[0], std::pair(13_us, size_t{976}));
  EXPECT_EQ(got[1], std::pair(14_us, size_t{101}));
}

TEST_F(NetworkTest, CutLinkLosesFramesOnTheWireAndTellsBothEnds) {
  Link link({}, queue, random, trace);
  Counter left(link.end(0)), right(link.end(1));
  link.end(0).send(frame(mac(1), mac(2)));
  link.set_cut(true);
  queue.run_until(1_s);
  EXPECT_FALSE(link.end(0).link_up());
  EXPECT_EQ(right.frames, 0u);
  EXPECT_EQ(left.downs + right.downs, 2u);
  link.set_cut(false);
  link.end(0).send(frame(mac(1), mac(2)));
  queue.run_until(2_s);
  EXPECT_EQ(right.frames, 1u);
}

TEST_F(NetworkTest, OneWayCutIsInvisibleToTheLinkState) {
  Link link({}, queue, random, trace);
  Counter left(link.end(0)), right(link.end(1));
  link.set_one_way_cut(0, true);
  link.end(0).send(frame(mac(1), mac(2)));
  link.end(1).send(frame(mac(2), mac(1)));
  queue.run_until(1_s);
  EXPECT_TRUE(link.end(0).link_up());
  EXPECT_EQ(right.frames, 0u);
  EXPECT_EQ(left.frames, 1u);
}

TEST_F(NetworkTest, LossHitsAboutItsShareOfFrames) {
  Link link({.loss = 0.25}, queue, random, trace);
  Counter right(link.end(1));
  for (int i = 0; i < 4000; ++i) {
    link.end(0).send(frame(mac(1), mac(2)));
    queue.run_until(queue.now() + 1_ms);
  }
  EXPECT_NEAR(right.frames, 3000, 120);
}

TEST_F(NetworkTest, FlappingEndsUp) {
  Link link({}, queue, random, trace);
  Counter left(link.end(0));
  link.flap(100_ms, 200_ms, 2_s);
  queue.run_until(5_s);
  EXPECT_TRUE(link.up());
  EXPECT_EQ(left.downs, 7u);
  EXPECT_EQ(left.ups, 7u);
}

TEST_F(NetworkTest, BacklogIsBounded) {
  Link link({.bits_per_second = 1'000'000, .max_backlog = 10_ms}, queue, random, trace);
  Counter right(link.end(1));
  for (int i = 0; i < 100; ++i) link.end(0).send(frame(mac(1), mac(2), 101));
  queue.run_until(1_s);
  EXPECT_EQ(right.frames, 11u);
}

class SwitchTest : public NetworkTest {
 protected:
  SwitchTest() {
    for (int i = 0; i < 3; ++i) {
      links.push_back(std::make_unique<Link>(LinkConfig{}, queue, random, trace));
      fabric.attach(links.back()->end(1));
      counters.push_back(std::make_unique<Counter>(links.back()->end(0)));
    }
  }
  void send(size_t from, const Frame& f) {
    links[from]->end(0).send(f);
    queue.run_until(queue.now() + 1_ms);
  }
  std::vector<std::unique_ptr<Link>> links;
  Switch fabric{{}, queue, trace};
  std::vector<std::unique_ptr<Counter>> counters;
};

TEST_F(SwitchTest, FloodsUnknownAndLearns) {
  send(0, frame(mac(2), mac(1)));
  EXPECT_EQ(counters[1]->frames, 1u);
  EXPECT_EQ(counters[2]->frames, 1u);
  send(1, frame(mac(1), mac(2)));
  EXPECT_EQ(counters[0]->frames, 1u);
  EXPECT_EQ(counters[2]->frames, 1u);
  send(2, frame(kBroadcast, mac(3)));
  EXPECT_EQ(counters[0]->frames, 2u);
  EXPECT_EQ(counters[1]->frames, 2u);
}

TEST_F(SwitchTest, RuntsAreDropped) {
  send(0, Frame(13));
  send(0, Frame{});
  EXPECT_EQ(counters[1]->frames, 0u);
}

TEST_F(SwitchTest, PortAndSwitchDownTakeTheirLinksDown) {
  fabric.set_port_down(0, true);
  EXPECT_FALSE(links[0]->up());
  EXPECT_TRUE(links[1]->up());
  fabric.set_port_down(0, false);
  fabric.set_down(true);
  for (auto& link : links) EXPECT_FALSE(link->up());
  fabric.set_down(false);
  send(0, frame(kBroadcast, mac(1)));
  EXPECT_EQ(counters[2]->frames, 1u);
}

struct Software : platform::HostListener {
  void host_stopped(std::string_view why) override {
    log.push_back("stopped: " + std::string(why));
  }
  void host_hung() override { log.push_back("hung"); }
  void host_resumed() override { log.push_back("resumed"); }
  void host_booted() override { log.push_back("booted"); }
  std::vector<std::string> log;
};

class HostTest : public NetworkTest {
 protected:
  HostTest() : link({}, queue, random, trace), host({.boot_time = 10_s}, queue, trace) {
    host.add_listener(software);
    host.add_nic(link.end(0));
    host.start_running();
    software.log.clear();
  }
  Link link;
  Software software;
  platform::HostHardware host;
};

TEST_F(HostTest, HangDefersTimersAndFramesInOrder) {
  std::vector<std::string> order;
  host.nic(0).set_receiver([&](const Frame&) { order.push_back("frame"); });
  host.after(1_s, [&] { order.push_back("timer 1"); });
  const auto cancelled = host.after(2_s, [&] { order.push_back("cancelled"); });
  host.after(4_s, [&] {
    order.push_back("timer 4");
    EXPECT_EQ(host.now(), 5_s);
  });
  host.hang(5_s);
  queue.run_until(3_s);
  link.end(1).send(frame(mac(1), mac(2)));
  queue.run_until(4500_ms);
  EXPECT_TRUE(order.empty());
  host.cancel(cancelled);
  queue.run_until(6_s);
  EXPECT_EQ(order, (std::vector<std::string>{"timer 1", "frame", "timer 4"}));
  EXPECT_EQ(software.log, (std::vector<std::string>{"hung", "resumed"}));
}

TEST_F(HostTest, WatchdogCountsDuringAHangAndResets) {
  host.arm(3_s);
  queue.run_until(1_s);
  host.arm(3_s);
  host.hang(10_s);
  queue.run_until(3900_ms);
  EXPECT_EQ(software.log.back(), "hung");
  queue.run_until(4_s);
  EXPECT_EQ(software.log.back(), "stopped: watchdog");
  queue.run_until(14_s);
  EXPECT_EQ(software.log.back(), "booted");
  EXPECT_EQ(host.boots(), 2u);
  queue.run_until(60_s);
  EXPECT_EQ(software.log.back(), "booted") << "disarmed by the reset, hang forgotten";
}

TEST_F(HostTest, PowerLossForgetsEverythingAndPowerComesBack) {
  bool ran = false;
  host.after(1_s, [&] { ran = true; });
  host.nic(0).set_receiver([&](const Frame&) { ran = true; });
  host.power_loss(5_s);
  EXPECT_FALSE(link.up());
  queue.run_until(14900_ms);
  EXPECT_EQ(host.state(), platform::PowerState::booting);
  queue.run_until(15_s);
  EXPECT_TRUE(host.running());
  link.end(1).send(frame(mac(1), mac(2)));
  queue.run_until(20_s);
  EXPECT_FALSE(ran);
}

TEST_F(HostTest, SecondPowerLossForEverCancelsTheReturn) {
  host.power_loss(5_s);
  queue.run_until(6_s);
  host.power_loss(Nanoseconds::max());
  queue.run_until(60_s);
  EXPECT_EQ(host.state(), platform::PowerState::off);
}

TEST_F(HostTest, NicRingOverrunsDuringAHang) {
  unsigned frames = 0;
  host.nic(0).set_receiver([&](const Frame&) { ++frames; });
  host.hang(1_s);
  for (int i = 0; i < 300; ++i) link.end(1).send(frame(mac(1), mac(2)));
  queue.run_until(2_s);
  EXPECT_EQ(frames, 256u);
  link.end(1).send(frame(mac(1), mac(2)));
  queue.run_until(3_s);
  EXPECT_EQ(frames, 257u);
}

TEST_F(HostTest, NicFaultTakesTheLinkDownForItsDuration) {
  host.nic_link_down(0, 5_s);
  EXPECT_FALSE(link.end(1).link_up());
  queue.run_until(5_s);
  EXPECT_TRUE(link.end(1).link_up());
}

}  // namespace
}  // namespace cupel::network
