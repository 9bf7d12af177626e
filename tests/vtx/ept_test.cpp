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
    return walk(a, eptp);
  }
  // One access with its effects.
  EptWalk walk(const PhysicalAccess& a, uint64_t eptp) {
    last = a;
    mode.pointer = eptp;
    const EptWalk w = walk_ept(*memory, mode, features, a);
    if (w.flags_missing) set_flags(*memory, w);
    return w;
  }
  EptWalk fetch(uint64_t gpa, bool user_page) {
    PhysicalAccess a;
    a.gpa = Gpa(gpa);
    a.access = Access::fetch;
    a.user = user_page;
    return walk(a, kEptp);
  }
  uint64_t qualification(const EptWalk& w) {
    return violation_of(w, mode, features, last).encode();
  }

  std::unique_ptr<PhysicalMemory> memory;
  EptFeatures features;
  EptMode mode;
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
  EXPECT_EQ(t.qualification(w), (2u | 1u << 3 | 1u << 5 | 1u << 7 | 1u << 8));
  EXPECT_EQ(t.qualification(t.walk(0x2000, Access::fetch)),
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

TEST(Ept, ModeBasedExecute) {
  Tables t;
  constexpr uint64_t user_execute = 1 << 10;
  EXPECT_EQ(t.fetch(0, true).outcome, Outcome::translated);  // bit 2 is for all without the control
  t.mode.mode_based = true;
  EXPECT_EQ(t.fetch(0, false).outcome, Outcome::translated);
  const EptWalk w = t.fetch(0, true);
  EXPECT_EQ(w.outcome, Outcome::violation);
  EXPECT_EQ(t.qualification(w), (4u | kR << 3 | kW << 3 | kX << 3 | 1u << 7 | 1u << 8));
  for (const uint64_t at : {kPml4, kPdpt, kPd}) t.put(at, t.at(at) | user_execute);
  t.put(kPt, 0x80000 | kR | kWb | user_execute);
  EXPECT_EQ(t.fetch(0, true).outcome, Outcome::translated);
  const EptWalk supervisor = t.fetch(0, false);
  EXPECT_EQ(supervisor.outcome, Outcome::violation);
  EXPECT_EQ(t.qualification(supervisor), (4u | kR << 3 | 1u << 6 | 1u << 7 | 1u << 8));
  // Bit 10 alone makes an entry present, and execute-only.
  t.put(kPt, 0x80000 | kWb | user_execute);
  EXPECT_EQ(t.fetch(0, true).outcome, Outcome::translated);
  t.features.execute_only = false;
  EXPECT_EQ(t.fetch(0, true).outcome, Outcome::misconfiguration);
  t.mode.mode_based = false;
  EXPECT_EQ(t.fetch(0, true).outcome, Outcome::violation);
}

TEST(Ept, FiveLevels) {
  Tables t;
  constexpr uint64_t pml5 = 0x14000, eptp = pml5 | 4 << 3 | 6, high = 1ull << 48;
  t.put(pml5, kPml4 | kRwx);
  EXPECT_EQ(t.walk(0x123, Access::read, eptp).hpa, Hpa(0x80123));
  EXPECT_EQ(t.walk(high, Access::read, eptp).outcome, Outcome::violation);
  t.put(pml5 + 8, kPml4 | kRwx);
  EXPECT_EQ(t.walk(high + 0x123, Access::read, eptp).hpa, Hpa(0x80123));
  EXPECT_EQ(t.walk(high, Access::read, kEptp).outcome, Outcome::violation);  // beyond 48 bits
  t.put(pml5, kPml4 | kRwx | kBig);
  EXPECT_EQ(t.walk(0, Access::read, eptp).outcome, Outcome::misconfiguration);
}

TEST(Ept, AdvancedInformationWhereOffered) {
  Tables t;
  PhysicalAccess a;
  a.gpa = Gpa(0x1000);
  a.access = Access::write;
  a.user = true;
  a.writable_page = false;
  a.no_execute_page = true;
  const EptWalk w = t.walk(a, kEptp);
  constexpr uint64_t plain = 2u | 1u << 3 | 1u << 5 | 1u << 7 | 1u << 8;
  EXPECT_EQ(t.qualification(w), plain);
  t.features.violation_information = true;
  EXPECT_EQ(t.qualification(w), plain | 1u << 9 | 1u << 11);
  t.last.paging_structure = true;  // undefined then: clear
  EXPECT_EQ(t.qualification(w), plain & ~(1ull << 8));
}

TEST(Ept, ConvertibleUnlessTheLastEntrySuppressesIt) {
  Tables t;
  constexpr uint64_t suppress = 1ull << 63;
  EXPECT_TRUE(t.walk(0x1000, Access::write).convertible);
  EXPECT_TRUE(t.walk(0x2000).convertible);
  t.put(kPd, t.at(kPd) | suppress);  // refers to a table: ignored
  EXPECT_TRUE(t.walk(0x1000, Access::write).convertible);
  t.put(kPt + 8, t.at(kPt + 8) | suppress);
  EXPECT_FALSE(t.walk(0x1000, Access::write).convertible);
  t.put(kPt + 16, suppress);
  EXPECT_FALSE(t.walk(0x2000).convertible);
}

TEST(Ept, PointersThatEntryTakes) {
  EptFeatures f;
  f.capabilities = server_capabilities().ept_vpid;
  EXPECT_TRUE(eptp_valid(kEptp, f));
  EXPECT_TRUE(eptp_valid(kEptpAd, f));
  EXPECT_TRUE(eptp_valid(kEptp & ~7ull, f));
  for (const uint64_t bad :
       std::initializer_list<uint64_t>{kEptp | 1, kEptp & ~0x38ull, kEptp | 1 << 7, kEptp | 1 << 8,
                                       kEptp | 1 << 11, kEptp | 1ull << 40, kEptp ^ 7 << 3})
    EXPECT_FALSE(eptp_valid(bad, f)) << std::hex << bad;
}

TEST(EptCaches, KeepEveryPointersMappings) {
  EptCaches caches;
  Tables t;
  PhysicalAccess a;
  a.gpa = Gpa(0x123);
  const EptMode one{kEptp}, two{kEptp + 0x10000};
  EXPECT_TRUE(caches.select(one));
  caches.current().remember(a.gpa, t.walk(a, kEptp));
  EXPECT_TRUE(caches.select(two));
  EXPECT_FALSE(caches.current().find(a, false));
  EXPECT_TRUE(caches.select(one));
  EXPECT_TRUE(caches.current().find(a, false));
  caches.clear_tag(two.tag());
  EXPECT_TRUE(caches.current().find(a, false));
  // The same tables under other rules: what is remembered does not hold.
  EXPECT_FALSE(caches.select({kEptpAd}));
  EXPECT_FALSE(caches.current().find(a, true));
  for (uint64_t n = 1; n < 40; ++n) EXPECT_TRUE(caches.select({kEptp + n * 0x100000}));
  EXPECT_TRUE(caches.select({kEptpAd}));
  EXPECT_FALSE(caches.current().find(a, true));
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
  EXPECT_EQ(t.qualification(w), (3u | 1u << 3 | 1u << 5 | 1u << 7));
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
