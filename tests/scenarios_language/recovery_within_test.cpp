#include "scenarios/oracles/recovery_within.h"

#include <gtest/gtest.h>

namespace cupel::scenarios {
namespace {

TEST(RecoveryWithin, ARecoveryInsideTheBoundPasses) {
  RecoveryWithin oracle(30_s);
  oracle.down("web", 10_s);
  oracle.down("web", 11_s);
  oracle.answering("web", 40_s);
  oracle.answering("web", 41_s);
  oracle.run_ended(60_s);
  EXPECT_EQ(oracle.report().verdict, Verdict::pass);
  EXPECT_EQ(oracle.longest(), 30_s);
  ASSERT_EQ(oracle.outages().size(), 1u);
}

TEST(RecoveryWithin, PlantedSlowRecoveryIsCaught) {
  RecoveryWithin oracle(30_s);
  oracle.down("web", 10_s);
  oracle.answering("web", 40_s + 1_ns);
  const auto report = oracle.report();
  EXPECT_EQ(report.verdict, Verdict::fail);
  EXPECT_NE(report.violations[0].text.find("VM web went down at 10.000 s and answered after"),
            std::string::npos);
}

TEST(RecoveryWithin, PlantedVmThatNeverComesBackIsCaught) {
  RecoveryWithin oracle(30_s);
  oracle.down("web", 10_s);
  oracle.run_ended(60_s);
  EXPECT_EQ(oracle.report().verdict, Verdict::fail);
}

TEST(RecoveryWithin, ARunThatEndsBeforeTheBoundJudgesNothing) {
  RecoveryWithin oracle(30_s);
  oracle.down("web", 40_s);
  oracle.run_ended(60_s);
  EXPECT_EQ(oracle.report().verdict, Verdict::not_judged);
  EXPECT_NE(oracle.report().detail.find("the run ended before the bound"), std::string::npos);
}

TEST(RecoveryWithin, FaultsBeyondTheDesignExcuseAnOutage) {
  RecoveryWithin oracle(5_s);
  oracle.down("web", 10_s);
  oracle.beyond_tolerance("all hosts are down");
  oracle.answering("web", 30_s);
  EXPECT_EQ(oracle.report().verdict, Verdict::not_judged);
  oracle.within_tolerance();
  oracle.down("web", 40_s);
  oracle.run_ended(60_s);
  EXPECT_EQ(oracle.report().verdict, Verdict::fail);
  EXPECT_NE(oracle.report().detail.find("all hosts are down"), std::string::npos);
}

TEST(RecoveryWithin, WithoutAnOutageNothingIsJudged) {
  RecoveryWithin oracle(5_s);
  oracle.run_ended(60_s);
  EXPECT_EQ(oracle.report().verdict, Verdict::not_judged);
  const OracleReport reports[] = {oracle.report()};
  EXPECT_EQ(overall(reports), Verdict::pass);
}

}  // namespace
}  // namespace cupel::scenarios
