// Random streams, hashes and the trace: what makes two runs the same run.
#include "core/trace.h"

#include <gtest/gtest.h>

#include <set>

#include "core/hash.h"
#include "core/random.h"

namespace cupel {
namespace {

TEST(RandomStream, DependsOnSeedAndNameOnly) {
  const RandomSource source(7);
  EXPECT_EQ(source.stream("disk").bits(), source.stream("disk").bits());
  EXPECT_NE(source.stream("disk").bits(), source.stream("link").bits());
  EXPECT_NE(source.stream("disk").bits(), RandomSource(8).stream("disk").bits());
}

TEST(RandomStream, DrawsInOneStreamMoveNoOther) {
  const RandomSource source(7);
  auto first = source.stream("a");
  const auto expected = source.stream("b").bits();
  for (int i = 0; i < 100; ++i) first.bits();
  EXPECT_EQ(source.stream("b").bits(), expected);
}

TEST(RandomStream, UniformCoversBothEnds) {
  RandomStream stream(1, "uniform");
  std::set<uint64_t> seen;
  for (int i = 0; i < 200; ++i) seen.insert(stream.uniform(3, 6));
  EXPECT_EQ(seen, (std::set<uint64_t>{3, 4, 5, 6}));
  EXPECT_EQ(stream.uniform(9, 9), 9u);
  stream.uniform(0, UINT64_MAX);
}

TEST(RandomStream, UnitAndChanceStayInRange) {
  RandomStream stream(1, "unit");
  for (int i = 0; i < 1000; ++i) {
    const double u = stream.unit();
    ASSERT_GE(u, 0.0);
    ASSERT_LT(u, 1.0);
  }
  EXPECT_FALSE(stream.chance(0.0));
  EXPECT_TRUE(stream.chance(1.0));
}

TEST(Hash, KnownValueOfTheEmptyInput) {
  EXPECT_EQ(hash_bytes("", 0), 0x2d06800538d394c2u) << "the XXH3-64 test vector";
}

TEST(RunningHash, TextIsFramedByItsLength) {
  RunningHash a, b;
  a.add(std::string_view("ab"));
  a.add(std::string_view("c"));
  b.add(std::string_view("a"));
  b.add(std::string_view("bc"));
  EXPECT_NE(a.digest(), b.digest());
}

class TraceTest : public testing::Test {
 protected:
  VirtualClock clock;
};

TEST_F(TraceTest, EqualRunsHaveEqualDigests) {
  Trace a(clock), b(clock);
  for (Trace* t : {&a, &b}) {
    t->record("host-a", "fault.power_loss", "now");
    t->mix("exits", 1, 2);
  }
  EXPECT_EQ(a.digest(), b.digest());
}

TEST_F(TraceTest, EveryPartIsHashed) {
  auto digest = [&](Nanoseconds at, const char* source, const char* what, const char* detail) {
    clock.set(at);
    Trace t(clock);
    t.record(source, what, detail);
    return t.digest();
  };
  std::set<uint64_t> all{digest(1_ns, "a", "b", "c"), digest(2_ns, "a", "b", "c"),
                         digest(1_ns, "x", "b", "c"), digest(1_ns, "a", "x", "c"),
                         digest(1_ns, "a", "b", "x"), digest(1_ns, "a", "bc", "")};
  EXPECT_EQ(all.size(), 6u);
}

TEST_F(TraceTest, MixIsHashedToTheQuarterNanosecondButNotKept) {
  Trace a(clock), b(clock), c(clock);
  a.mix("regs", 1);
  b.mix("regs", 2);
  clock.add_ticks(1);
  c.mix("regs", 1);
  EXPECT_NE(a.digest(), b.digest());
  EXPECT_NE(a.digest(), c.digest());
  EXPECT_TRUE(a.records().empty());
}

TEST_F(TraceTest, OrderMatters) {
  Trace a(clock), b(clock);
  a.record("x", "1");
  a.record("x", "2");
  b.record("x", "2");
  b.record("x", "1");
  EXPECT_NE(a.digest(), b.digest());
}

TEST_F(TraceTest, RecordsAreKeptAndShownInOrder) {
  Trace trace(clock);
  std::vector<std::string> shown;
  trace.add_sink([&](const TraceRecord& r) { shown.push_back(r.what); });
  clock.set(5_us);
  trace.record("vm/web", "ha.restart", "on host-b");
  trace.record("vm/web", "ha.done");
  EXPECT_EQ(shown, (std::vector<std::string>{"ha.restart", "ha.done"}));
  ASSERT_EQ(trace.records().size(), 2u);
  EXPECT_EQ(trace.records()[0].at, 5_us);
  EXPECT_EQ(trace.records()[0].detail, "on host-b");
}

}  // namespace
}  // namespace cupel
