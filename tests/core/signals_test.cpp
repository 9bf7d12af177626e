// Interrupt lines and probes.
#include <gtest/gtest.h>

#include <vector>

#include "core/irq_line.h"
#include "core/probe.h"

namespace cupel {
namespace {

TEST(IrqLine, TellsChangesOnly) {
  std::vector<bool> seen;
  IrqLine line([&](bool level) { seen.push_back(level); });
  line.set(false);
  line.set(true);
  line.set(true);
  line.set(false);
  EXPECT_EQ(seen, (std::vector<bool>{true, false}));
}

TEST(IrqLine, ALateListenerHearsAnAssertedLine) {
  IrqLine line;
  line.set(true);
  bool level = false;
  line.connect([&](bool l) { level = l; });
  EXPECT_TRUE(level);
}

TEST(IrqLine, RestoringIsSilent) {
  int calls = 0;
  IrqLine line([&](bool) { ++calls; });
  line.restore_level(true);
  EXPECT_TRUE(line.level());
  line.set(true);
  EXPECT_EQ(calls, 0);
}

void rare_path() { CUPEL_PROBE("test.rare_path"); }

TEST(Probe, CountsHitsByName) {
  EXPECT_EQ(probe_count("test.rare_path"), 0u);
  rare_path();
  rare_path();
  EXPECT_EQ(probe_count("test.rare_path"), 2u);
  EXPECT_FALSE(all_probes().empty());
  reset_probes();
  EXPECT_EQ(probe_count("test.rare_path"), 0u);
}

}  // namespace
}  // namespace cupel
