#include "hw_models/platform/deadlines.h"

#include <gtest/gtest.h>

namespace cupel::platform {
namespace {

struct Alarm : chips::Chip {
  explicit Alarm(Nanoseconds when) : at(when) {}
  void advance(Nanoseconds now) override {
    ++advanced;
    if (now >= at) at = Nanoseconds::max();
  }
  Nanoseconds next_deadline() const override { return at; }
  void save(ArchiveWriter&) const override {}
  void restore(ArchiveReader&) override {}
  Nanoseconds at;
  int advanced = 0;
};

struct DeadlinesTest : testing::Test {
  DeadlinesTest() {
    deadlines.add(first);
    deadlines.add(second);
    deadlines.set_sink([this](Nanoseconds when) { told.push_back(when); });
    deadlines.all_touched();
  }
  Alarm first{10_ns}, second{20_ns};
  Deadlines deadlines;
  std::vector<Nanoseconds> told;
};

TEST_F(DeadlinesTest, TheEarliestCounts) {
  EXPECT_EQ(deadlines.earliest(), 10_ns);
  EXPECT_EQ(told, std::vector{10_ns});
}

TEST_F(DeadlinesTest, OnlyAChangeOfTheEarliestIsTold) {
  second.at = 15_ns;
  deadlines.touched(1);
  EXPECT_EQ(told.size(), 1u);
  second.at = 5_ns;
  deadlines.touched(1);
  EXPECT_EQ(told.back(), 5_ns);
  second.at = Nanoseconds::max();
  deadlines.touched(1);
  EXPECT_EQ(told.back(), 10_ns) << "later, too";
}

TEST_F(DeadlinesTest, OnlyChipsThatAreDueAdvance) {
  deadlines.advance(9_ns);
  EXPECT_EQ(first.advanced, 0);
  deadlines.advance(12_ns);
  EXPECT_EQ(first.advanced, 1);
  EXPECT_EQ(second.advanced, 0);
  EXPECT_EQ(deadlines.earliest(), 20_ns);
  deadlines.advance(99_ns);
  EXPECT_EQ(second.advanced, 1);
  EXPECT_EQ(deadlines.earliest(), Nanoseconds::max());
}

}  // namespace
}  // namespace cupel::platform
