#include "hypervisor/network/virtual_switch.h"

#include <gtest/gtest.h>

#include "hw_models/network/switch.h"
#include "hw_models/platform/host_hardware.h"

namespace cupel::vnet {
namespace {

MacAddress mac(uint8_t n) { return {2, 0, 0, 0, 0, n}; }

Frame frame(const MacAddress& to, const MacAddress& from) {
  Frame f(60);
  for (size_t i = 0; i < 6; ++i) {
    f[i] = std::byte{to[i]};
    f[6 + i] = std::byte{from[i]};
  }
  return f;
}
const MacAddress kBroadcast{0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

// One host with two uplinks to one physical switch, and a peer on a third port.
class VirtualSwitchTest : public ::testing::Test {
 protected:
  VirtualSwitchTest() : host({}, queue, trace) {
    for (auto* link : {&up0, &up1, &far}) fabric.attach(link->end(1));
    host.add_nic(up0.end(0));
    host.add_nic(up1.end(0));
    host.start_running();
    queue.run_until(1_ms);
    vswitch = std::make_unique<VirtualSwitch>(VirtualSwitchConfig{}, host, trace);
    vswitch->add_uplink(host.nic(0));
    vswitch->add_uplink(host.nic(1));
    a = &vswitch->add_vnic();
    b = &vswitch->add_vnic();
    a->set_receiver([this](const Frame&) { ++at_a; });
    b->set_receiver([this](const Frame&) { ++at_b; });
    far.end(0).set_receiver([this](const Frame&) { ++at_far; });
  }
  void run() { queue.run_until(queue.now() + 1_ms); }
  void send(NetPort& port, const Frame& f) {
    port.send(f);
    run();
  }

  VirtualClock clock;
  EventQueue queue{clock};
  Trace trace{clock};
  RandomSource random{1};
  network::Link up0{{.name = "up0"}, queue, random, trace};
  network::Link up1{{.name = "up1"}, queue, random, trace};
  network::Link far{{.name = "far"}, queue, random, trace};
  network::Switch fabric{{}, queue, trace};
  platform::HostHardware host;
  std::unique_ptr<VirtualSwitch> vswitch;
  VirtualSwitch::Vnic* a = nullptr;
  VirtualSwitch::Vnic* b = nullptr;
  unsigned at_a = 0, at_b = 0, at_far = 0;
};

TEST_F(VirtualSwitchTest, LearntNeighboursTalkWithoutTheWire) {
  send(*a, frame(mac(2), mac(1)));
  EXPECT_EQ(at_far, 1u);
  EXPECT_EQ(at_b, 1u);
  send(*b, frame(mac(1), mac(2)));
  send(*a, frame(mac(2), mac(1)));
  EXPECT_EQ(at_a, 1u);
  EXPECT_EQ(at_b, 2u);
  EXPECT_EQ(at_far, 1u);
}

TEST_F(VirtualSwitchTest, BroadcastArrivesOnceInSpiteOfTwoUplinks) {
  send(*a, frame(kBroadcast, mac(1)));
  EXPECT_EQ(at_a, 0u) << "came back through the other uplink";
  EXPECT_EQ(at_b, 1u);
  EXPECT_EQ(at_far, 1u);
  send(far.end(0), frame(kBroadcast, mac(9)));
  EXPECT_EQ(at_a, 1u);
  EXPECT_EQ(at_b, 2u);
}

TEST_F(VirtualSwitchTest, FailsOverByLinkStatusAndAnnouncesItself) {
  send(*a, frame(kBroadcast, mac(1)));
  host.nic_link_down(0, 1_s);
  run();
  EXPECT_EQ(vswitch->active_uplink(), 1u);
  EXPECT_EQ(at_far, 2u) << "no announcement";
  send(far.end(0), frame(mac(1), mac(9)));
  EXPECT_EQ(at_a, 1u);
  queue.run_until(queue.now() + 2_s);
  EXPECT_EQ(vswitch->active_uplink(), 0u) << "failback";
  send(far.end(0), frame(mac(1), mac(9)));
  EXPECT_EQ(at_a, 2u);
}

TEST_F(VirtualSwitchTest, HostPortFollowsTheUplinksAndGuestsAreNotTold) {
  auto& port = vswitch->add_vnic(VnicLink::follows_uplinks);
  std::vector<bool> told;
  port.set_link_watcher([&](bool up) { told.push_back(up); });
  fabric.set_down(true);
  run();
  EXPECT_FALSE(port.link_up());
  EXPECT_TRUE(a->link_up());
  fabric.set_down(false);
  run();
  EXPECT_TRUE(port.link_up());
  EXPECT_EQ(told, (std::vector<bool>{false, true}));
}

TEST_F(VirtualSwitchTest, RuntsAndRemovedVnicsAreHarmless) {
  send(*a, Frame(5));
  b->send(frame(mac(1), mac(2)));
  vswitch->remove_vnic(*b);
  run();
  a->send(frame(mac(2), mac(1)));
  vswitch.reset();
  run();
}

}  // namespace
}  // namespace cupel::vnet
