#include "scenarios/oracles/single_instance.h"

#include <gtest/gtest.h>

namespace cupel::scenarios {
namespace {

TEST(SingleInstance, ARestartAfterTheOldInstanceEndedIsLegal) {
  SingleInstance oracle;
  const auto a = oracle.started("web", "host-a", 0_s);
  oracle.executed(a, 0_s, 5_s);
  oracle.stopped(a, 5_s);
  const auto b = oracle.started("web", "host-b", 15_s);
  oracle.executed(b, 15_s, 20_s);
  EXPECT_EQ(oracle.report().verdict, Verdict::pass);
  EXPECT_EQ(oracle.instances(), 2u);
}

TEST(SingleInstance, PlantedSecondStartIsCaughtAndNamed) {
  SingleInstance oracle;
  const auto a = oracle.started("web", "host-a", 0_s);
  oracle.executed(a, 0_s, 5_s);
  const auto b = oracle.started("web", "host-b", 5_s);
  oracle.executed(b, 5_s, 6_s);
  EXPECT_EQ(oracle.report().verdict, Verdict::pass);
  oracle.executed(a, 5_s, 6_s);
  const auto report = oracle.report();
  EXPECT_EQ(report.verdict, Verdict::fail);
  ASSERT_EQ(report.violations.size(), 1u);
  EXPECT_NE(report.violations[0].text.find("its instance on host-a executed until 6.000000 s, but "
                                           "a newer one was started on host-b at 5.000000 s"),
            std::string::npos)
      << report.violations[0].text;
}

TEST(SingleInstance, AHungInstanceThatNeverExecutesAgainIsLegal) {
  SingleInstance oracle;
  const auto a = oracle.started("web", "host-a", 0_s);
  oracle.executed(a, 0_s, 5_s);
  const auto b = oracle.started("web", "host-b", 15_s);
  oracle.executed(b, 15_s, 40_s);
  oracle.stopped(a, 35_s);
  EXPECT_EQ(oracle.report().verdict, Verdict::pass);
}

TEST(SingleInstance, PlantedWakeUpOfAHungInstanceIsCaughtEvenWhileTheNewOneIdles) {
  SingleInstance oracle;
  const auto a = oracle.started("web", "host-a", 0_s);
  oracle.executed(a, 0_s, 5_s);
  const auto b = oracle.started("web", "host-b", 15_s);
  oracle.executed(b, 15_s, 16_s);
  oracle.executed(a, 30_s, 30_s + 1_us);
  EXPECT_EQ(oracle.report().verdict, Verdict::fail);
}

TEST(SingleInstance, ASliceReportedBeforeTheStartItReachesOverIsCaught) {
  SingleInstance oracle;
  const auto a = oracle.started("web", "host-a", 0_s);
  oracle.executed(a, 0_s, 10_s);
  oracle.started("web", "host-b", 9_s);
  EXPECT_EQ(oracle.report().verdict, Verdict::fail);
}

TEST(SingleInstance, ExecutionAfterTheStopIsCaught) {
  SingleInstance oracle;
  const auto a = oracle.started("web", "host-a", 0_s);
  oracle.stopped(a, 5_s);
  oracle.executed(a, 4_s, 5_s);
  EXPECT_EQ(oracle.report().verdict, Verdict::pass);
  oracle.executed(a, 5_s, 6_s);
  EXPECT_EQ(oracle.report().verdict, Verdict::fail);
}

TEST(SingleInstance, DifferentVmsAndEmptySlicesAreNoConcern) {
  SingleInstance oracle;
  const auto a = oracle.started("web", "host-a", 0_s);
  const auto b = oracle.started("mail", "host-a", 1_s);
  oracle.executed(a, 2_s, 3_s);
  oracle.executed(b, 2_s, 3_s);
  oracle.started("web", "host-b", 3_s);
  oracle.executed(a, 4_s, 4_s);
  EXPECT_EQ(oracle.report().verdict, Verdict::pass);
}

TEST(SingleInstance, OneBadInstanceIsReportedOnce) {
  SingleInstance oracle;
  const auto a = oracle.started("web", "host-a", 0_s);
  oracle.started("web", "host-b", 1_s);
  for (int i = 2; i < 100; ++i) oracle.executed(a, Nanoseconds(i) * 1'000'000'000, 200_s);
  EXPECT_EQ(oracle.report().violations.size(), 1u);
}

}  // namespace
}  // namespace cupel::scenarios
