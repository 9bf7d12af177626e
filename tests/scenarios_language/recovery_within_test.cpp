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
  oracle.within_tolerance(35_s);
  oracle.down("web", 40_s);
  oracle.run_ended(60_s);
  EXPECT_EQ(oracle.report().verdict, Verdict::fail);
  EXPECT_NE(oracle.report().detail.find("all hosts are down"), std::string::npos);
}

TEST(RecoveryWithin, AnOutageThatOutlastsTheExcuseIsJudgedFromItsEndOn) {
  for (const Nanoseconds back : {35_s, 36_s}) {
    RecoveryWithin oracle(5_s);
    oracle.beyond_tolerance("the disk is lost");
    oracle.down("web", 10_s);
    oracle.within_tolerance(30_s);
    oracle.answering("web", back);
    oracle.run_ended(60_s);
    EXPECT_EQ(oracle.report().verdict, back == 35_s ? Verdict::pass : Verdict::fail);
    EXPECT_EQ(oracle.longest(), back - 10_s);
  }
}

TEST(RecoveryWithin, PlantedVmThatNeverAnswersIsCaught) {
  RecoveryWithin oracle(5_s);
  oracle.started("web", 1_s);
  oracle.started("db", 1_s);
  oracle.answering("db", 2_s);
  oracle.started("late", 58_s);
  oracle.run_ended(60_s);
  EXPECT_EQ(oracle.report().verdict, Verdict::fail);
  ASSERT_EQ(oracle.report().violations.size(), 1u);
  EXPECT_EQ(oracle.report().violations[0].text,
            "VM web was started at 1.000 s and has never answered on UDP port 7777");
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
