// SDM vol. 3C, "Page-Modification Logging".
#include "tests/vtx/rig.h"

namespace cupel::vtx::testing {
namespace {

using cpu::Access;
using cpu::PhysicalAccess;

constexpr uint64_t kLog = 0x20000, kPdpt = 0x11000, kPd = 0x12000, kPt = 0x13000;
constexpr uint64_t kAccessed = 1 << 8, kDirty = 1 << 9;

// Pages 0 to 511 map to 80000H and on.
struct PmlRig : Rig {
  explicit PmlRig(uint64_t index, bool flags = true) {
    memory->write<uint64_t>(Hpa(kPml4), kPdpt | 7);
    memory->write<uint64_t>(Hpa(kPdpt), kPd | 7);
    memory->write<uint64_t>(Hpa(kPd), kPt | 7);
    for (uint64_t n = 0; n < 64; ++n)
      memory->write<uint64_t>(Hpa(kPt + 8 * n), (0x80000 + n * kPageSize) | 7 | 6 << 3);
    set_bits(F::secondary_processor_controls, x86::proc2::enable_pml);
    set(F::ept_pointer, kPml4 | 3 << 3 | 6 | (flags ? kEptpFlags : 0));
    set(F::pml_address, kLog);
    set(F::pml_index, index);
  }
  // What the guest's accesses come to: true while all are translated.
  bool access(uint64_t gpa, Access kind, bool structure = false) {
    PhysicalAccess a;
    a.gpa = Gpa(gpa);
    a.access = kind;
    a.paging_structure = structure;
    if (cpu.monitor->translate(a).ok) return true;
    cpu.monitor->on_translation_fault(a);
    return false;
  }
  void run(std::function<void()> guest) {
    cpu.script = [this, guest = std::move(guest)](FakeProcessor& p) {
      guest();
      if (reason_pending) p.trap(cpu::TrapKind::cpuid);
    };
    const bool first = !std::exchange(launched, true);
    EXPECT_EQ(first ? launch() : resume(), VmxStatus::succeed) << vmx.describe_entry_failures();
  }
  uint64_t logged(uint64_t index) { return memory->read<uint64_t>(Hpa(kLog + 8 * index)); }
  uint64_t entry(uint64_t page) { return memory->read<uint64_t>(Hpa(kPt + 8 * page)); }
  bool reason_pending = true;  // the guest goes on to a CPUID
};

TEST(PageModificationLog, FirstWriteToAPageIsLogged) {
  PmlRig rig(511);
  rig.run([&] {
    EXPECT_TRUE(rig.access(0x1234, Access::read));
    EXPECT_TRUE(rig.access(0x1234, Access::write));
    EXPECT_TRUE(rig.access(0x1238, Access::write));
    EXPECT_TRUE(rig.access(0x5000, Access::write));
  });
  EXPECT_EQ(rig.logged(511), 0x1000u);
  EXPECT_EQ(rig.logged(510), 0x5000u);
  EXPECT_EQ(rig.get(F::pml_index), 509u);
  EXPECT_EQ(rig.logged(509), 0u);
}

TEST(PageModificationLog, PagingStructuresCountAsWritten) {
  PmlRig rig(100);
  rig.run([&] { EXPECT_TRUE(rig.access(0x3008, Access::read, true)); });
  EXPECT_EQ(rig.logged(100), 0x3000u);
  EXPECT_EQ(rig.get(F::pml_index), 99u);
}

TEST(PageModificationLog, IndexWrapsAndTheNextFlagExits) {
  PmlRig rig(0);
  rig.run([&] { EXPECT_TRUE(rig.access(0x1000, Access::write)); });
  EXPECT_EQ(rig.get(F::pml_index), 0xffffu);
  EXPECT_EQ(rig.logged(0), 0x1000u);
  rig.reason_pending = false;
  rig.run([&] {
    EXPECT_TRUE(rig.access(0x1000, Access::write));  // flags are set: nothing to log
    EXPECT_FALSE(rig.access(0x2000, Access::write));
  });
  EXPECT_EQ(rig.reason(), 62u);
  EXPECT_EQ(rig.get(F::exit_qualification), 0u);
  EXPECT_EQ(rig.entry(2) & (kAccessed | kDirty), 0u);
  EXPECT_EQ(rig.get(F::guest_rflags) & x86::rflags::RF, x86::rflags::RF);
}

// "Before allowing a guest-physical access, the processor may determine that it first needs to set
// an accessed or dirty flag": a full log stops a read, too.
TEST(PageModificationLog, FullLogStopsAnAccessedFlag) {
  PmlRig rig(512);
  rig.reason_pending = false;
  rig.run([&] { EXPECT_FALSE(rig.access(0x2000, Access::read)); });
  EXPECT_EQ(rig.reason(), 62u);
  EXPECT_EQ(rig.entry(2) & kAccessed, 0u);
  rig.set(F::pml_index, 5);
  rig.reason_pending = true;
  rig.run([&] { EXPECT_TRUE(rig.access(0x2000, Access::read)); });
  EXPECT_EQ(rig.entry(2) & kAccessed, kAccessed);
  EXPECT_EQ(rig.get(F::pml_index), 5u);
}

TEST(PageModificationLog, WithoutFlagsNothingIsLogged) {
  PmlRig rig(600, false);
  rig.run([&] { EXPECT_TRUE(rig.access(0x2000, Access::write)); });
  EXPECT_EQ(rig.get(F::pml_index), 600u);
}

}  // namespace
}  // namespace cupel::vtx::testing
