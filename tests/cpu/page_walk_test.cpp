// The walk in every paging mode. The second dimension is identity.
#include "hw_models/cpu/page_walk.h"

#include <gtest/gtest.h>

#include "hw_models/cpu/unicorn_processor.h"

namespace cupel::cpu {
namespace {

using Outcome = WalkResult::Outcome;

class PageWalk : public ::testing::Test {
 protected:
  static constexpr uint64_t kRoot = 0x10000, kNext = 0x11000, kThird = 0x12000, kLast = 0x13000;

  PageWalk() : memory(PhysicalMemory::create(16_MiB).value().release()), identity(*memory) {
    state.cr0 = x86::cr0::PE | x86::cr0::PG | x86::cr0::WP;
    state.cr3 = kRoot;
  }
  void entry32(uint64_t table, unsigned index, uint32_t value) {
    memory->write(Hpa(table + 4 * index), value);
  }
  void entry64(uint64_t table, unsigned index, uint64_t value) {
    memory->write(Hpa(table + 8 * index), value);
  }
  void four_level(uint64_t leaf) {
    state.cr4 |= x86::cr4::PAE;
    state.efer |= x86::efer::LME | x86::efer::LMA | x86::efer::NXE;
    entry64(kRoot, 0, kNext | 7);
    entry64(kNext, 0, kThird | 7);
    entry64(kThird, 0, kLast | 7);
    entry64(kLast, 5, leaf);
  }
  WalkResult at(uint64_t linear, Access access = Access::read, bool user = false,
                bool smap = false) {
    return walk(*memory, identity, state, {Gva(linear), access, user, smap});
  }

  std::unique_ptr<PhysicalMemory> memory;
  IdentityMonitor identity;
  PagingState state;
};

TEST_F(PageWalk, WithoutPagingLinearIsPhysical) {
  state.cr0 = x86::cr0::PE;
  EXPECT_EQ(at(0x1234).hpa, Hpa(0x1234));
}

TEST_F(PageWalk, ThirtyTwoBitPagesAndAccessedDirtyFlags) {
  entry32(kRoot, 1, kNext | 7);
  entry32(kNext, 2, 0x5000 | 7);
  const auto r = at(0x402123, Access::write);
  EXPECT_EQ(r.hpa, Hpa(0x5123));
  EXPECT_EQ(memory->read<uint32_t>(Hpa(kRoot + 4)) & 0x60, 0x20u);
  EXPECT_EQ(memory->read<uint32_t>(Hpa(kNext + 8)) & 0x60, 0x60u);
}

TEST_F(PageWalk, FourMegabytePagesNeedPse) {
  entry32(kRoot, 1, 0x00c00000 | 0x87);
  state.cr4 = x86::cr4::PSE;
  EXPECT_EQ(at(0x412345).hpa, Hpa(0xc12345));
  state.cr4 = 0;
  entry32(0xc00000, 0x12, 0x7000 | 7);
  EXPECT_EQ(at(0x412345).hpa, Hpa(0x7345));
}

TEST_F(PageWalk, PaeUsesTheLoadedPdptes) {
  state.cr4 = x86::cr4::PAE;
  state.pdptes = {kNext | 1, 0, 0, 0};
  entry64(kNext, 1, 0x600000 | 0x83);
  EXPECT_EQ(at(0x200010).hpa, Hpa(0x600010));
  EXPECT_EQ(at(0x40000000).outcome, Outcome::page_fault);
  EXPECT_EQ(at(0x40000000).error_code, 0u);
}

TEST_F(PageWalk, FourLevelsTranslate) {
  four_level(0x8000 | 7);
  EXPECT_EQ(at(0x5678).hpa, Hpa(0x8678));
  EXPECT_EQ(at(0x6000).error_code, 0u);  // not present
}

TEST_F(PageWalk, UserMayNotTouchSupervisorPages) {
  four_level(0x8000 | 3);
  EXPECT_EQ(at(0x5000, Access::read, true).error_code, x86::pf::P | x86::pf::U);
  EXPECT_EQ(at(0x5000).outcome, Outcome::ok);
}

TEST_F(PageWalk, WriteProtectionOfTheSupervisorDependsOnWp) {
  four_level(0x8000 | 5);
  EXPECT_EQ(at(0x5000, Access::write).error_code, x86::pf::P | x86::pf::W);
  state.cr0 &= ~x86::cr0::WP;
  EXPECT_EQ(at(0x5000, Access::write).outcome, Outcome::ok);
  EXPECT_EQ(at(0x5000, Access::write, true).outcome, Outcome::page_fault);
}

TEST_F(PageWalk, NoExecuteSmepAndSmap) {
  four_level(1ull << 63 | 0x8000 | 7);
  EXPECT_EQ(at(0x5000, Access::fetch, true).error_code, x86::pf::P | x86::pf::U | x86::pf::I);
  four_level(0x8000 | 7);
  state.cr4 |= x86::cr4::SMEP | x86::cr4::SMAP;
  EXPECT_EQ(at(0x5000, Access::fetch).error_code, x86::pf::P | x86::pf::I);
  EXPECT_EQ(at(0x5000, Access::read, false, true).error_code, x86::pf::P);
  EXPECT_EQ(at(0x5000, Access::read, false, false).outcome, Outcome::ok);
  EXPECT_FALSE(at(0x5000).executable);
}

TEST_F(PageWalk, ReservedBitsFault) {
  four_level(1ull << 45 | 0x8000 | 7);  // above the 40 physical bits
  EXPECT_EQ(at(0x5000).error_code, x86::pf::P | x86::pf::RSVD);
  four_level(0x8000 | 7);
  state.efer &= ~x86::efer::NXE;
  entry64(kLast, 5, 1ull << 63 | 0x8000 | 7);
  EXPECT_EQ(at(0x5000).error_code, x86::pf::P | x86::pf::RSVD);
}

TEST_F(PageWalk, PdptesWithReservedBitsAreRefused) {
  state.cr4 = x86::cr4::PAE;
  entry64(kRoot, 0, kNext | 1);
  entry64(kRoot, 2, kNext | 3);  // R/W is reserved in a PDPTE
  std::array<uint64_t, 4> out{};
  PhysicalAccess refused;
  EXPECT_EQ(load_pdptes(*memory, identity, state, out, refused), PdpteLoad::reserved);
  entry64(kRoot, 2, 0);
  EXPECT_EQ(load_pdptes(*memory, identity, state, out, refused), PdpteLoad::ok);
  EXPECT_EQ(out[0], kNext | 1);
}

}  // namespace
}  // namespace cupel::cpu
