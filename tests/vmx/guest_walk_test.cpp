#include "hypervisor/vmx/guest_walk.h"

#include <gtest/gtest.h>

#include <memory>

#include "core/guest_memory.h"
#include "core/x86/registers.h"

namespace cupel::vmx {
namespace {

using namespace x86;

constexpr uint64_t kNx = 1ull << 63;

struct GuestWalkTest : ::testing::Test {
  std::unique_ptr<PhysicalMemory> host = std::move(PhysicalMemory::create(4_MiB)).value();
  GuestMemory memory{*host, Hpa(0), 1_MiB};
  PagingState state;

  void put64(uint64_t at, uint64_t value) { ASSERT_TRUE(memory.write(Gpa(at), value)); }
  void put32(uint64_t at, uint32_t value) { ASSERT_TRUE(memory.write(Gpa(at), value)); }
  uint64_t get64(uint64_t at) {
    uint64_t v = 0;
    EXPECT_TRUE(memory.read(Gpa(at), v));
    return v;
  }
  void long_mode() {
    state.cr0 = cr0::PE | cr0::PG | cr0::WP;
    state.cr4 = cr4::PAE;
    state.efer = efer::LME | efer::LMA | efer::NXE;
    state.cr3 = 0x1000;
    put64(0x1000, 0x2007);      // PML4
    put64(0x2000, 0x3007);      // PDPT
    put64(0x3000, 0x4007);      // PD
    put64(0x3008, 0x200087);    // 2 MiB at 2 MiB
    put64(0x2008, 0x40000087);  // 1 GiB at 1 GiB
    put64(0x4000, 0x80007);     // page 0
  }
  void expect_gpa(uint64_t at, Access access, uint64_t gpa) {
    auto got = walk(memory, state, Gva(at), access);
    ASSERT_TRUE(got.ok()) << std::hex << got.error().error_code;
    EXPECT_EQ(got->value(), gpa);
  }
  void expect_fault(uint64_t at, Access access, uint32_t code) {
    auto got = walk(memory, state, Gva(at), access);
    ASSERT_FALSE(got.ok());
    EXPECT_EQ(got.error().kind, WalkError::Kind::page_fault);
    EXPECT_EQ(got.error().error_code, code);
  }
};

TEST_F(GuestWalkTest, UnpagedAddressesPass) { expect_gpa(0x1234, Access::fetch, 0x1234); }

TEST_F(GuestWalkTest, FourLevels) {
  long_mode();
  expect_gpa(0x123, Access::read, 0x80123);
  expect_gpa(0x234567, Access::read, 0x234567);
  expect_gpa(0x40000000 + 0x12345678, Access::read, 0x52345678);
}

TEST_F(GuestWalkTest, SetsAccessedAndDirtyFlags) {
  long_mode();
  expect_gpa(0, Access::read, 0x80000);
  EXPECT_EQ(get64(0x1000), 0x2027u);
  EXPECT_EQ(get64(0x4000), 0x80027u);
  expect_gpa(0, Access::write, 0x80000);
  EXPECT_EQ(get64(0x4000), 0x80067u);
  EXPECT_EQ(get64(0x3000), 0x4027u);  // dirty is the leaf's alone
}

TEST_F(GuestWalkTest, PermissionsAndErrorCodes) {
  struct {
    const char* name;
    uint64_t leaf, cr0, cr4;
    bool user, ac;
    Access access;
    uint32_t fault;  // ~0: none
  } const cases[] = {
      {"not present", 0x80006, cr0::WP, 0, false, false, Access::read, 0},
      {"not present, user write", 0x80006, cr0::WP, 0, true, false, Access::write, pf::W | pf::U},
      {"read-only, supervisor, WP", 0x80005, cr0::WP, 0, false, false, Access::write,
       pf::P | pf::W},
      {"read-only, supervisor, no WP", 0x80005, 0, 0, false, false, Access::write, ~0u},
      {"supervisor page, user", 0x80003, cr0::WP, 0, true, false, Access::read, pf::P | pf::U},
      {"no execute", kNx | 0x80007, cr0::WP, 0, false, false, Access::fetch, pf::P | pf::I},
      {"no execute, read", kNx | 0x80007, cr0::WP, 0, false, false, Access::read, ~0u},
      {"SMEP", 0x80007, cr0::WP, cr4::SMEP, false, false, Access::fetch, pf::P | pf::I},
      {"SMAP", 0x80007, cr0::WP, cr4::SMAP, false, false, Access::read, pf::P},
      {"SMAP with AC", 0x80007, cr0::WP, cr4::SMAP, false, true, Access::read, ~0u},
      {"reserved bit", 1ull << 47 | 0x80007, cr0::WP, 0, false, false, Access::read,
       pf::P | pf::RSVD},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    long_mode();
    put64(0x4000, c.leaf);
    state.cr0 = cr0::PE | cr0::PG | c.cr0;
    state.cr4 = cr4::PAE | c.cr4;
    state.user = c.user;
    state.alignment_check = c.ac;
    if (c.fault == ~0u) {
      expect_gpa(0, c.access, 0x80000);
    } else {
      expect_fault(0, c.access, c.fault);
      EXPECT_EQ(get64(0x4000), c.leaf) << "a fault sets no flag in the leaf";
    }
  }
}

TEST_F(GuestWalkTest, WithoutNxeTheBitIsReserved) {
  long_mode();
  state.efer &= ~efer::NXE;
  put64(0x4000, kNx | 0x80007);
  expect_fault(0, Access::read, pf::P | pf::RSVD);
}

TEST_F(GuestWalkTest, Pae) {
  state.cr0 = cr0::PE | cr0::PG;
  state.cr4 = cr4::PAE;
  state.pdpte = {0x3001, 0, 0, 0x3001};
  put64(0x3000, 0x4007);
  put64(0x4000, 0x80007);
  expect_gpa(0x10, Access::read, 0x80010);
  expect_gpa(0xc0000010, Access::read, 0x80010);
  expect_gpa(0x1c0000010, Access::read, 0x80010);  // 32-bit linear addresses wrap
  expect_fault(0x40000000, Access::read, 0);
}

TEST_F(GuestWalkTest, ThirtyTwoBit) {
  state.cr0 = cr0::PE | cr0::PG;
  state.cr3 = 0x1000;
  put32(0x1000, 0x2007);
  put32(0x2004, 0x80007);
  put32(0x1004, 0x00c02087);  // 4 MiB page at 4 GiB + 12 MiB by PSE-36
  expect_gpa(0x1234, Access::write, 0x80234);
  state.cr4 = cr4::PSE;
  expect_gpa(0x400000, Access::read, 0x100c00000);
  put32(0x1004, 0x00a00087);  // bit 21
  expect_fault(0x400000, Access::read, pf::P | pf::RSVD);
}

TEST_F(GuestWalkTest, TablesOutsideRamAreReported) {
  long_mode();
  put64(0x2000, 0x7fff0007);
  auto got = walk(memory, state, Gva(0), Access::read);
  ASSERT_FALSE(got.ok());
  EXPECT_EQ(got.error().kind, WalkError::Kind::outside_ram);
  EXPECT_EQ(got.error().at, Gpa(0x7fff0000));
}

}  // namespace
}  // namespace cupel::vmx
