// A VM on the model, its state taken and restored: what follows must be the same each time.
#include <gtest/gtest.h>

#include "scenarios/backend/model_seat.h"
#include "scenarios/runner/guest_assets.h"
#include "scenarios/session/console_session.h"
#include "tests/scenarios/scenario_rig.h"

namespace cupel::scenarios::testing {
namespace {

struct Continuation {
  std::string console;
  uint64_t exits = 0;
  Nanoseconds end;
  bool operator==(const Continuation&) const = default;
};

Continuation go_on(ConsoleSession& session, Nanoseconds length) {
  EXPECT_TRUE(session.vm().resume().ok());
  const uint64_t before = session.vm().vcpu().exits().total;
  session.take_output();
  const Nanoseconds end = session.clock().now() + length;
  while (!session.ended() && session.clock().now() < end) session.step(1_ms);
  EXPECT_EQ(session.vm().state(), vm::VmState::running)
      << describe(session.vm().crash()) << '\n'
      << dynamic_cast<ModelSeat&>(session.seat()).vtx().describe_entry_failures();
  return {session.take_output(), session.vm().vcpu().exits().total - before, session.clock().now()};
}

// Takes a snapshot after `warm_up`, and restores it twice.
void expect_same_continuations(const BootConfig& config, Nanoseconds warm_up, Nanoseconds length,
                               std::string_view expected) {
  auto made = ConsoleSession::create(config);
  ASSERT_TRUE(made.ok()) << describe(made.error());
  ConsoleSession& session = **made;
  while (session.clock().now() < warm_up && !session.ended()) session.step(1_ms);
  ASSERT_TRUE(session.vm().pause().ok()) << session.take_output();
  // In ticks: a nanosecond is too coarse for the same interrupts at the same instructions.
  const uint64_t taken_at = session.clock().ticks();
  auto snapshot = session.vm().snapshot();
  ASSERT_TRUE(snapshot.ok()) << describe(snapshot.error());
  EXPECT_LT(snapshot->pages_copied * kPageSize, config.memory / 2);

  const Continuation first = go_on(session, length);
  EXPECT_NE(first.console.find(expected), std::string::npos) << first.console;
  for (int round = 0; round < 2; ++round) {
    ASSERT_TRUE(session.vm().pause().ok());
    session.clock().set_ticks(taken_at);
    const auto restored = session.vm().restore(*snapshot);
    ASSERT_TRUE(restored.ok()) << describe(restored.error());
    const Continuation again = go_on(session, length);
    EXPECT_EQ(again.console, first.console);
    EXPECT_EQ(again.exits, first.exits);
    EXPECT_EQ(again.end, first.end);
  }
}

TEST(Snapshot, OfTheWorkloadGuestGivesTheSameContinuationTwice) {
  expect_same_continuations({.memory = 64_MiB,
                             .kernel = guest_assets().workload,
                             .initrd = {},
                             .command_line = "mode=hlt iters=1000000"},
                            500_ms, 300_ms, "");
}

TEST(Snapshot, OfABootingLinuxGivesTheSameContinuationTwice) {
  const GuestAssets assets = guest_assets();
  if (assets.linux_kernel.empty()) GTEST_SKIP() << "no Linux guest in build/cache/linux";
  expect_same_continuations({.memory = 256_MiB,
                             .kernel = assets.linux_kernel,
                             .initrd = assets.linux_initrd,
                             .command_line = linux_command_line() + " cupel.mode=shell"},
                            400_ms, 300_ms, "[");
}

}  // namespace
}  // namespace cupel::scenarios::testing
