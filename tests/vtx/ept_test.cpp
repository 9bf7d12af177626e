#include "hw_models/vtx/ept.h"

#include "tests/vtx/rig.h"

namespace cupel::vtx::testing {
namespace {

using cpu::Access;
using cpu::PhysicalAccess;
using Outcome = EptWalk::Outcome;

constexpr uint64_t kR = 1, kW = 2, kX = 4, kRwx = 7, kWb = 6 << 3, kBig = 1 << 7, kA = 1 << 8,
                   kD = 1 << 9;
constexpr uint64_t kEptp = kPml4 | 3 << 3 | 6, kEptpAd = kEptp | 64;
constexpr uint64_t kPdpt = 0x11000, kPd = 0x12000, kPt = 0x13000;

// GPA 0: 4-KByte pages through kPt; 2 MiB: a 2-MByte page; 1 GiB: a 1-GByte page.
struct Tables {
  Tables() : memory(std::move(PhysicalMemory::create(1_MiB)).value()) {
    put(kPml4, kPdpt | kRwx);
    put(kPdpt, kPd | kRwx);
    put(kPdpt + 8, 1_GiB | kRwx | kWb | kBig);
    put(kPd, kPt | kRwx);
    put(kPd + 8, 4_MiB | kRwx | kWb | kBig);
    put(kPt, 0x80000 | kRwx | kWb);
    put(kPt + 8, 0x81000 | kR | kX | kWb);
    put(kPt + 16, 0);
  }
  void put(uint64_t at, uint64_t value) { memory->write(Hpa(at), value); }
  uint64_t at(uint64_t where) { return memory->read<uint64_t>(Hpa(where)); }
  EptWalk walk(uint64_t gpa, Access access = Access::read, uint64_t eptp = kEptp,
               bool structure = false) {
    PhysicalAccess a;
    a.gpa = Gpa(gpa);
    a.access = access;
    a.paging_structure = structure;
    a.linear = Gva(0x7000);
    last = a;
    return walk_ept(*memory, eptp, features, a, true);
  }

