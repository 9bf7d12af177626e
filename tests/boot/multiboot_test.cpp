#include "core/boot/multiboot.h"

#include <functional>

#include "core/boot/boot_memory.h"
#include "tests/boot/boot_rig.h"
#include "tests/boot/multiboot_image.h"

namespace cupel::boot {
namespace {

TEST(Multiboot, EntersAsTheSpecificationSays) {
  BootRig rig;
  MultibootElf32 image;
  auto state = load_multiboot({.file = image.bytes}, rig.memory);
  ASSERT_TRUE(state.ok()) << describe(state.error());
  EXPECT_EQ(state->gpr[x86::Gpr::rax], 0x2badb002u);
  EXPECT_EQ(state->rip, 0x100020u);
  EXPECT_EQ(state->cr0 & (x86::cr0::PE | x86::cr0::PG), x86::cr0::PE);
  EXPECT_EQ(state->rflags & (x86::rflags::IF | x86::rflags::VM), 0u);
  EXPECT_EQ(state->efer, 0u);
  for (const auto seg :
       {x86::Seg::cs, x86::Seg::ds, x86::Seg::es, x86::Seg::fs, x86::Seg::gs, x86::Seg::ss}) {
    EXPECT_EQ((*state)[seg].base, 0u);
    EXPECT_EQ((*state)[seg].limit, 0xffffffffu);
    EXPECT_EQ((*state)[seg].access >> 14 & 1, 1u) << "32-bit";
  }
  EXPECT_EQ((*state)[x86::Seg::cs].access & 0xf, 0xbu);
  EXPECT_EQ((*state)[x86::Seg::ds].access & 0xf, 0x3u);
  EXPECT_EQ(rig.peek<uint64_t>(state->gdtr.base + 0x10), 0x00cf9b000000ffffu);
}

TEST(Multiboot, LoadsTheSegmentAndClearsItsRest) {
  BootRig rig;
  rig.memory.write(Gpa(0x102ffc), uint32_t{0xdeadbeef});
  rig.memory.write(Gpa(0x103000), uint32_t{0xdeadbeef});
  MultibootElf32 image;
  ASSERT_TRUE(load_multiboot({.file = image.bytes}, rig.memory).ok());
  EXPECT_EQ(rig.peek<uint32_t>(0x100000), 0x1badb002u);
  EXPECT_EQ(rig.peek<uint32_t>(0x100ffc), 0xf4f4f4f4u);
  EXPECT_EQ(rig.peek<uint32_t>(0x102ffc), 0u);
  EXPECT_EQ(rig.peek<uint32_t>(0x103000), 0xdeadbeefu);
}

TEST(Multiboot, TellsMemorySizeAndMap) {
  BootRig rig(64_MiB);
  MultibootElf32 image;
  auto state = load_multiboot({.file = image.bytes}, rig.memory);
  ASSERT_TRUE(state.ok());
  const uint64_t info = state->gpr[x86::Gpr::rbx];
  EXPECT_EQ(rig.peek<uint32_t>(info) & 0x245, 0x245u);
  EXPECT_EQ(rig.peek<uint32_t>(info) & 0x1800, 0u) << "no video";
  EXPECT_EQ(rig.peek<uint32_t>(info + 4), 639u);
  EXPECT_EQ(rig.peek<uint32_t>(info + 8), 63u * 1024);
  const auto length = rig.peek<uint32_t>(info + 44), map = rig.peek<uint32_t>(info + 48);
  const auto expected = memory_map(64_MiB);
  ASSERT_EQ(length, expected.size() * 24);
  for (size_t i = 0; i < expected.size(); ++i) {
    const uint64_t at = map + i * 24;
    EXPECT_EQ(rig.peek<uint32_t>(at), 20u);
    EXPECT_EQ(rig.peek<uint64_t>(at + 4), expected[i].start.value());
    EXPECT_EQ(rig.peek<uint64_t>(at + 12), expected[i].length);
    EXPECT_EQ(rig.peek<uint32_t>(at + 20), static_cast<uint32_t>(expected[i].type));
  }
}

TEST(Multiboot, MapsThreeAndAHalfGiBAndMore) {
  const auto map = memory_map(kLargestRam, 2_GiB);
  EXPECT_EQ(map[map.size() - 2].start.value() + map[map.size() - 2].length, 0xe0000000u);
  EXPECT_EQ(map.back().start, Gpa(4_GiB));
  EXPECT_EQ(map.back().length, 2_GiB);
  BootRig rig(kLargestRam);
  MultibootElf32 image;
  auto state = load_multiboot({.file = image.bytes}, rig.memory);
  ASSERT_TRUE(state.ok()) << describe(state.error());
  EXPECT_EQ(rig.peek<uint32_t>(state->gpr[x86::Gpr::rbx] + 8), (0xe0000000u - 0x100000) >> 10);
}

TEST(Multiboot, PassesCommandLineLoaderNameAndModulesOnPages) {
  BootRig rig;
  MultibootElf32 image;
  const std::vector<std::byte> first(5000, std::byte{1}), second(10, std::byte{2});
  const std::vector<BootModule> modules{{first, "first a=1"}, {second, "second"}, {{}, "empty"}};
  auto state = load_multiboot({.file = image.bytes, .modules = modules, .command_line = "image -v"},
                              rig.memory);
  ASSERT_TRUE(state.ok()) << describe(state.error());
  const uint64_t info = state->gpr[x86::Gpr::rbx];
  EXPECT_EQ(rig.text(rig.peek<uint32_t>(info + 16)), "image -v");
  EXPECT_EQ(rig.text(rig.peek<uint32_t>(info + 64)), "cupel");
  ASSERT_EQ(rig.peek<uint32_t>(info + 20), 3u);
  const uint64_t list = rig.peek<uint32_t>(info + 24);
  EXPECT_EQ(rig.peek<uint32_t>(list), 0x103000u);
  EXPECT_EQ(rig.peek<uint32_t>(list + 4), 0x103000u + 5000);
  EXPECT_EQ(rig.text(rig.peek<uint32_t>(list + 8)), "first a=1");
  EXPECT_EQ(rig.peek<uint32_t>(list + 12), 0u);
  EXPECT_EQ(rig.peek<uint32_t>(list + 16), 0x105000u);
  EXPECT_EQ(rig.peek<uint8_t>(0x105000 + 9), 2);
  EXPECT_EQ(rig.text(rig.peek<uint32_t>(list + 24)), "second");
  EXPECT_EQ(rig.peek<uint32_t>(list + 32), rig.peek<uint32_t>(list + 36)) << "empty";
}

TEST(Multiboot, TakesElf64ByItsPhysicalAddresses) {
  BootRig rig;
  MultibootElf64 image;
  auto state = load_multiboot({.file = image.bytes}, rig.memory);
  ASSERT_TRUE(state.ok()) << describe(state.error());
  EXPECT_EQ(state->rip, 0x100020u);
  image.put(24, uint64_t{0x100030});  // as some name it
  state = load_multiboot({.file = image.bytes}, rig.memory);
  ASSERT_TRUE(state.ok());
  EXPECT_EQ(state->rip, 0x100030u);
}

TEST(Multiboot, TheHeadersAddressesPlaceAFlatImage) {
  BootRig rig;
  rig.memory.write(Gpa(0x100800), uint32_t{0xdeadbeef});
  MultibootFlat image;
  auto state = load_multiboot({.file = image.bytes}, rig.memory);
  ASSERT_TRUE(state.ok()) << describe(state.error());
  EXPECT_EQ(state->rip, 0x100100u);
  EXPECT_EQ(rig.peek<uint32_t>(0x100020), 0x1badb002u);
  EXPECT_EQ(rig.peek<uint32_t>(0x1007fc), 0xf4f4f4f4u);
  EXPECT_EQ(rig.peek<uint32_t>(0x100800), 0u) << "bss";
}

TEST(Multiboot, ZeroEndsMeanTheWholeFileAndNoBss) {
  BootRig rig;
  MultibootFlat image;
  image.addresses(0x100020, 0x100000, 0, 0, 0x100000);
  ASSERT_TRUE(load_multiboot({.file = image.bytes}, rig.memory).ok());
  EXPECT_EQ(rig.peek<uint32_t>(0x100000 + 0xfe0 - 4), 0xf4f4f4f4u);
  EXPECT_EQ(rig.peek<uint32_t>(0x100000 + 0xfe0), 0u);
}

TEST(Multiboot, AddressesWinOverElfHeaders) {
  BootRig rig;
  MultibootElf32 image(0x10003);
  size_t at = MultibootElf32::kHeader + 12;
  for (const uint32_t v : {0x200000u, 0x200000u, 0u, 0u, 0x200020u}) {
    image.put(at, v);
    at += 4;
  }
  auto state = load_multiboot({.file = image.bytes}, rig.memory);
  ASSERT_TRUE(state.ok()) << describe(state.error());
  EXPECT_EQ(state->rip, 0x200020u);
}

TEST(Multiboot, AcceptsAHeaderThatEndsAtByte8192AndNoneBehind) {
  BootRig rig;
  MultibootElf32 image(0);
  image.bytes.resize(0x3000, std::byte{0xf4});
  image.put(MultibootElf32::kHeader, uint32_t{0});
  image.put_header(8192 - 12, 3);
  EXPECT_TRUE(load_multiboot({.file = image.bytes}, rig.memory).ok());
  image.put(8192 - 12, uint32_t{0});
  image.put_header(8192 - 8, 3);
  EXPECT_FALSE(load_multiboot({.file = image.bytes}, rig.memory).ok());
}

TEST(Multiboot, AFalseMagicBeforeTheHeaderIsPassedOver) {
  BootRig rig;
  MultibootElf32 image;
  image.put(0x800, uint32_t{0x1badb002});
  EXPECT_TRUE(load_multiboot({.file = image.bytes}, rig.memory).ok());
}

TEST(Multiboot, AWishedVideoModeIsNoRequirement) {
  BootRig rig;
  MultibootElf32 image(7);
  EXPECT_TRUE(load_multiboot({.file = image.bytes}, rig.memory).ok());
}

TEST(Multiboot, ASegmentWithoutBytesMayLieAnywhereInTheFile) {
  BootRig rig;
  MultibootElf32 image;
  image.second_segment(0x200000, 0x1000);
  image.put(MultibootElf32::kLoad + 32 + 4, ~0u);
  image.put(MultibootElf32::kLoad + 32 + 16, 0);
  EXPECT_TRUE(load_multiboot({.file = image.bytes}, rig.memory).ok());
}

TEST(Multiboot, InformationMakesWayForLowSegments) {
  BootRig rig;
  MultibootElf32 image;
  image.second_segment(0x10000, 0x8000);
  auto state = load_multiboot({.file = image.bytes}, rig.memory);
  ASSERT_TRUE(state.ok()) << describe(state.error());
  EXPECT_GE(state->gpr[x86::Gpr::rbx], 0x18000u);
}

template <class Image>
struct Bad {
  const char* name;
  std::function<void(Image&)> damage;
  const char* says;
};

template <class Image>
void expect_refused(const Bad<Image>& bad) {
  BootRig rig;
  Image image;
  bad.damage(image);
  auto state = load_multiboot({.file = image.bytes}, rig.memory);
  ASSERT_FALSE(state.ok());
  EXPECT_EQ(state.error().kind, ErrorKind::bad_input);
  EXPECT_NE(state.error().message.find(bad.says), std::string::npos) << state.error().message;
  EXPECT_FALSE(state.error().hint.empty());
}

using BadElf = Bad<MultibootElf32>;
class BadMultibootElf : public testing::TestWithParam<BadElf> {};
TEST_P(BadMultibootElf, IsRefusedWithOneClearError) { expect_refused(GetParam()); }
constexpr size_t kH = MultibootElf32::kHeader, kL = MultibootElf32::kLoad;
using E = MultibootElf32;
INSTANTIATE_TEST_SUITE_P(
    Table, BadMultibootElf,
    testing::Values(
        BadElf{"empty", [](E& e) { e.bytes.clear(); }, "no header"},
        BadElf{"tiny", [](E& e) { e.bytes.resize(11); }, "first 11 bytes"},
        BadElf{"no_magic", [](E& e) { e.put(kH, 0); }, "no header"},
        BadElf{"checksum", [](E& e) { e.put(kH + 8, 0); }, "at 0x1000 has a wrong checksum"},
        BadElf{"unaligned",
               [](E& e) {
                 e.put(kH, 0);
                 e.put_header(kH + 2, 3);
               },
               "4-byte aligned"},
        BadElf{"cut_header", [](E& e) { e.bytes.resize(kH + 8); }, "no header"},
        BadElf{"unknown_flag", [](E& e) { e.put_header(kH, 0x8003); }, "flags 0x8000 at 0x1004"},
        BadElf{"cut_addresses",
               [](E& e) {
                 e.put_header(kH, 0x10003);
                 e.bytes.resize(kH + 30);
               },
               "cut off before its addresses"},
        BadElf{"no_elf", [](E& e) { e.put(0, 0); }, "no ELF file"},
        BadElf{"no_segment", [](E& e) { e.put(kL, 0); }, "no loadable segment"},
        BadElf{"segment_behind_file", [](E& e) { e.put(kL + 16, 0x1001); }, "behind the end"},
        BadElf{"segment_offset_wraps", [](E& e) { e.put(kL + 4, ~0u); }, "behind the end"},
        BadElf{"segment_larger_in_file", [](E& e) { e.put(kL + 20, 1); }, "larger in the file"},
        BadElf{"out_of_ram",
               [](E& e) {
                 e.put(kL + 8, 0x2000000);
                 e.put(kL + 12, 0x2000000);
                 e.put(24, 0x2000000);
               },
               "segment 0 at 0x2000000, 0x3000 bytes, does not fit into 16 MiB"},
        BadElf{"size_overflows", [](E& e) { e.put(kL + 20, ~0u); }, "does not fit"},
        BadElf{"in_the_video_hole",
               [](E& e) {
                 e.put(kL + 8, 0xa0000);
                 e.put(kL + 12, 0xa0000);
                 e.put(24, 0xa0000);
               },
               "placed at 0xa0000, where"},
        BadElf{"over_firmware",
               [](E& e) {
                 e.put(kL + 8, 0xff000);
                 e.put(kL + 12, 0xff000);
                 e.put(24, 0xff000);
               },
               "placed at 0xff000"},
        BadElf{"at_the_apics",
               [](E& e) {
                 e.put(kL + 8, 0xfee00000);
                 e.put(kL + 12, 0xfee00000);
                 e.put(24, 0xfee00000);
               },
               "are not RAM"},
        BadElf{"wraps_4_gib",
               [](E& e) {
                 e.put(kL + 8, 0xfffff000);
                 e.put(kL + 12, 0xfffff000);
                 e.put(24, 0xfffff000);
               },
               "are not RAM"},
        BadElf{"overlap", [](E& e) { e.second_segment(0x102fff, 0x10); }, "overlaps segment 0"},
        BadElf{"entry_outside", [](E& e) { e.put(24, 0x103000); },
               "entry point 0x103000 lies in no"},
        BadElf{"entry_before", [](E& e) { e.put(24, 0xfffff); }, "entry point 0xfffff"},
        BadElf{"no_room_for_information", [](E& e) { e.second_segment(0x1000, 0x7f000); },
               "no such room beside its segments"}),
    [](const auto& p) { return p.param.name; });

using BadFlat = Bad<MultibootFlat>;
class BadMultibootFlat : public testing::TestWithParam<BadFlat> {};
TEST_P(BadMultibootFlat, IsRefusedWithOneClearError) { expect_refused(GetParam()); }
using F = MultibootFlat;
INSTANTIATE_TEST_SUITE_P(
    Table, BadMultibootFlat,
    testing::Values(
        BadFlat{"load_behind_header", [](F& f) { f.addresses(0x100000, 0x100020, 0, 0, 0x100020); },
                "lies behind header_addr"},
        BadFlat{"load_before_file", [](F& f) { f.addresses(0x100041, 0x100000, 0, 0, 0x100000); },
                "before the start of the file"},
        BadFlat{"end_before_load",
                [](F& f) { f.addresses(0x100020, 0x100000, 0xfffff, 0, 0x100000); },
                "load_end_addr 0xfffff lies before load_addr"},
        BadFlat{"end_behind_file",
                [](F& f) { f.addresses(0x100020, 0x100000, 0x100fe1, 0, 0x100000); },
                "asks for 4065 bytes, and the file has 4064"},
        BadFlat{"bss_before_end",
                [](F& f) { f.addresses(0x100020, 0x100000, 0x100800, 0x1007ff, 0x100000); },
                "bss_end_addr 0x1007ff"},
        BadFlat{"entry_before", [](F& f) { f.addresses(0x100020, 0x100000, 0x100800, 0, 0xfffff); },
                "entry_addr 0xfffff lies outside"},
        BadFlat{"entry_behind",
                [](F& f) { f.addresses(0x100020, 0x100000, 0x100800, 0, 0x100800); },
                "entry_addr 0x100800 lies outside"},
        BadFlat{"no_ram", [](F& f) { f.addresses(0xfff00020, 0xfff00000, 0, 0, 0xfff00000); },
                "are not RAM"},
        BadFlat{"huge_bss", [](F& f) { f.addresses(0x100020, 0x100000, 0, 0xffffffff, 0x100000); },
                "does not fit into 16 MiB"}),
    [](const auto& p) { return p.param.name; });

std::string refusal(const MultibootImage& image) {
  BootRig rig;
  auto state = load_multiboot(image, rig.memory);
  return state.ok() ? "" : state.error().message;
}

TEST(Multiboot, RefusesModulesThatDoNotFit) {
  MultibootElf32 image;
  const std::vector<std::byte> big(15_MiB);
  const std::vector<BootModule> modules{{{}, "small"}, {big, "big"}};
  EXPECT_NE(refusal({.file = image.bytes, .modules = modules})
                .find("module 1 of 15360 KiB does not fit above 0x103000 into 16 MiB"),
            std::string::npos);
}

TEST(Multiboot, RefusesModuleListsAndLinesWithoutRoom) {
  MultibootElf32 image;
  const std::vector<BootModule> modules(100'000);
  EXPECT_NE(refusal({.file = image.bytes, .modules = modules}).find("between 0x10000 and 0x80000"),
            std::string::npos);
  const std::string line(0x70000, 'x');
  EXPECT_NE(refusal({.file = image.bytes, .command_line = line}).find("command line, module list"),
            std::string::npos);
}

TEST(Multiboot, RefusesStringsWithZeroBytes) {
  MultibootElf32 image;
  const std::string zero("a\0b", 3);
  const std::vector<BootModule> modules{{{}, zero}};
  EXPECT_NE(refusal({.file = image.bytes, .command_line = zero}).find("command line contains a"),
            std::string::npos);
  EXPECT_NE(refusal({.file = image.bytes, .modules = modules}).find("string of module 0"),
            std::string::npos);
}

TEST(Multiboot, ARefusedImageLeavesMemoryAlone) {
  BootRig rig;
  MultibootElf32 image;
  const std::string line(0x70000, 'x');
  ASSERT_FALSE(load_multiboot({.file = image.bytes, .command_line = line}, rig.memory).ok());
  EXPECT_EQ(rig.peek<uint32_t>(0x100000), 0u);
  EXPECT_FALSE(rig.memory.is_dirty(Gpa(0x100000)));
}

template <class Image>
void try_every_byte(size_t from, size_t to) {
  BootRig rig;
  const Image good;
  for (size_t at = from; at < to; ++at)
    for (const uint8_t value : {0x00, 0x01, 0x7f, 0x80, 0xff}) {
      Image image = good;
      image.put(at, value);
      (void)load_multiboot({.file = image.bytes}, rig.memory).ok();
    }
}

TEST(Multiboot, EveryHeaderByteMayBeWrong) {
  try_every_byte<MultibootElf32>(0, kL + 32);
  try_every_byte<MultibootElf64>(0, 64 + 56);
  try_every_byte<MultibootFlat>(F::kHeader, F::kHeader + 32);
}

TEST(Multiboot, AFileMayEndAnywhere) {
  BootRig rig;
  for (size_t size = 0; size < 0x100; ++size) {
    MultibootFlat image;
    image.bytes.resize(size);
    (void)load_multiboot({.file = image.bytes}, rig.memory).ok();
  }
}

}  // namespace
}  // namespace cupel::boot
