#include "hypervisor/cluster/messages.h"

#include <gtest/gtest.h>

#include "core/random.h"
#include "hypervisor/cluster/ha_config.h"

namespace cupel::cluster {
namespace {

HeartbeatMessage sample() { return {HostId{3}, 7, 99, true, {VmId{0}, VmId{63}}}; }

TEST(HeartbeatMessage, SurvivesTheWire) {
  const auto decoded = decode_heartbeat(encode(sample()));
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(decoded.value(), sample());
  EXPECT_TRUE(decoded->owns(VmId{63}));
  EXPECT_FALSE(decoded->owns(VmId{1}));
}

TEST(HeartbeatMessage, EveryTruncationIsRefused) {
  const Frame whole = encode({HostId{3}, 7, 99, true, std::vector<VmId>(64, VmId{5})});
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(decode_heartbeat(std::span(whole).first(size)).ok()) << size;
  }
}

TEST(HeartbeatMessage, EveryFlippedBitOfThePayloadIsNoticed) {
  const Frame whole = encode(sample());
  const size_t payload_end = 14 + 22 + 4 + 8;
  for (size_t bit = 12 * 8; bit < payload_end * 8; ++bit) {
    Frame frame = whole;
    frame[bit / 8] ^= std::byte(1 << bit % 8);
    EXPECT_FALSE(decode_heartbeat(frame).ok()) << bit;
  }
}

TEST(HeartbeatMessage, RandomFramesAreRefused) {
  RandomStream random(1, "fuzz");
  for (int i = 0; i < 10000; ++i) {
    Frame frame(random.uniform(0, 200));
    for (auto& b : frame) b = static_cast<std::byte>(random.bits());
    if (frame.size() > 13) {
      frame[12] = std::byte{0x88};
      frame[13] = std::byte{0xb5};
    }
    EXPECT_FALSE(decode_heartbeat(frame).ok());
  }
}

TEST(HaTimings, PresetsObeyTheRules) {
  for (const char* name : {"fast", "vi3", "sanlock"}) {
    const auto timings = timings_preset(name);
    ASSERT_TRUE(timings) << name;
    EXPECT_TRUE(check(*timings).ok()) << name;
  }
  EXPECT_FALSE(timings_preset("nonsense"));
}

TEST(HaTimings, UnsafeCombinationsAreRefused) {
  HaTimings t;
  t.lease.watchdog = 9_s;
  EXPECT_FALSE(check(t).ok());
  t = {};
  t.lease.margin = 1_s;
  EXPECT_FALSE(check(t).ok());
  t = {};
  t.lease.renew = 5_s;
  EXPECT_FALSE(check(t).ok());
  t = {};
  t.dead = 1_s;
  EXPECT_FALSE(check(t).ok());
  t = {};
  t.heartbeat = 0_s;
  EXPECT_FALSE(check(t).ok());
}

}  // namespace
}  // namespace cupel::cluster