  std::unique_ptr<PhysicalMemory> memory;
  EptFeatures features;
  PhysicalAccess last;
};

TEST(Ept, ThreePageSizes) {
  Tables t;
  EXPECT_EQ(t.walk(0x123).hpa, Hpa(0x80123));
  EXPECT_EQ(t.walk(0x123).page_size, 4_KiB);
  const EptWalk two = t.walk(2_MiB + 0x12345);
  EXPECT_EQ(two.hpa, Hpa(4_MiB + 0x12345));
  EXPECT_EQ(two.page_size, 2_MiB);
  const EptWalk one = t.walk(1_GiB + 0x1234567);
  EXPECT_EQ(one.hpa, Hpa(1_GiB + 0x1234567));
  EXPECT_EQ(one.page_size, 1_GiB);
}

TEST(Ept, ViolationReportsAccessAndRights) {
  Tables t;
  const EptWalk w = t.walk(0x1234, Access::write);
  EXPECT_EQ(w.outcome, Outcome::violation);
  const auto v = violation_of(w, kEptp, t.last);
  EXPECT_EQ(v.encode(), (2u | 1u << 3 | 1u << 5 | 1u << 7 | 1u << 8));
  EXPECT_EQ(violation_of(t.walk(0x2000, Access::fetch), kEptp, t.last).encode(),
            (4u | 1u << 7 | 1u << 8));  // not present: no rights
}

TEST(Ept, RightsAreAndedOverTheWalk) {
  Tables t;
  t.put(kPdpt, kPd | kR | kX);
  const EptWalk w = t.walk(0, Access::write);
  EXPECT_EQ(w.outcome, Outcome::violation);
  EXPECT_TRUE(w.readable);
  EXPECT_FALSE(w.writable);
  EXPECT_TRUE(w.executable);
  EXPECT_EQ(t.walk(0, Access::read).outcome, Outcome::translated);
}

TEST(Ept, ExecuteOnlyWhereOffered) {
  Tables t;
  t.put(kPt, 0x80000 | kX | kWb);
  EXPECT_EQ(t.walk(0, Access::fetch).outcome, Outcome::translated);
  EXPECT_EQ(t.walk(0, Access::read).outcome, Outcome::violation);
  t.features.execute_only = false;
  EXPECT_EQ(t.walk(0, Access::fetch).outcome, Outcome::misconfiguration);
}

TEST(Ept, Misconfigurations) {
  struct Row {
    const char* what;
    uint64_t where, entry, gpa;
  };
  const Row rows[] = {
      {"write without read", kPt, 0x80000 | kW | kWb, 0},
      {"write and execute without read", kPt, 0x80000 | kW | kX | kWb, 0},
      {"memory type 2", kPt, 0x80000 | kRwx | 2 << 3, 0},
      {"memory type 3", kPt, 0x80000 | kRwx | 3 << 3, 0},
      {"memory type 7", kPt, 0x80000 | kRwx | 7 << 3, 0},
      {"beyond the physical-address width", kPt, 1ull << 40 | kRwx | kWb, 0},
      {"PML4E bit 7", kPml4, kPdpt | kRwx | kBig, 0},
      {"PML4E bit 3", kPml4, kPdpt | kRwx | 8, 0},
      {"PDE bit 6", kPd, kPt | kRwx | 64, 0},
      {"2-MByte page not aligned", kPd + 8, (4_MiB + 4_KiB) | kRwx | kWb | kBig, 2_MiB},
      {"1-GByte page not aligned", kPdpt + 8, (1_GiB + 2_MiB) | kRwx | kWb | kBig, 1_GiB},
      {"table outside memory", kPml4, 0x40000000 | kRwx, 0},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.what);
    Tables t;
    t.put(row.where, row.entry);
    EXPECT_EQ(t.walk(row.gpa).outcome, Outcome::misconfiguration);
  }
  Tables t;
  t.features.page_1g = false;
  EXPECT_EQ(t.walk(1_GiB).outcome, Outcome::misconfiguration);
  EXPECT_EQ(t.walk(2_MiB).outcome, Outcome::translated);
}

TEST(Ept, AccessedAndDirtyFlags) {
  Tables t;
  EXPECT_TRUE(t.walk(0).dirty);  // not in use: nothing to ask again for
  EXPECT_EQ(t.at(kPt) & (kA | kD), 0u);
  const EptWalk read = t.walk(0, Access::read, kEptpAd);
  EXPECT_FALSE(read.dirty);
  for (const uint64_t entry : {kPml4, kPdpt, kPd, kPt}) EXPECT_EQ(t.at(entry) & (kA | kD), kA);
  EXPECT_TRUE(t.walk(0, Access::write, kEptpAd).dirty);
  EXPECT_EQ(t.at(kPt) & (kA | kD), kA | kD);
  EXPECT_EQ(t.at(kPd) & kD, 0u);
  EXPECT_TRUE(t.walk(0, Access::read, kEptpAd).dirty);
}

TEST(Ept, RefusedAccessSetsNoFlags) {
  Tables t;
  EXPECT_EQ(t.walk(0x1000, Access::write, kEptpAd).outcome, Outcome::violation);
  EXPECT_EQ(t.at(kPml4) & kA, 0u);
}

TEST(Ept, PagingStructureAccessesAreWritesWithFlags) {
  Tables t;
  EXPECT_EQ(t.walk(0x1000, Access::read, kEptp, true).outcome, Outcome::translated);
  const EptWalk w = t.walk(0x1000, Access::read, kEptpAd, true);
  EXPECT_EQ(w.outcome, Outcome::violation);
  EXPECT_EQ(violation_of(w, kEptpAd, t.last).encode(), (3u | 1u << 3 | 1u << 5 | 1u << 7));
  EXPECT_EQ(t.walk(0, Access::read, kEptpAd, true).outcome, Outcome::translated);
  EXPECT_EQ(t.at(kPt) & kD, kD);
}

TEST(EptExit, ViolationRecordsAddresses) {
  Rig rig;
  PhysicalAccess a;
  a.gpa = Gpa(0xfee00300);
  a.linear = Gva(0xffff8000fee00300);
  a.access = Access::write;
  rig.cpu.script = [&](FakeProcessor& p) {
    EXPECT_FALSE(p.monitor->translate(a).ok);
    p.monitor->on_translation_fault(a);
  };
  EXPECT_EQ(rig.launch(), VmxStatus::succeed);
  EXPECT_EQ(rig.reason(), 48u);
  EXPECT_EQ(rig.get(F::guest_physical_address), 0xfee00300u);
  EXPECT_EQ(rig.get(F::guest_linear_address), 0xffff8000fee00300u);
  EXPECT_EQ(rig.get(F::exit_qualification), (2u | 1u << 7 | 1u << 8));
}

TEST(EptExit, MisconfigurationAndVectoring) {
  Rig rig;
  rig.memory->write<uint64_t>(Hpa(kPml4), 2);
  rig.cpu.script = [&](FakeProcessor& p) {
    p.vectoring_event = cpu::Event{0x31, x86::EventType::external_interrupt, false, 0, 0};
    PhysicalAccess a;
    a.gpa = Gpa(0x1000);
    EXPECT_FALSE(p.monitor->translate(a).ok);
    p.monitor->on_translation_fault(a);
  };
  EXPECT_EQ(rig.launch(), VmxStatus::succeed);
  EXPECT_EQ(rig.reason(), 49u);
  EXPECT_EQ(rig.get(F::idt_vectoring_info), 0x80000031u);
}

TEST(EptExit, WithoutEptTranslationIsIdentity) {
  Rig rig;
  rig.clear_bits(F::secondary_processor_controls,
                 x86::proc2::enable_ept | x86::proc2::unrestricted_guest);
  EXPECT_EQ(rig.launch(), VmxStatus::succeed);
  PhysicalAccess a;
  a.gpa = Gpa(0x1234);
  const auto t = rig.vmx.translate(a);
  EXPECT_TRUE(t.ok && t.writable && t.executable);
  EXPECT_EQ(t.hpa, Hpa(0x1234));
}

}  // namespace
}  // namespace cupel::vtx::testing
