// What the adversarial TLB keeps, and what each operation drops.
// SDM vol. 3C, "Operations that Invalidate Cached Mappings".
#include "hw_models/vtx/tagged_tlb.h"

#include <gtest/gtest.h>

#include <set>
#include <tuple>

#include "core/x86/registers.h"

namespace cupel::vtx::testing {
namespace {

using namespace x86;

constexpr uint64_t kNoEpt = cpu::TranslationTag::kNoEpt, kEptA = 0xa000, kEptB = 0xb000;

// Every mapping leads to one frame; a walk would give `now`.
struct Bench {
  Bench()
      : tlb([this](const cpu::WalkRequest& request,
                   const cpu::PagingState&) { return walked(request.linear); },
            [] { return 0x1234; }) {
    paging.cr0 = cr0::PE | cr0::PG | cr0::WP;
    paging.cr4 = cr4::PAE | cr4::PGE;
    paging.efer = efer::LMA | efer::LME;
  }
  cpu::WalkResult walked(Gva linear) const {
    cpu::WalkResult r;
    r.hpa = now + linear.offset_in(kPageSize);
    r.mapping = mapping;
    r.mapping.gpa = Gpa(0x5000 + linear.offset_in(kPageSize));
    return r;
  }
  void put(uint16_t vpid, uint64_t ept, uint64_t linear, bool global = false) {
    tlb.use({vpid, ept});
    auto r = walked(Gva(linear));
    r.global = global;
    tlb.remember({Gva(linear)}, r);
    all.insert({vpid, ept, linear});
  }
  bool has(uint16_t vpid, uint64_t ept, uint64_t linear) {
    tlb.use({vpid, ept});
    cpu::WalkResult r;
    return tlb.find({Gva(linear)}, paging, r);
  }
  using Key = std::tuple<uint16_t, uint64_t, uint64_t>;
  std::set<Key> dropped() {
    std::set<Key> gone;
    for (const auto& [vpid, ept, linear] : all)
      if (!has(vpid, ept, linear)) gone.insert({vpid, ept, linear});
    return gone;
  }
  // The address spaces of two guests and the host; page 2000H is global.
  void fill() {
    for (const auto& [vpid, ept] : {std::pair<uint16_t, uint64_t>{0, kNoEpt},
                                    {1, kNoEpt},
                                    {1, kEptA},
                                    {1, kEptB},
                                    {2, kEptA}}) {
      put(vpid, ept, 0x1000);
      put(vpid, ept, 0x2000, true);
      put(vpid, ept, 0x3000);
    }
  }

