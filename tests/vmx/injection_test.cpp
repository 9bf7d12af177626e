#include "hypervisor/vmx/injection.h"

#include <gtest/gtest.h>

namespace cupel::vmx {
namespace {

using namespace x86;
using Raised = EventQueue::Raised;

Event exception(uint8_t vector) { return Event::exception(vector, 0, has_error_code(vector)); }

TEST(EventQueue, DoubleFaultRules) {
  struct {
    uint8_t first, second;
    Raised outcome;
    uint8_t waiting;
  } const cases[] = {
      {kDB, kPF, Raised::queued, kPF},       {kGP, kPF, Raised::queued, kPF},
      {kGP, kNP, Raised::double_fault, kDF}, {kPF, kPF, Raised::double_fault, kDF},
      {kPF, kGP, Raised::double_fault, kDF}, {kPF, kDB, Raised::queued, kDB},
      {kDF, kGP, Raised::triple_fault, kDF}, {kDE, kUD, Raised::queued, kUD},
  };
  for (const auto& c : cases) {
    EventQueue queue;
    EXPECT_EQ(queue.raise(exception(c.first)), Raised::queued);
    EXPECT_EQ(queue.raise(exception(c.second)), c.outcome) << int{c.first} << int{c.second};
    EXPECT_EQ(queue.waiting().vector, c.waiting) << int{c.first} << int{c.second};
  }
}

TEST(EventQueue, AnOpenGuestTakesAnInterruptAtOnce) {
  const auto d = EventQueue().decide(true, rflags::IF, 0, true);
  EXPECT_TRUE(d.acknowledge);
  EXPECT_FALSE(d.interrupt_window);
}

TEST(EventQueue, AClosedGuestGetsAWindow) {
  for (const uint32_t blocking : {0u, interruptibility::sti, interruptibility::mov_ss}) {
    const auto d = EventQueue().decide(true, blocking == 0 ? 0 : rflags::IF, blocking, true);
    EXPECT_FALSE(d.acknowledge);
    EXPECT_TRUE(d.interrupt_window);
  }
}

TEST(EventQueue, AnExceptionGoesBeforeAnInterrupt) {
  EventQueue queue;
  ASSERT_EQ(queue.raise(exception(kGP)), Raised::queued);
  const auto d = queue.decide(true, rflags::IF, 0, true);
  EXPECT_EQ(d.inject.vector, kGP);
  EXPECT_FALSE(d.acknowledge);
  EXPECT_TRUE(d.interrupt_window);
  queue.injected(d);
  EXPECT_TRUE(queue.empty());
}

TEST(EventQueue, AnNmiGoesBeforeAnInterruptAndWaitsForItsWindow) {
  EventQueue queue;
  queue.pend_nmi();
  auto d = queue.decide(true, rflags::IF, interruptibility::nmi, true);
  EXPECT_FALSE(d.inject.valid);
  EXPECT_FALSE(d.acknowledge);
  EXPECT_TRUE(d.nmi_window);
  queue.injected(d);
  EXPECT_TRUE(queue.nmi_pending());
  d = queue.decide(true, rflags::IF, 0, true);
  EXPECT_EQ(d.inject.type, EventType::nmi);
  EXPECT_FALSE(d.nmi_window);
  EXPECT_TRUE(d.interrupt_window);
  queue.injected(d);
  EXPECT_FALSE(queue.nmi_pending());
}

TEST(EventQueue, WithoutVirtualNmisABlockedNmiIsRetried) {
  EventQueue queue;
  queue.pend_nmi();
  const auto d = queue.decide(false, 0, interruptibility::sti, false);
  EXPECT_FALSE(d.nmi_window);
  EXPECT_TRUE(d.retry);
}

TEST(EventQueue, AnInterruptedNmiStaysLatchedBehindAnException) {
  EventQueue queue;
  queue.reinject({kNMI, EventType::nmi, false, false, true}, 0, 0);
  ASSERT_EQ(queue.raise(exception(kPF)), Raised::queued);
  EXPECT_EQ(queue.waiting().vector, kPF);
  EXPECT_TRUE(queue.nmi_pending());
}

}  // namespace
}  // namespace cupel::vmx
