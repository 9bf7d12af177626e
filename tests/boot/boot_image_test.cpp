#include "core/boot/boot_image.h"

#include "tests/boot/boot_rig.h"
#include "tests/boot/multiboot_image.h"

namespace cupel::boot {
namespace {

// MultibootElf64 with a PVH note as well, or instead.
struct PvhElf : MultibootElf64 {
  explicit PvhElf(bool multiboot) {
    put(56, uint16_t{2});
    put(120, uint32_t{4});
    put(128, uint64_t{0x200});
    put(152, uint64_t{20});
    put(160, uint64_t{20});
    put(0x200, uint32_t{4});
    put(0x204, uint32_t{4});
    put(0x208, uint32_t{18});
    std::memcpy(bytes.data() + 0x20c, "Xen", 4);
    put(0x210, uint32_t{0x100040});
    if (!multiboot) put(0x1000, 0);
  }
};

std::vector<std::byte> linux_file() {
  TestImage image;
  image.bytes.resize(0x1000);
  image.put(0x1fe, uint16_t{0xaa55});
  std::memcpy(image.bytes.data() + 0x202, "HdrS", 4);
  return image.bytes;
}

TEST(BootImage, RecognizesKindsByTheirBytes) {
  EXPECT_EQ(recognize_image(MultibootElf32().bytes).value(), ImageKind::multiboot);
  EXPECT_EQ(recognize_image(MultibootFlat().bytes).value(), ImageKind::multiboot);
  EXPECT_EQ(recognize_image(PvhElf(false).bytes).value(), ImageKind::pvh);
  EXPECT_EQ(recognize_image(PvhElf(true).bytes).value(), ImageKind::multiboot);
  EXPECT_EQ(recognize_image(linux_file()).value(), ImageKind::linux_bzimage);
}

TEST(BootImage, ARequirementThatIsRefusedIsStillMultiboot) {
  EXPECT_EQ(recognize_image(MultibootElf32(0x8000).bytes).value(), ImageKind::multiboot);
}

TEST(BootImage, AnImageOfTwoKindsIsMultibootUnlessAskedOtherwise) {
  BootRig rig;
  PvhElf image(true);
  auto state = load_image({.file = image.bytes}, rig.memory);
  ASSERT_TRUE(state.ok()) << describe(state.error());
  EXPECT_EQ(state->gpr[x86::Gpr::rax], 0x2badb002u);
  state =
      load_image({.file = image.bytes, .rsdp = Gpa(0xf0000), .kind = ImageKind::pvh}, rig.memory);
  ASSERT_TRUE(state.ok()) << describe(state.error());
  EXPECT_EQ(state->rip, 0x100040u);
  const uint64_t info = state->gpr[x86::Gpr::rbx];
  EXPECT_EQ(rig.peek<uint32_t>(info), 0x336ec578u);
  EXPECT_EQ(rig.peek<uint64_t>(info + 32), 0xf0000u) << "rsdp";
}

std::string refusal(std::span<const std::byte> file) {
  auto kind = recognize_image(file);
  return kind.ok() ? "" : kind.error().message + " -> " + kind.error().hint;
}

TEST(BootImage, SaysWhatItLookedFor) {
  const std::vector<std::byte> noise(100, std::byte{7});
  const std::string said = refusal(noise);
  for (const char* part : {"0x1badb002", "first 100 bytes", "no ELF header", "HdrS' at 0x202",
                           "give a Multiboot 1 image"})
    EXPECT_NE(said.find(part), std::string::npos) << part << " in " << said;
}

TEST(BootImage, NamesTheNearMiss) {
  MultibootElf32 image;
  image.put(MultibootElf32::kHeader + 8, 0);
  EXPECT_NE(refusal(image.bytes).find("wrong checksum"), std::string::npos);
  EXPECT_NE(refusal(image.bytes).find("no XEN_ELFNOTE_PHYS32_ENTRY"), std::string::npos);
  image.put(18, uint16_t{183});
  EXPECT_NE(refusal(image.bytes).find("machine 183"), std::string::npos);
}

TEST(BootImage, NamesWellKnownOtherFiles) {
  const auto starting = [](std::initializer_list<unsigned char> start) {
    TestImage image;
    image.bytes.resize(0x9000);
    std::copy(start.begin(), start.end(), reinterpret_cast<unsigned char*>(image.bytes.data()));
    return image;
  };
  EXPECT_NE(refusal(starting({0x1f, 0x8b}).bytes).find("gzip"), std::string::npos);
  EXPECT_NE(refusal(starting({0xfd, '7', 'z', 'X', 'Z'}).bytes).find("xz"), std::string::npos);
  EXPECT_NE(refusal(starting({0x28, 0xb5, 0x2f, 0xfd}).bytes).find("zstd"), std::string::npos);
  TestImage sector = starting({});
  sector.put(510, uint16_t{0xaa55});
  EXPECT_NE(refusal(sector.bytes).find("boot sector"), std::string::npos);
  std::memcpy(sector.bytes.data() + 0x8001, "CD001", 5);
  EXPECT_NE(refusal(sector.bytes).find("CD image"), std::string::npos);
  EXPECT_NE(refusal({}).find("empty"), std::string::npos);
}

TEST(BootImage, OnlyMultibootTakesSeveralModules) {
  BootRig rig;
  PvhElf image(true);
  const std::vector<BootModule> modules(2);
  EXPECT_TRUE(load_image({.file = image.bytes, .modules = modules}, rig.memory).ok());
  auto state =
      load_image({.file = image.bytes, .modules = modules, .kind = ImageKind::pvh}, rig.memory);
  ASSERT_FALSE(state.ok());
  EXPECT_NE(state.error().message.find("2 modules"), std::string::npos);
}

}  // namespace
}  // namespace cupel::boot
