#include "core/boot/linux_boot.h"

#include <cstdlib>
#include <fstream>
#include <functional>

#include "core/boot/boot_memory.h"
#include "tests/boot/boot_rig.h"

namespace cupel::boot {
namespace {

// A bzImage of four setup sectors and 64 KiB of "code", with the fields a loader reads.
struct Kernel {
  Kernel() : bytes(512 * 5 + 65536, std::byte{0x90}) {
    std::fill_n(bytes.begin(), 512 * 5, std::byte{0});
    put(0x1f1, uint8_t{4});
    put(0x1f4, uint32_t{65536 / 16});
    put(0x1fe, uint16_t{0xaa55});
    put(0x200, uint8_t{0xeb});
    put(0x201, uint8_t{0x6a});
    put(0x202, uint32_t{0x53726448});
    put(0x206, uint16_t{0x20f});
    put(0x211, uint8_t{1});
    put(0x22c, uint32_t{0x7fffffff});
    put(0x230, uint32_t{0x200000});
    put(0x234, uint8_t{1});
    put(0x236, uint16_t{0x3f});
    put(0x238, uint32_t{2047});
    put(0x258, uint64_t{16_MiB});
    put(0x260, uint32_t{4_MiB});
  }
  template <class T>
  void put(size_t at, T value) {
    std::memcpy(bytes.data() + at, &value, sizeof value);
  }
  std::vector<std::byte> bytes;
};

template <class T>
T peek(GuestMemory& memory, uint64_t at) {
  T value{};
  EXPECT_TRUE(memory.read(Gpa(at), value));
  return value;
}

TEST(LinuxBoot, EntersIn64BitModeAtLoadPlus200) {
  BootRig rig(64_MiB);
  Kernel kernel;
  auto state = load_linux({kernel.bytes, {}, "console=ttyS0"}, rig.memory);
  ASSERT_TRUE(state.ok()) << describe(state.error());
  EXPECT_EQ(state->rip, 16_MiB + 0x200);
  EXPECT_EQ(state->gpr[x86::Gpr::rsi], 0x7000u);
  EXPECT_TRUE((*state)[x86::Seg::cs].long_mode());
  EXPECT_EQ((*state)[x86::Seg::cs].selector, 0x10);
  EXPECT_EQ((*state)[x86::Seg::ds].selector, 0x18);
  EXPECT_EQ(state->cr4, x86::cr4::PAE);
  EXPECT_EQ(state->rflags, 2u);
  EXPECT_EQ(peek<uint64_t>(rig.memory, state->gdtr.base + 0x10), 0x00af9b000000ffffull);
}

TEST(LinuxBoot, PageTablesMapTheFirst4GiBToThemselves) {
  BootRig rig(64_MiB);
  Kernel kernel;
  auto state = load_linux({kernel.bytes, {}, ""}, rig.memory);
  ASSERT_TRUE(state.ok());
  for (const uint64_t va : {0ull, 0x200000ull, 0x3fe00000ull, 0x40000000ull, 0xffe00000ull}) {
    const uint64_t pml4e = peek<uint64_t>(rig.memory, state->cr3);
    const uint64_t pdpte = peek<uint64_t>(rig.memory, (pml4e & ~0xfffull) + 8 * (va >> 30));
    const uint64_t pde = peek<uint64_t>(rig.memory, (pdpte & ~0xfffull) + 8 * (va >> 21 & 511));
    EXPECT_EQ(pde, va | 0x83);
  }
}

TEST(LinuxBoot, FillsBootParams) {
  BootRig rig(64_MiB);
  Kernel kernel;
  const std::vector<std::byte> initrd(5000, std::byte{0x77});
  ASSERT_TRUE(load_linux({kernel.bytes, initrd, "quiet", Gpa(0xf0000)}, rig.memory).ok());
  const uint64_t page = 0x7000;
  EXPECT_EQ(peek<uint32_t>(rig.memory, page + 0x202), 0x53726448u);
  EXPECT_EQ(peek<uint8_t>(rig.memory, page + 0x210), 0xff);
  EXPECT_EQ(peek<uint64_t>(rig.memory, page + 0x070), 0xf0000u) << "RSDP";
  const uint64_t at = peek<uint32_t>(rig.memory, page + 0x218);
  EXPECT_EQ(at, (64_MiB - 5000) & ~0xfffull);
  EXPECT_EQ(peek<uint32_t>(rig.memory, page + 0x21c), 5000u);
  EXPECT_EQ(peek<uint8_t>(rig.memory, at + 4999), 0x77);
  std::array<char, 6> line{};
  rig.memory.read(Gpa(peek<uint32_t>(rig.memory, page + 0x228)), line);
  EXPECT_STREQ(line.data(), "quiet");
  // e820: the last entry is RAM from 1 MiB to the end.
  const auto entries = peek<uint8_t>(rig.memory, page + 0x1e8);
  const uint64_t last = page + 0x2d0 + 20ull * (entries - 1u);
  EXPECT_EQ(peek<uint64_t>(rig.memory, last), 1_MiB);
  EXPECT_EQ(peek<uint64_t>(rig.memory, last + 8), 63_MiB);
  EXPECT_EQ(peek<uint32_t>(rig.memory, last + 16), 1u);
}

TEST(LinuxBoot, RelocatesWhenThePreferredAddressDoesNotFit) {
  BootRig rig(8_MiB);
  Kernel kernel;
  auto state = load_linux({kernel.bytes, {}, ""}, rig.memory);
  ASSERT_TRUE(state.ok()) << describe(state.error());
  EXPECT_EQ(state->rip, 2_MiB + 0x200);
}

struct BadKernel {
  const char* name;
  std::function<void(Kernel&)> damage;
  const char* says;
};
class BadKernelTest : public testing::TestWithParam<BadKernel> {};
TEST_P(BadKernelTest, IsRefusedWithOneClearError) {
  BootRig rig(64_MiB);
  Kernel kernel;
  GetParam().damage(kernel);
  auto state = load_linux({kernel.bytes, {}, ""}, rig.memory);
  ASSERT_FALSE(state.ok());
  EXPECT_EQ(state.error().kind, ErrorKind::bad_input);
  EXPECT_NE(state.error().message.find(GetParam().says), std::string::npos)
      << state.error().message;
  EXPECT_FALSE(state.error().hint.empty());
}
INSTANTIATE_TEST_SUITE_P(
    Table, BadKernelTest,
    testing::Values(
        BadKernel{"empty", [](Kernel& k) { k.bytes.clear(); }, "empty"},
        BadKernel{"tiny", [](Kernel& k) { k.bytes.resize(600); }, "too few"},
        BadKernel{"foreign", [](Kernel& k) { k.put(0x202, 0x464c457f); }, "not a bzImage"},
        BadKernel{"no_boot_flag", [](Kernel& k) { k.put(0x1fe, uint16_t{0}); }, "not a bzImage"},
        BadKernel{"old", [](Kernel& k) { k.put(0x206, uint16_t{0x20b}); }, "2.11"},
        BadKernel{"short_header", [](Kernel& k) { k.put(0x201, uint8_t{0x20}); }, "setup header"},
        BadKernel{"zimage", [](Kernel& k) { k.put(0x211, uint8_t{0}); }, "zImage"},
        BadKernel{"only_32_bit", [](Kernel& k) { k.put(0x236, uint16_t{0}); }, "64-bit"},
        BadKernel{"truncated", [](Kernel& k) { k.bytes.resize(20000); }, "truncated"},
        BadKernel{"setup_beyond_file", [](Kernel& k) { k.put(0x1f1, uint8_t{255}); }, "truncated"},
        BadKernel{"no_code", [](Kernel& k) { k.put(0x1f4, uint32_t{0}); }, "syssize"},
        BadKernel{"huge_syssize", [](Kernel& k) { k.put(0x1f4, ~0u); }, "truncated"},
        BadKernel{"small_init_size", [](Kernel& k) { k.put(0x260, 0x1000u); }, "init_size"},
        BadKernel{"huge_init_size", [](Kernel& k) { k.put(0x260, ~0u); }, "RAM"},
        BadKernel{"bad_alignment", [](Kernel& k) { k.put(0x230, 3u); }, "kernel_alignment"},
        BadKernel{"zero_alignment", [](Kernel& k) { k.put(0x230, 0u); }, "kernel_alignment"},
        BadKernel{"fixed_and_low",
                  [](Kernel& k) {
                    k.put(0x234, uint8_t{0});
                    k.put(0x258, uint64_t{0});
                  },
                  "pref_address"},
        BadKernel{"fixed_and_far",
                  [](Kernel& k) {
                    k.put(0x234, uint8_t{0});
                    k.put(0x258, ~0ull);
                  },
                  "pref_address"},
        BadKernel{"fixed_and_no_room",
                  [](Kernel& k) {
                    k.put(0x234, uint8_t{0});
                    k.put(0x258, uint64_t{62_MiB});
                  },
                  "needs 66 MiB"}),
    [](const auto& p) { return p.param.name; });

TEST(LinuxBoot, RefusesWhatDoesNotFitBesideTheKernel) {
  BootRig rig(32_MiB);
  Kernel kernel;
  const std::vector<std::byte> initrd(13_MiB);
  auto big = load_linux({kernel.bytes, initrd, ""}, rig.memory);
  ASSERT_FALSE(big.ok());
  EXPECT_NE(big.error().message.find("initrd"), std::string::npos);
  EXPECT_FALSE(load_linux({kernel.bytes, {}, std::string(2048, 'x')}, rig.memory).ok());
  EXPECT_FALSE(load_linux({kernel.bytes, {}, std::string("a\0b", 3)}, rig.memory).ok());
  EXPECT_TRUE(load_linux({kernel.bytes, {}, std::string(2047, 'x')}, rig.memory).ok());
}

TEST(LinuxBoot, EveryByteOfTheHeaderMayBeWrong) {
  BootRig rig(64_MiB);
  const Kernel good;
  for (size_t at = 0x1f1; at < 0x268; ++at) {
    for (const uint8_t value : {0x00, 0x01, 0x7f, 0x80, 0xff}) {
      Kernel kernel = good;
      kernel.put(at, value);
      (void)load_linux({kernel.bytes, kernel.bytes, "x"}, rig.memory).ok();
    }
  }
}

TEST(LinuxBoot, RamSizesOutsideTheMapAreRefused) {
  EXPECT_FALSE(check_ram_size(0).ok());
  EXPECT_FALSE(check_ram_size(1_MiB).ok());
  EXPECT_FALSE(check_ram_size(64_MiB + 1).ok());
  EXPECT_FALSE(check_ram_size(4_GiB).ok());
  EXPECT_TRUE(check_ram_size(2_MiB).ok());
  EXPECT_TRUE(check_ram_size(kLargestRam).ok());
}

// With CUPEL_TEST_KERNEL=<bzImage> a distribution's kernel is tried as well.
TEST(LinuxBoot, AcceptsARealKernel) {
  const char* path = std::getenv("CUPEL_TEST_KERNEL");
  if (path == nullptr) GTEST_SKIP() << "CUPEL_TEST_KERNEL is not set";
  std::ifstream file(path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  BootRig rig(256_MiB);
  auto state = load_linux({std::as_bytes(std::span(text)), {}, "console=ttyS0"}, rig.memory);
  ASSERT_TRUE(state.ok()) << describe(state.error());
  EXPECT_EQ(state->rip, 16_MiB + 0x200);
  auto cut =
      load_linux({std::as_bytes(std::span(text)).first(text.size() / 2), {}, ""}, rig.memory);
  EXPECT_FALSE(cut.ok());
}

}  // namespace
}  // namespace cupel::boot
