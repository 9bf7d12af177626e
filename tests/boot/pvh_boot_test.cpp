#include "core/boot/pvh_boot.h"

#include <functional>

#include "tests/boot/boot_rig.h"

namespace cupel::boot {
namespace {

// An ELF64 file: header, one PT_LOAD of 4 KiB (8 KiB in memory) at 1 MiB, one PT_NOTE.
struct Elf {
  static constexpr size_t kLoad = 64, kNote = 64 + 56, kNotes = 0x200, kCode = 0x1000;
  Elf() : bytes(0x2000, std::byte{0xf4}) {
    std::fill_n(bytes.begin(), kCode, std::byte{0});
    std::memcpy(bytes.data(),
                "\x7f"
                "ELF\x02\x01\x01",
                7);
    put(16, uint16_t{2});
    put(18, uint16_t{62});
    put(32, uint64_t{64});
    put(54, uint16_t{56});
    put(56, uint16_t{2});
    header(kLoad, 1, kCode, 0x1000, 0x2000);
    header(kNote, 4, kNotes, 20, 20);
    put(kNotes, uint32_t{4});
    put(kNotes + 4, uint32_t{4});
    put(kNotes + 8, uint32_t{18});
    std::memcpy(bytes.data() + kNotes + 12, "Xen", 4);
    put(kNotes + 16, uint32_t{0x100040});
  }
  void header(size_t at, uint32_t type, uint64_t offset, uint64_t file_size, uint64_t memory_size) {
    put(at, type);
    put(at + 8, offset);
    put(at + 24, uint64_t{0x100000});
    put(at + 32, file_size);
    put(at + 40, memory_size);
  }
  template <class T>
  void put(size_t at, T value) {
    std::memcpy(bytes.data() + at, &value, sizeof value);
  }
  std::vector<std::byte> bytes;
};

TEST(PvhBoot, EntersIn32BitModeWithStartInfo) {
  BootRig rig;
  Elf elf;
  rig.memory.write(Gpa(0x101800), uint32_t{0xdeadbeef});  // must become zero
  const std::vector<std::byte> module(100, std::byte{3});
  auto state = load_pvh({elf.bytes, module, "hello"}, rig.memory);
  ASSERT_TRUE(state.ok()) << describe(state.error());
  EXPECT_EQ(state->rip, 0x100040u);
  EXPECT_EQ(state->cr0 & (x86::cr0::PE | x86::cr0::PG), x86::cr0::PE);
  EXPECT_FALSE((*state)[x86::Seg::cs].long_mode());
  uint32_t word = 0;
  const Gpa info(state->gpr[x86::Gpr::rbx]);
  rig.memory.read(info, word);
  EXPECT_EQ(word, 0x336ec578u);
  rig.memory.read(info + 12, word);
  EXPECT_EQ(word, 1u);  // modules
  rig.memory.read(Gpa(0x101800), word);
  EXPECT_EQ(word, 0u);
  rig.memory.read(Gpa(0x100ffc), word);
  EXPECT_EQ(word, 0xf4f4f4f4u);
  uint64_t list = 0, at = 0;
  rig.memory.read(info + 16, list);
  rig.memory.read(Gpa(list), at);
  EXPECT_EQ(at, 16_MiB - 4096);
}

struct BadElf {
  const char* name;
  std::function<void(Elf&)> damage;
  const char* says;
};
class BadElfTest : public testing::TestWithParam<BadElf> {};
TEST_P(BadElfTest, IsRefusedWithOneClearError) {
  BootRig rig;
  Elf elf;
  GetParam().damage(elf);
  auto state = load_pvh({elf.bytes, {}, ""}, rig.memory);
  ASSERT_FALSE(state.ok());
  EXPECT_EQ(state.error().kind, ErrorKind::bad_input);
  EXPECT_NE(state.error().message.find(GetParam().says), std::string::npos)
      << state.error().message;
}
INSTANTIATE_TEST_SUITE_P(
    Table, BadElfTest,
    testing::Values(
        BadElf{"empty", [](Elf& e) { e.bytes.clear(); }, "empty"},
        BadElf{"foreign", [](Elf& e) { e.put(0, 0); }, "no ELF header"},
        BadElf{"cut_header", [](Elf& e) { e.bytes.resize(60); }, "ends inside the ELF header"},
        BadElf{"big_endian", [](Elf& e) { e.put(5, uint8_t{2}); }, "little-endian"},
        BadElf{"bad_class", [](Elf& e) { e.put(4, uint8_t{9}); }, "class"},
        BadElf{"arm", [](Elf& e) { e.put(18, uint16_t{183}); }, "not x86"},
        BadElf{"no_headers", [](Elf& e) { e.put(56, uint16_t{0}); }, "program headers"},
        BadElf{"many_headers", [](Elf& e) { e.put(56, uint16_t{0xffff}); }, "program headers"},
        BadElf{"header_size", [](Elf& e) { e.put(54, uint16_t{32}); }, "size of a program header"},
        BadElf{"headers_far", [](Elf& e) { e.put(32, ~0ull); }, "program headers"},
        BadElf{"truncated", [](Elf& e) { e.bytes.resize(0x1800); }, "behind the end"},
        BadElf{"offset_wraps", [](Elf& e) { e.put(Elf::kLoad + 8, ~0ull); }, "behind the end"},
        BadElf{"file_larger", [](Elf& e) { e.put(Elf::kLoad + 40, uint64_t{16}); },
               "larger in the file"},
        BadElf{"no_segment", [](Elf& e) { e.put(Elf::kLoad, 0); }, "no loadable"},
        BadElf{"no_note", [](Elf& e) { e.put(Elf::kNote, 0); }, "PHYS32_ENTRY"},
        BadElf{"other_note", [](Elf& e) { e.put(Elf::kNotes + 8, 1); }, "PHYS32_ENTRY"},
        BadElf{"huge_note", [](Elf& e) { e.put(Elf::kNotes, ~0u); }, "PHYS32_ENTRY"},
        BadElf{"low", [](Elf& e) { e.put(Elf::kLoad + 24, uint64_t{0x1000}); }, "placed at"},
        BadElf{"far", [](Elf& e) { e.put(Elf::kLoad + 24, ~0ull - 8); }, "placed at"},
        BadElf{"too_big", [](Elf& e) { e.put(Elf::kLoad + 40, uint64_t{1_GiB}); }, "does not fit"},
        BadElf{"size_wraps", [](Elf& e) { e.put(Elf::kLoad + 40, ~0ull); }, "does not fit"},
        BadElf{"overlap",
               [](Elf& e) {
                 e.put(56, uint16_t{3});
                 e.header(Elf::kNote + 56, 1, Elf::kNotes, 20, 20);
               },
               "overlaps"},
        BadElf{"entry_outside", [](Elf& e) { e.put(Elf::kNotes + 16, 0x90000000); },
               "entry point"}),
    [](const auto& p) { return p.param.name; });

TEST(PvhBoot, EveryHeaderByteMayBeWrong) {
  BootRig rig;
  const Elf good;
  for (size_t at = 0; at < 64 + 2 * 56; ++at) {
    for (const uint8_t value : {0x00, 0x01, 0x7f, 0xff}) {
      Elf elf = good;
      elf.put(at, value);
      (void)load_pvh({elf.bytes, {}, ""}, rig.memory).ok();
    }
  }
}

TEST(PvhBoot, RefusesAModuleThatDoesNotFit) {
  BootRig rig;
  Elf elf;
  const std::vector<std::byte> module(15_MiB);
  EXPECT_FALSE(load_pvh({elf.bytes, module, ""}, rig.memory).ok());
}

}  // namespace
}  // namespace cupel::boot
