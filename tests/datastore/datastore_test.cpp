#include "hypervisor/storage/datastore.h"

#include <gtest/gtest.h>

#include "core/hash.h"
#include "core/random.h"
#include "hypervisor/storage/lease_record.h"
#include "hypervisor/storage/little_endian.h"

namespace cupel::datastore {
namespace {

constexpr uint64_t kLun = 65536;

DatastoreLayout two_vms() { return plan(kLun, {{"web", 5000}, {"db", 100}}).value(); }

std::span<std::byte> sector(std::vector<std::byte>& image, Lba lba) {
  return std::span(image).subspan(lba.value() * kSectorSize, kSectorSize);
}
void reseal(std::span<std::byte> s) { put_le(s, 504, hash_bytes(s.data(), 504)); }

void expect_refused(const std::vector<std::byte>& image, std::string_view reason) {
  const auto layout = parse(image, kLun);
  ASSERT_FALSE(layout.ok());
  EXPECT_NE(layout.error().message.find(reason), std::string::npos) << layout.error().message;
}

TEST(Datastore, PlansFormatsAndReadsBack) {
  const auto layout = parse(format(two_vms()), kLun);
  ASSERT_TRUE(layout.ok());
  ASSERT_EQ(layout->vms.size(), 2u);
  EXPECT_EQ(layout->find("web")->disk.first, Lba(2048));
  EXPECT_EQ(layout->find("db")->disk.first, Lba(8192));
  EXPECT_EQ(layout->find("db")->id, VmId{1});
  EXPECT_EQ(layout->find("other"), nullptr);
}

TEST(Datastore, FreshLeasesAreFree) {
  auto image = format(two_vms());
  const auto lease =
      decode_lease(std::span<const std::byte, kSectorSize>(sector(image, lease_of(VmId{1}))));
  ASSERT_TRUE(lease.ok());
  EXPECT_EQ(lease->state, LeaseState::free);
  EXPECT_EQ(lease->vm, VmId{1});
}

TEST(Datastore, RefusesPlansThatCannotBe) {
  EXPECT_FALSE(plan(kLun, {{"web", kLun}}).ok());
  EXPECT_FALSE(plan(kLun, {{"web", UINT64_MAX}}).ok());
  EXPECT_FALSE(plan(kLun, {{"web", 0}}).ok());
  EXPECT_FALSE(plan(kLun, {{"", 10}}).ok());
  EXPECT_FALSE(plan(kLun, {{std::string(64, 'x'), 10}}).ok());
  EXPECT_FALSE(plan(kLun, {{"a b", 10}}).ok());
  EXPECT_FALSE(plan(kLun, {{"web", 10}, {"web", 10}}).ok());
  EXPECT_FALSE(plan(100, {{"web", 10}}).ok());
  EXPECT_FALSE(plan(1u << 30, std::vector<VmRequest>(65, {"x", 1})).ok());
}

TEST(Datastore, NamesWhatIsWrongWithTheSuperblock) {
  auto image = format(two_vms());
  expect_refused({}, "too small");
  expect_refused(std::vector<std::byte>(kMetadataSectors * kSectorSize), "no superblock");
  image[20] ^= std::byte{1};
  expect_refused(image, "superblock is damaged");
  image = format(two_vms());
  put_le(sector(image, Lba(0)), 8, uint16_t{9});
  expect_refused(image, "unknown version");
  image = format(two_vms());
  put_le(sector(image, Lba(0)), 10, uint16_t{65});
  reseal(sector(image, Lba(0)));
  expect_refused(image, "claims 65 VMs");
  EXPECT_FALSE(parse(format(two_vms()), kLun - 1).ok());
}

TEST(Datastore, NamesWhatIsWrongWithAnEntry) {
  const auto with_entry = [](auto change) {
    auto image = format(two_vms());
    const auto entry = sector(image, kVmTable + 1);
    change(entry);
    reseal(entry);
    return image;
  };
  auto image = format(two_vms());
  sector(image, kVmTable + 1)[40] ^= std::byte{1};
  expect_refused(image, "VM slot 1: table entry is damaged");
  expect_refused(with_entry([](auto e) { put_le(e, 16, uint64_t{2048}); }), "overlaps");
  expect_refused(with_entry([](auto e) { put_le(e, 16, uint64_t{0}); }), "overlaps");
  expect_refused(with_entry([](auto e) { put_le(e, 16, UINT64_MAX); }), "beyond the LUN");
  expect_refused(with_entry([](auto e) { put_le(e, 24, UINT64_MAX); }), "beyond the LUN");
  expect_refused(with_entry([](auto e) { put_le(e, 24, uint64_t{0}); }), "empty");
  expect_refused(with_entry([](auto e) { e[32] = std::byte{7}; }), "not printable");
  expect_refused(with_entry([](auto e) { std::fill_n(e.begin() + 32, 470, std::byte{'x'}); }),
                 "too long");
}

TEST(Datastore, RandomMetadataNeverCrashes) {
  RandomStream random(3, "fuzz");
  for (int i = 0; i < 300; ++i) {
    auto image = format(two_vms());
    for (uint64_t n = random.uniform(1, 8); n > 0; --n) {
      const auto s = sector(image, Lba(random.uniform(0, 3) == 0 ? 0 : random.uniform(128, 129)));
      s[random.uniform(8, 503)] = static_cast<std::byte>(random.bits());
      reseal(s);
    }
    (void)parse(image, kLun).ok();
  }
}

TEST(LeaseRecord, SurvivesTheDisk) {
  const LeaseRecord record{VmId{7},           LeaseState::fencing, HostId{3}, ReservationKey{~0ull},
                           ReservationKey{5}, UINT64_MAX,          12};
  const auto decoded = decode_lease(encode(record));
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(decoded.value(), record);
}

TEST(LeaseRecord, GarbageIsRefusedWithAReason) {
  EXPECT_NE(decode_lease(LeaseSector{}).error().message.find("never formatted"), std::string::npos);
  const LeaseSector good =
      encode({VmId{1}, LeaseState::held, HostId{1}, ReservationKey{1}, {}, 1, 1});
  for (size_t bit = 0; bit < kSectorSize * 8; ++bit) {
    LeaseSector bad = good;
    bad[bit / 8] ^= std::byte(1 << bit % 8);
    EXPECT_FALSE(decode_lease(bad).ok()) << bit;
  }
  EXPECT_FALSE(decode_lease(encode({VmId{1}, LeaseState::held, {}, {}, {}, 1, 1})).ok());
  EXPECT_FALSE(decode_lease(encode({VmId{1}, LeaseState{9}, HostId{1}, {}, {}, 1, 1})).ok());
}

}  // namespace
}  // namespace cupel::datastore
