#include "hw_models/cpu/jump_cache.h"

#include "tests/cpu/machine.h"

namespace cupel::cpu {
namespace {

using testing::Machine;
using x86::Gpr;

class JumpCacheTest : public ::testing::Test {
 protected:
  JumpCacheTest() { cache.enter({0, 1}); }
  JumpCache cache;
  char code[64];
};

TEST_F(JumpCacheTest, AnswersWhatItWasTold) {
  EXPECT_EQ(cache.find(0x1000), nullptr);
  cache.remember(0x1000, &code[3]);
  cache.remember(0x1002, &code[1]);
  EXPECT_EQ(cache.find(0x1000), &code[3]);
  EXPECT_EQ(cache.find(0x1002), &code[1]);
  EXPECT_EQ(cache.find(0x1001), nullptr);
}

TEST_F(JumpCacheTest, AddressZeroIsAnAddress) {
  EXPECT_EQ(cache.find(0), nullptr);
  cache.remember(0, &code[0]);
  EXPECT_EQ(cache.find(0), &code[0]);
}

TEST_F(JumpCacheTest, TwoJumpsThatCollideAreBothKept) {
  // Same page and slot: bits 13:7 fold onto 6:0.
  cache.remember(0x1000, &code[0]);
  cache.remember(0x1081, &code[1]);
  EXPECT_EQ(cache.find(0x1000), &code[0]);
  EXPECT_EQ(cache.find(0x1081), &code[1]);
}

TEST_F(JumpCacheTest, ModesAreApart) {
  cache.remember(0x1000, &code[0]);
  cache.enter({0, 2});
  EXPECT_EQ(cache.find(0x1000), nullptr);
  cache.enter({0x500, 1});
  EXPECT_EQ(cache.find(0x1000), nullptr);
  cache.enter({0, 1});
  EXPECT_EQ(cache.find(0x1000), &code[0]);
}

TEST_F(JumpCacheTest, MoreModesThanItKnowsAreNeverConfused) {
  for (uint32_t flags = 1; flags < 100; ++flags) {
    cache.enter({0, flags});
    EXPECT_EQ(cache.find(0x1000), nullptr) << flags;
    cache.remember(0x1000, &code[flags % 64]);
    EXPECT_EQ(cache.find(0x1000), &code[flags % 64]);
  }
  cache.enter({0, 99});
  EXPECT_EQ(cache.find(0x1000), &code[99 % 64]);
}

TEST_F(JumpCacheTest, ForgetsAllOrAPageAndTheOneBefore) {
  for (const uint64_t at : {0x1fff, 0x2ffe, 0x3000, 0x4000}) cache.remember(at, code);
  cache.forget_page(0x3123);
  EXPECT_EQ(cache.find(0x1fff), code);
  EXPECT_EQ(cache.find(0x2ffe), nullptr);
  EXPECT_EQ(cache.find(0x3000), nullptr);
  EXPECT_EQ(cache.find(0x4000), code);
  cache.forget();
  EXPECT_EQ(cache.find(0x1fff), nullptr);
  EXPECT_EQ(cache.find(0x4000), nullptr);
}

TEST_F(JumpCacheTest, ForgetsWhenBlocksWereDropped) {
  int dropped = 7;
  cache.remember(0x1000, code);
  cache.forget_if_dropped([] {}, [&] { return dropped; });
  EXPECT_EQ(cache.find(0x1000), code);
  cache.forget_if_dropped([&] { ++dropped; }, [&] { return dropped; });
  EXPECT_EQ(cache.find(0x1000), nullptr);
}

// The rest: indirect calls of real code, more often than any cache would notice by chance.

TEST(IndirectCalls, SeeCodeThatChanges) {
  Machine m;
  // xor ebx, ebx; mov ecx, 200; mov edx, 0x9000
  // L: mov [0x9001], cl; call rdx; add ebx, eax; call rdx; add ebx, eax; dec ecx; jnz L; hlt
  m.load(Machine::kCode, {0x31, 0xdb, 0xb9, 200,  0,    0,    0,    0xba, 0,    0x90, 0,
                          0,    0x88, 0x0c, 0x25, 0x01, 0x90, 0,    0,    0xff, 0xd2, 0x01,
                          0xc3, 0xff, 0xd2, 0x01, 0xc3, 0xff, 0xc9, 0x75, 0xed, 0xf4});
  m.load(0x9000, {0xb8, 0, 0, 0, 0, 0xc3});  // mov eax, 0; ret
  m.cpu->set_state(m.long_mode());
  m.monitor.exit_on = {TrapKind::hlt};
  m.cpu->run();
  EXPECT_EQ(m.cpu->gpr()[Gpr::rbx], 2u * 200 * 201 / 2);
}

constexpr uint64_t kFunction = 0x400000, kOther = 0x600000;  // 2-MiB pages 2 and 3

void place_functions(Machine& m) {
  m.load(kFunction, {0xb8, 1, 0, 0, 0, 0xc3});
  m.load(kOther, {0xb8, 2, 0, 0, 0, 0xc3});
  // xor ebx, ebx; mov ecx, 100; mov edx, kFunction
  m.load(Machine::kCode, {0x31, 0xdb, 0xb9, 100, 0, 0, 0, 0xba, 0, 0, 0x40, 0});
}
constexpr uint64_t kLoop = Machine::kCode + 12;

TEST(IndirectCalls, FollowInvlpg) {
  Machine m;
  const auto state = m.long_mode();
  place_functions(m);
  // L: call rdx; add ebx, eax; xor qword [PDE 2], 0x200000; invlpg [kFunction]; dec ecx; jnz L; hlt
  m.load(kLoop,
         {0xff, 0xd2, 0x01, 0xc3, 0x48, 0x81, 0x34, 0x25, 0x10, 0x20, 0x01, 0,    0,    0,   0x20,
          0,    0x0f, 0x01, 0x3c, 0x25, 0,    0,    0x40, 0,    0xff, 0xc9, 0x75, 0xe4, 0xf4});
  m.cpu->set_state(state);
  m.monitor.exit_on = {TrapKind::hlt};
  m.cpu->run();
  EXPECT_EQ(m.cpu->gpr()[Gpr::rbx], 150u);
}

TEST(IndirectCalls, FollowMovToCr3) {
  for (const uint64_t global_pages : {uint64_t{0}, uint64_t{x86::cr4::PGE}}) {
    Machine m;
    auto state = m.long_mode();
    state.cr4 |= global_pages;
    place_functions(m);
    // L: call rdx; add ebx, eax; xor qword [PDE 2], 0x200000; mov rax, cr3; mov cr3, rax;
    // dec ecx; jnz L; hlt
    m.load(kLoop, {0xff, 0xd2, 0x01, 0xc3, 0x48, 0x81, 0x34, 0x25, 0x10, 0x20, 0x01, 0,    0,   0,
                   0x20, 0,    0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8, 0xff, 0xc9, 0x75, 0xe6, 0xf4});
    m.cpu->set_state(state);
    m.monitor.exit_on = {TrapKind::hlt};
    m.cpu->run();
    EXPECT_EQ(m.cpu->gpr()[Gpr::rbx], 150u) << global_pages;
  }
}

// As INVVPID and INVEPT do it: between two runs.
TEST(IndirectCalls, FollowFlushesFromOutside) {
  for (const bool whole : {true, false}) {
    Machine m;
    const auto state = m.long_mode();
    place_functions(m);
    // L: call rdx; add ebx, eax; cpuid; dec ecx; jnz L; hlt
    m.load(kLoop, {0xff, 0xd2, 0x01, 0xc3, 0x0f, 0xa2, 0xff, 0xc9, 0x75, 0xf6, 0xf4});
    m.cpu->set_state(state);
    m.monitor.exit_on = {TrapKind::cpuid, TrapKind::hlt};
    for (int i = 0; i < 100; ++i) {
      m.cpu->run();
      const auto entry = m.peek<uint64_t>(Machine::kPml4 + 0x2010);
      m.poke<uint64_t>(Machine::kPml4 + 0x2010, entry ^ (kFunction ^ kOther));
      whole ? m.cpu->flush_tlb() : m.cpu->flush_tlb_page(Gva(kFunction));
      m.cpu->set_rip(m.cpu->rip() + 2);
    }
    m.cpu->run();
    EXPECT_EQ(m.cpu->gpr()[Gpr::rbx], 150u) << whole;
  }
}

}  // namespace
}  // namespace cupel::cpu