  TaggedTlb tlb;
  cpu::PagingState paging;
  Hpa now{0x7000};
  cpu::Mapping mapping{Gpa(0), kPageSize, true, false, false, true, true, true, true};
  std::set<Key> all;
};
using Keys = std::set<Bench::Key>;

Keys of(std::initializer_list<std::pair<uint16_t, uint64_t>> spaces,
        std::initializer_list<uint64_t> pages) {
  Keys keys;
  for (const auto& [vpid, ept] : spaces)
    for (const uint64_t page : pages) keys.insert({vpid, ept, page});
  return keys;
}

TEST(TaggedTlb, KeepsWhatNothingInvalidates) {
  Bench b;
  b.fill();
  EXPECT_EQ(b.dropped(), Keys{});
  EXPECT_EQ(b.tlb.size(), 15u);
}

TEST(TaggedTlb, InvvpidIndividualAddress) {
  Bench b;
  b.fill();
  b.tlb.drop_page(1, Gva(0x2abc));
  EXPECT_EQ(b.dropped(), of({{1, kNoEpt}, {1, kEptA}, {1, kEptB}}, {0x2000}));
}

TEST(TaggedTlb, InvvpidSingleContext) {
  Bench b;
  b.fill();
  b.tlb.drop_vpid(1);
  EXPECT_EQ(b.dropped(), of({{1, kNoEpt}, {1, kEptA}, {1, kEptB}}, {0x1000, 0x2000, 0x3000}));
}

TEST(TaggedTlb, InvvpidAllContextsSparesVpid0) {
  Bench b;
  b.fill();
  b.tlb.drop_vpids();
  EXPECT_EQ(b.dropped(),
            of({{1, kNoEpt}, {1, kEptA}, {1, kEptB}, {2, kEptA}}, {0x1000, 0x2000, 0x3000}));
}

TEST(TaggedTlb, InvvpidRetainingGlobals) {
  Bench b;
  b.fill();
  b.tlb.drop_vpid_but_globals(1);
  EXPECT_EQ(b.dropped(), of({{1, kNoEpt}, {1, kEptA}, {1, kEptB}}, {0x1000, 0x3000}));
}

TEST(TaggedTlb, InveptDropsCombinedMappingsOnly) {
  Bench b;
  b.fill();
  b.tlb.drop_ept(kEptA);
  EXPECT_EQ(b.dropped(), of({{1, kEptA}, {2, kEptA}}, {0x1000, 0x2000, 0x3000}));
  b.tlb.drop_all_ept();
  EXPECT_EQ(b.dropped(), of({{1, kEptA}, {1, kEptB}, {2, kEptA}}, {0x1000, 0x2000, 0x3000}));
}

TEST(TaggedTlb, ControlRegistersOfTheCurrentVpid) {
  const auto after = [](unsigned number, uint64_t cr0_flip, uint64_t cr4_flip) {
    Bench b;
    b.fill();
    b.tlb.use({1, kEptA});
    cpu::PagingState next = b.paging;
    next.cr0 ^= cr0_flip;
    next.cr4 ^= cr4_flip;
    b.tlb.control_register_written(number, b.paging, next);
    return b.dropped();
  };
  const Keys all = of({{1, kNoEpt}, {1, kEptA}, {1, kEptB}}, {0x1000, 0x2000, 0x3000});
  EXPECT_EQ(after(3, 0, 0), of({{1, kNoEpt}, {1, kEptA}, {1, kEptB}}, {0x1000, 0x3000}));
  EXPECT_EQ(after(0, cr0::PG, 0), all);
  EXPECT_EQ(after(0, cr0::WP, 0), Keys{});
  EXPECT_EQ(after(4, 0, cr4::PGE), all);
  EXPECT_EQ(after(4, 0, cr4::PAE), all);
  EXPECT_EQ(after(4, 0, cr4::SMEP), all);
  EXPECT_EQ(after(4, 0, cr4::SMAP), Keys{});
}

TEST(TaggedTlb, AllOfALargePageGoes) {
  Bench b;
  b.put(1, kEptA, 0x1ff000);
  b.mapping.span = 2_MiB;
  b.put(1, kEptA, 0x200000);
  b.put(1, kEptA, 0x3ff000);
  b.put(1, kEptA, 0x400000);
  b.tlb.use({1, kEptA});
  b.tlb.page_invalidated(Gva(0x212345));
  EXPECT_EQ(b.dropped(), of({{1, kEptA}}, {0x200000, 0x3ff000}));
}

TEST(TaggedTlb, EptViolationDropsItsMappings) {
  Bench b;
  b.fill();
  b.tlb.use({1, kEptA});
  cpu::PhysicalAccess access;
  access.linear = Gva(0x2040);
  b.tlb.ept_violation(access);
  EXPECT_EQ(b.dropped(), of({{1, kEptA}}, {0x2000}));
}

TEST(TaggedTlb, RightsAreJudgedByThePagingInForce) {
  Bench b;
  b.mapping.writable = false;
  b.put(1, kEptA, 0x1000);
  cpu::WalkResult r;
  EXPECT_TRUE(b.tlb.find({Gva(0x1000)}, b.paging, r));
  EXPECT_FALSE(b.tlb.find({Gva(0x1000), cpu::Access::write}, b.paging, r));
  EXPECT_FALSE(b.tlb.find({Gva(0x1000), cpu::Access::read, true}, b.paging, r));
  b.paging.cr0 &= ~cr0::WP;
  EXPECT_TRUE(b.tlb.find({Gva(0x1000), cpu::Access::write}, b.paging, r));
}

TEST(TaggedTlb, StaleUseIsReportedOnce) {
  Bench b;
  b.put(3, kEptA, 0x1000);
  int seen = 0;
  b.tlb.set_sink([&](const StaleUse&) { ++seen; });
  EXPECT_TRUE(b.has(3, kEptA, 0x1000));
  EXPECT_EQ(seen, 0);
  b.now = Hpa(0x9000);
  EXPECT_TRUE(b.has(3, kEptA, 0x1010));
  EXPECT_TRUE(b.has(3, kEptA, 0x1020));
  EXPECT_EQ(seen, 2);
  ASSERT_EQ(b.tlb.stale_uses().size(), 1u);
  const StaleUse& use = b.tlb.stale_uses()[0];
  EXPECT_EQ(use.used, Hpa(0x7010));
  EXPECT_EQ(use.now, Hpa(0x9010));
  EXPECT_TRUE(use.ept_differs);  // guest paging still leads to the same page
  EXPECT_EQ(describe(use),
            "stale combined mapping used for a read: VPID 3, linear 1010H, EP4TA a000H, "
            "guest-physical 5010H, used physical 7010H; a walk now gives 9010H; missing: INVEPT "
            "(RIP about 1234H)");
}

}  // namespace
}  // namespace cupel::vtx::testing
