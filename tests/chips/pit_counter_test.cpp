// The closed forms of a counter against counting tick by tick.
#include "core/chips/pit_counter.h"

#include <gtest/gtest.h>

namespace cupel::chips {
namespace {

struct Draw {
  uint64_t state;
  unsigned below(unsigned n) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return static_cast<unsigned>(state >> 33) % n;
  }
};

// A random program: control words, counts, gate changes, separated by pauses in which every tick
// is looked at.
TEST(PitCounter, NextChangeIsExactlyWhenTheOutputChanges) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    Draw draw{seed};
    PitCounter counter;
    uint64_t tick = 100;
    for (int step = 0; step < 40; ++step) {
      const unsigned action = draw.below(8);
      if (action == 0 || step == 0) {
        counter.write_control(static_cast<uint8_t>(0x10 | draw.below(6) << 1 | draw.below(2)),
                              tick);
      } else if (action < 4) {
        // Counts below 2 are illegal in the periodic modes.
        counter.write_count(static_cast<uint8_t>(2 + draw.below(8)), tick);
      } else if (action < 6) {
        counter.set_gate(draw.below(2) != 0, tick);
      }
      uint64_t expected = counter.next_change(tick);
      bool level = counter.output(tick);
      for (const uint64_t end = tick + draw.below(40); tick < end;) {
        ++tick;
        counter.settle(tick);
        const bool now = counter.output(tick);
        ASSERT_EQ(now != level, tick == expected) << "seed " << seed << " step " << step;
        if (tick == expected) expected = counter.next_change(tick);
        level = now;
      }
    }
  }
}

// The data sheet's diagrams for a count of 4 (modes 0, 2, 4) and 5 (mode 3), from the load on.
TEST(PitCounter, WaveformsOfTheDataSheet) {
  static constexpr struct {
    uint8_t mode, count;
    const char* wave;
  } kRows[] = {
      {0, 4, "____-------"}, {2, 4, "---_---_---"}, {3, 4, "--__--__--_"},
      {3, 5, "---__---__-"}, {4, 4, "----_------"},
  };
  for (const auto& row : kRows) {
    PitCounter counter;
    counter.write_control(static_cast<uint8_t>(0x10 | row.mode << 1), 0);
    counter.write_count(row.count, 0);
    for (uint64_t i = 0; row.wave[i] != 0; ++i)
      EXPECT_EQ(counter.output(1 + i), row.wave[i] == '-') << int{row.mode} << " at " << i;
  }
}

}  // namespace
}  // namespace cupel::chips
