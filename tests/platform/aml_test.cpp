#include "hw_models/platform/aml.h"

#include <gtest/gtest.h>

namespace cupel::platform::aml {
namespace {

TEST(Aml, IntegersTakeTheShortestForm) {
  EXPECT_EQ(integer(0), (Bytes{0x00}));
  EXPECT_EQ(integer(1), (Bytes{0x01}));
  EXPECT_EQ(integer(2), (Bytes{0x0a, 2}));
  EXPECT_EQ(integer(0x1234), (Bytes{0x0b, 0x34, 0x12}));
  EXPECT_EQ(integer(0x10000), (Bytes{0x0c, 0, 0, 1, 0}));
  EXPECT_EQ(integer(1ull << 32), (Bytes{0x0e, 0, 0, 0, 0, 1, 0, 0, 0}));
}

// ACPI 6.5, "Package Length Encoding".
TEST(Aml, PackageLengthsCountThemselves) {
  EXPECT_EQ(buffer(Bytes(60)).at(1), 0x3f) << "63 in one byte";
  const Bytes two = buffer(Bytes(61));
  EXPECT_EQ(two.at(1), 0x41) << "65: one byte follows";
  EXPECT_EQ(two.at(2), 0x04);
  const Bytes most = buffer(Bytes(4090));  // 2 + 3 + 4090 = 0xfff
  EXPECT_EQ(most.at(1), 0x4f);
  EXPECT_EQ(most.at(2), 0xff);
  const Bytes three = buffer(Bytes(4091));  // 3 + 3 + 4091 = 0x1001
  EXPECT_EQ(three.at(1), 0x81);
  EXPECT_EQ(three.at(2), 0x00);
  EXPECT_EQ(three.at(3), 0x01);
}

TEST(Aml, EisaIdsAreCompressed) {
  EXPECT_EQ(eisa_id("PNP0A03"), (Bytes{0x0c, 0x41, 0xd0, 0x0a, 0x03}));
  EXPECT_EQ(eisa_id("PNP0501"), (Bytes{0x0c, 0x41, 0xd0, 0x05, 0x01}));
}

TEST(Aml, NamesAreFilledUp) {
  EXPECT_EQ(name("X", integer(0)), (Bytes{0x08, 'X', '_', '_', '_', 0}));
  EXPECT_EQ(name("\\_S5", integer(1)), (Bytes{0x08, '\\', '_', 'S', '5', '_', 1}));
  EXPECT_EQ(scope("\\_SB", {}), (Bytes{0x10, 6, '\\', '_', 'S', 'B', '_'}));
  EXPECT_EQ(device("COM1", {}), (Bytes{0x5b, 0x82, 5, 'C', 'O', 'M', '1'}));
}

TEST(Aml, PackagesCountTheirElements) {
  EXPECT_EQ(package({integer(0), integer(5)}), (Bytes{0x12, 5, 2, 0, 0x0a, 5}));
}

TEST(Aml, ResourceDescriptors) {
  EXPECT_EQ(io_ports(0x3f8, 8), (Bytes{0x47, 1, 0xf8, 3, 0xf8, 3, 1, 8}));
  EXPECT_EQ(irq(4), (Bytes{0x22, 0x10, 0}));
  EXPECT_EQ(bus_numbers(0, 0), (Bytes{0x88, 13, 0, 2, 0x0c, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0}));
  EXPECT_EQ(io_range(0xd00, 0xffff),
            (Bytes{0x88, 13, 0, 1, 0x0c, 3, 0, 0, 0, 0x0d, 0xff, 0xff, 0, 0, 0, 0xf3}));
  EXPECT_EQ(memory_range(0xe0000000, 0xefffffff).size(), 26u);
  EXPECT_EQ(resources({}), (Bytes{0x11, 5, 0x0a, 2, 0x79, 0}));
}

}  // namespace
}  // namespace cupel::platform::aml
