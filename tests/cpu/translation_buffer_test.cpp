// More code than the engine's buffer for translations holds.
#include "tests/cpu/machine.h"

namespace cupel::cpu {
namespace {

using testing::Machine;
using x86::Gpr;

// A block takes some 400 bytes of the 96 MiB: one pass over these fills them, twice.
constexpr uint64_t kBlocks = 600'000, kBlocksAt = 0x400000, kBlockBytes = 5;
constexpr uint64_t kEnd = kBlocksAt + kBlocks * kBlockBytes;

// Each block: add ebx, 1; jmp to the next one.
void place_blocks(Machine& m) {
  for (uint64_t n = 0; n < kBlocks; ++n)
    m.load(kBlocksAt + n * kBlockBytes, {0x83, 0xc3, 0x01, 0xeb, 0x00});
}

TEST(TranslationBuffer, StartsAnewWhenItIsFull) {
  Machine m;
  place_blocks(m);
  // mov ecx, 2; xor ebx, ebx; mov edx, kBlocksAt; jmp rdx
  m.load(Machine::kCode, {0xb9, 2, 0, 0, 0, 0x31, 0xdb, 0xba, 0, 0, 0x40, 0, 0xff, 0xe2});
  // dec ecx; jz +2; jmp rdx; hlt
  m.load(kEnd, {0xff, 0xc9, 0x74, 0x02, 0xff, 0xe2, 0xf4});
  m.cpu->set_state(m.long_mode());
  m.monitor.exit_on = {TrapKind::hlt};
  m.cpu->run();
  EXPECT_EQ(m.cpu->gpr()[Gpr::rbx], 2 * kBlocks);
  EXPECT_EQ(m.cpu->gpr()[Gpr::rcx], 0u);
}

}  // namespace
}  // namespace cupel::cpu
