// The virtual clock and the event queue.
#include <gtest/gtest.h>

#include <string>

#include "core/clock.h"
#include "core/event_queue.h"

namespace cupel {
namespace {

TEST(VirtualClock, CountsQuarterNanoseconds) {
  VirtualClock clock;
  clock.add_ticks(7);
  EXPECT_EQ(clock.now(), 1_ns);
  clock.set(3_us);
  EXPECT_EQ(clock.ticks(), 12'000u);
  clock.advance_to(2_us);
  EXPECT_EQ(clock.now(), 3_us) << "never back";
  clock.advance_to(4_us);
  EXPECT_EQ(clock.now(), 4_us);
}

TEST(VirtualClock, NeverAndThePastSaturate) {
  EXPECT_EQ(VirtualClock::to_ticks(Nanoseconds::max()), UINT64_MAX);
  EXPECT_EQ(VirtualClock::to_ticks(Nanoseconds(-5)), 0u);
}

class EventQueueTest : public testing::Test {
 protected:
  EventQueue::Action say(const char* what) {
    return [this, what] { log += what; };
  }
  VirtualClock clock;
  EventQueue queue{clock};
  std::string log;
};

TEST_F(EventQueueTest, RunsByTimeThenByOrderOfScheduling) {
  queue.at(20_ns, say("c"));
  queue.at(10_ns, say("a"));
  queue.at(20_ns, say("d"));
  queue.at(10_ns, say("b"));
  EXPECT_EQ(queue.next_time(), 10_ns);
  EXPECT_EQ(queue.run_until(20_ns), 4u);
  EXPECT_EQ(log, "abcd");
  EXPECT_EQ(queue.next_time(), Nanoseconds::max());
}

TEST_F(EventQueueTest, SetsTheClockToEachEvent) {
  Nanoseconds seen;
  queue.at(15_ns, [&] { seen = queue.now(); });
  queue.run_until(100_ns);
  EXPECT_EQ(seen, 15_ns);
  EXPECT_EQ(clock.now(), 100_ns);
}

TEST_F(EventQueueTest, LeavesLaterEventsAlone) {
  queue.at(10_ns, say("a"));
  queue.at(11_ns, say("b"));
  EXPECT_EQ(queue.run_until(10_ns), 1u);
  EXPECT_EQ(log, "a");
  EXPECT_EQ(queue.size(), 1u);
}

TEST_F(EventQueueTest, EventsMayScheduleMore) {
  queue.at(10_ns, [&] {
    log += "a";
    queue.after(0_ns, say("b"));
    queue.after(5_ns, say("c"));
    queue.after(90_ns, say("d"));
  });
  EXPECT_EQ(queue.run_until(50_ns), 3u);
  EXPECT_EQ(log, "abc");
}

TEST_F(EventQueueTest, ThePastRunsNextWithoutTurningTheClockBack) {
  clock.set(100_ns);
  queue.at(10_ns, say("late"));
  EXPECT_EQ(queue.run_until(100_ns), 1u);
  EXPECT_EQ(clock.now(), 100_ns);
}

TEST_F(EventQueueTest, CancelledEventsDoNotRun) {
  const auto a = queue.at(10_ns, say("a"));
  const auto b = queue.at(10_ns, say("b"));
  EXPECT_TRUE(queue.cancel(a));
  EXPECT_FALSE(queue.cancel(a));
  queue.run_until(10_ns);
  EXPECT_EQ(log, "b");
  EXPECT_FALSE(queue.cancel(b)) << "it has run";
}

TEST_F(EventQueueTest, AnEventMayCancelItsSuccessor) {
  EventQueue::Id second;
  queue.at(10_ns, [&] { queue.cancel(second); });
  second = queue.at(10_ns, say("b"));
  EXPECT_EQ(queue.run_until(20_ns), 1u);
  EXPECT_EQ(log, "");
}

}  // namespace
}  // namespace cupel
