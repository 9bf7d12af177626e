#include "hw_models/platform/acpi_tables.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <numeric>
#include <optional>
#include <span>

#include "tests/platform/board_rig.h"

namespace cupel::platform {
namespace {

// Finds and checks tables as an operating system does.
struct AcpiTest : testing::Test {
  AcpiTest() : host(PhysicalMemory::create(2_MiB).value()), memory(*host, Hpa(0), 2_MiB) {}

  template <class T>
  T peek(uint64_t at) {
    T value{};
    EXPECT_TRUE(memory.read(Gpa(at), value));
    return value;
  }
  std::string text(uint64_t at, size_t size) {
    const auto bytes = memory.view(Gpa(at), size);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  uint8_t sum(uint64_t at, uint64_t size) {
    unsigned total = 0;
    for (const std::byte b : memory.view(Gpa(at), size)) total += static_cast<uint8_t>(b);
    return static_cast<uint8_t>(total);
  }
  // ACPI 6.5, "Finding the RSDP on IA-PC Systems".
  uint64_t find_rsdp() {
    for (uint64_t at = 0xe0000; at < 0x100000; at += 16)
      if (text(at, 8) == "RSD PTR " && sum(at, 20) == 0) return at;
    ADD_FAILURE() << "no RSDP";
    return 0;
  }
  std::map<std::string, uint64_t> tables(unsigned width) {
    const uint64_t rsdp = find_rsdp();
    const uint64_t root = width == 8 ? peek<uint64_t>(rsdp + 24) : peek<uint32_t>(rsdp + 16);
    std::map<std::string, uint64_t> found;
    EXPECT_EQ(text(root, 4), width == 8 ? "XSDT" : "RSDT");
    check(root);
    for (uint64_t at = root + 36; at < root + peek<uint32_t>(root + 4); at += width) {
      const uint64_t table = width == 8 ? peek<uint64_t>(at) : peek<uint32_t>(at);
      check(table);
      found[text(table, 4)] = table;
    }
    return found;
  }
  void check(uint64_t table) {
    const auto length = peek<uint32_t>(table + 4);
    EXPECT_GE(length, 36u);
    EXPECT_LE(table + length, 0x100000u);
    EXPECT_EQ(sum(table, length), 0) << text(table, 4);
  }

  std::unique_ptr<PhysicalMemory> host;
  GuestMemory memory;
};

TEST_F(AcpiTest, RootPointerAndBothRootTablesAgree) {
  const Gpa at = write_acpi_tables(2, memory);
  const uint64_t rsdp = find_rsdp();
  EXPECT_EQ(at.value(), rsdp);
  EXPECT_EQ(peek<uint8_t>(rsdp + 15), 2) << "revision";
  EXPECT_EQ(sum(rsdp, 36), 0);
  EXPECT_EQ(tables(4), tables(8));
  EXPECT_EQ(tables(8).size(), 2u);
}

TEST_F(AcpiTest, FadtDescribesTheFixedHardware) {
  write_acpi_tables(1, memory);
  const uint64_t fadt = tables(8).at("FACP");
  EXPECT_EQ(peek<uint32_t>(fadt + 4), 276u);
  EXPECT_EQ(peek<uint16_t>(fadt + 46), 9u) << "SCI";
  EXPECT_EQ(peek<uint32_t>(fadt + 48), 0u) << "SMI command";
  EXPECT_EQ(peek<uint32_t>(fadt + 56), 0x600u);
  EXPECT_EQ(peek<uint32_t>(fadt + 64), 0x604u);
  EXPECT_EQ(peek<uint32_t>(fadt + 76), 0x608u);
  EXPECT_EQ(peek<uint8_t>(fadt + 88), 4);
  EXPECT_EQ(peek<uint8_t>(fadt + 89), 2);
  EXPECT_EQ(peek<uint8_t>(fadt + 91), 4);
  EXPECT_EQ(peek<uint8_t>(fadt + 108), 0x32) << "century";
  EXPECT_EQ(peek<uint16_t>(fadt + 109) & 2, 0) << "no keyboard controller";
  EXPECT_NE(peek<uint32_t>(fadt + 112) & 1 << 10, 0u) << "reset register";
  EXPECT_EQ(peek<uint64_t>(fadt + 120), 0xcf9u);
  EXPECT_EQ(peek<uint8_t>(fadt + 128), 6);
  EXPECT_EQ(peek<uint32_t>(fadt + 40), peek<uint64_t>(fadt + 140)) << "DSDT";
  EXPECT_EQ(peek<uint64_t>(fadt + 152), 0x600u);
  EXPECT_EQ(peek<uint64_t>(fadt + 176), 0x604u);
  EXPECT_EQ(peek<uint64_t>(fadt + 212), 0x608u);
  const auto facs = peek<uint32_t>(fadt + 36);
  EXPECT_EQ(facs % 64, 0u);
  EXPECT_EQ(text(facs, 4), "FACS");
  EXPECT_EQ(peek<uint32_t>(facs + 4), 64u);
}

TEST_F(AcpiTest, MadtListsProcessorsIoApicOverridesAndNmi) {
  write_acpi_tables(16, memory);
  const uint64_t madt = tables(8).at("APIC");
  EXPECT_EQ(peek<uint32_t>(madt + 36), 0xfee00000u);
  std::vector<unsigned> processors, overrides;
  unsigned io_apics = 0, nmis = 0;
  const uint64_t end = madt + peek<uint32_t>(madt + 4);
  uint64_t at = madt + 44;
  for (; at < end; at += peek<uint8_t>(at + 1)) {
    ASSERT_GE(peek<uint8_t>(at + 1), 6);
    switch (peek<uint8_t>(at)) {
      case 0:
        EXPECT_EQ(peek<uint8_t>(at + 2), peek<uint8_t>(at + 3));
        EXPECT_EQ(peek<uint32_t>(at + 4), 1u);
        processors.push_back(peek<uint8_t>(at + 3));
        break;
      case 1:
        EXPECT_EQ(peek<uint32_t>(at + 4), 0xfec00000u);
        EXPECT_EQ(peek<uint32_t>(at + 8), 0u);
        ++io_apics;
        break;
      case 2:
        overrides.push_back(peek<uint8_t>(at + 3));
        EXPECT_EQ(peek<uint32_t>(at + 4), overrides.back() == 0 ? 2u : overrides.back());
        break;
      case 4:
        EXPECT_EQ(peek<uint8_t>(at + 5), 1);
        ++nmis;
        break;
      default:
        ADD_FAILURE() << "entry of type " << +peek<uint8_t>(at);
    }
  }
  EXPECT_EQ(at, end);
  std::vector<unsigned> expected(16);
  std::iota(expected.begin(), expected.end(), 0u);
  EXPECT_EQ(processors, expected);
  EXPECT_EQ(overrides, (std::vector<unsigned>{0, 9}));
  EXPECT_EQ(io_apics, 1u);
  EXPECT_EQ(nmis, 1u);
}

TEST_F(AcpiTest, DsdtHasTheSoftOffStateThatTheBoardObeys) {
  write_acpi_tables(1, memory);
  const uint64_t dsdt = peek<uint64_t>(tables(8).at("FACP") + 140);
  check(dsdt);
  const std::string aml = text(dsdt, peek<uint32_t>(dsdt + 4));
  // Name (\_S5, Package (4) {0, 0, 0, 0})
  const std::string s5("\x08\\_S5_\x12\x06\x04\x00\x00\x00\x00", 13);
  ASSERT_NE(aml.find(s5), std::string::npos);
  BoardRig rig;
  rig.out(AcpiPm::kPort + AcpiPm::kControl, 0 << 10 | 1 << 13, 2);
  EXPECT_EQ(rig.board->exit_request().kind, chips::ExitRequest::Kind::power_off);
}

TEST_F(AcpiTest, RoomForTheMostProcessors) {
  write_acpi_tables(255, memory);
  EXPECT_EQ(tables(8).size(), 2u);
}

TEST_F(AcpiTest, TheBoardWritesThemForItsProcessors) {
  BoardRig rig(BoardConfig{.processors = 3, .ram = 2_MiB});
  EXPECT_EQ(rig.board->write_firmware_tables(memory), kAcpiTables);
  EXPECT_EQ(peek<uint32_t>(tables(8).at("APIC") + 4), 44u + 3 * 8 + 12 + 2 * 10 + 6);
}

// With CUPEL_TEST_ACPI=<folder> the tables are written there, for iasl -d.
TEST_F(AcpiTest, CanBeLookedAt) {
  const char* folder = std::getenv("CUPEL_TEST_ACPI");
  if (folder == nullptr) GTEST_SKIP() << "CUPEL_TEST_ACPI is not set";
  write_acpi_tables(4, memory);
  auto found = tables(8);
  found["DSDT"] = peek<uint64_t>(found.at("FACP") + 140);
  for (const auto& [name, at] : found)
    std::ofstream(std::string(folder) + "/" + name + ".aml", std::ios::binary)
        << text(at, peek<uint32_t>(at + 4));
}

}  // namespace
}  // namespace cupel::platform
