#include "core/archive.h"

#include <gtest/gtest.h>

#include <array>

namespace cupel {
namespace {

std::vector<std::byte> example() {
  ArchiveWriter out;
  out.section("uart", 3);
  out.put(uint8_t{7});
  out.put(uint64_t{0x1122334455667788});
  const std::array<std::byte, 3> data{std::byte{1}, std::byte{2}, std::byte{3}};
  out.put_bytes(data);
  return out.take();
}

TEST(Archive, GivesBackWhatWasPut) {
  const auto bytes = example();
  ArchiveReader in(bytes);
  in.section("uart", 3);
  EXPECT_EQ(in.get<uint8_t>(), 7);
  EXPECT_EQ(in.get<uint64_t>(), 0x1122334455667788u);
  EXPECT_EQ(in.get_bytes().size(), 3u);
  EXPECT_TRUE(in.ok());
  EXPECT_TRUE(in.finish().ok());
}

TEST(Archive, IsLittleEndian) {
  ArchiveWriter out;
  out.put(uint32_t{0x01020304});
  ASSERT_EQ(out.bytes().size(), 4u);
  EXPECT_EQ(out.bytes()[0], std::byte{4});
  EXPECT_EQ(out.bytes()[3], std::byte{1});
}

TEST(Archive, EveryTruncationIsNoticedAndReadsZeros) {
  const auto whole = example();
  for (size_t length = 0; length < whole.size(); ++length) {
    ArchiveReader in{std::span(whole).first(length)};
    in.section("uart", 3);
    in.get<uint8_t>();
    const auto value = in.get<uint64_t>();
    EXPECT_TRUE(value == 0 || value == 0x1122334455667788u) << length;
    in.get_bytes();
    EXPECT_FALSE(in.ok()) << length;
    const auto result = in.finish();
    ASSERT_FALSE(result.ok()) << length;
    EXPECT_EQ(result.error().kind, ErrorKind::bad_input);
  }
}

TEST(Archive, NamesTheSectionItExpected) {
  const auto bytes = example();
  ArchiveReader in(bytes);
  in.section("pit", 3);
  const auto result = in.finish();
  ASSERT_FALSE(result.ok());
  EXPECT_NE(result.error().message.find("'pit'"), std::string::npos) << result.error().message;
}

TEST(Archive, RefusesAnotherVersion) {
  const auto bytes = example();
  ArchiveReader in(bytes);
  in.section("uart", 4);
  const auto result = in.finish();
  ASSERT_FALSE(result.ok());
  EXPECT_NE(result.error().message.find("version 3"), std::string::npos) << result.error().message;
}

TEST(Archive, KeepsTheFirstError) {
  const auto bytes = example();
  ArchiveReader in(bytes);
  in.section("pit", 3);
  for (int i = 0; i < 100; ++i) in.get<uint64_t>();
  EXPECT_NE(in.finish().error().message.find("'pit'"), std::string::npos);
}

TEST(Archive, AnImpossibleLengthAllocatesNothing) {
  ArchiveWriter out;
  out.put(UINT64_MAX);
  ArchiveReader in(out.bytes());
  EXPECT_TRUE(in.get_bytes().empty());
  EXPECT_FALSE(in.ok());
}

}  // namespace
}  // namespace cupel
