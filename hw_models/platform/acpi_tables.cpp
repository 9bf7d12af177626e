#include "hw_models/platform/acpi_tables.h"

#include <cassert>
#include <initializer_list>
#include <numeric>
#include <span>
#include <string_view>
#include <vector>

#include "core/chips/pci.h"
#include "hw_models/platform/acpi_pm.h"
#include "hw_models/platform/aml.h"

namespace cupel::platform {
namespace {

constexpr uint8_t kSystemIo = 1;  // address space of a generic address
constexpr size_t kHeaderBytes = 36, kChecksumAt = 9;

// Bytes of one table, written field by field in the order of the specification.
class Table {
 public:
  Table() = default;
  // "System Description Table Header"; length and checksum follow in take().
  Table(std::string_view signature, uint8_t revision) {
    text(signature, 4).number(0, 4).number(revision, 1).number(0, 1);
    text("CUPEL", 6).text("CUPELPC", 8).number(1, 4).text("CUPL", 4).number(1, 4);
  }
  Table& number(uint64_t value, unsigned size) {
    for (unsigned i = 0; i < size; ++i, value >>= 8) bytes_.push_back(static_cast<uint8_t>(value));
    return *this;
  }
  Table& text(std::string_view s, size_t size) {
    for (size_t i = 0; i < size; ++i)
      bytes_.push_back(i < s.size() ? static_cast<uint8_t>(s[i]) : ' ');
    return *this;
  }
  Table& append(const std::vector<uint8_t>& bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return *this;
  }
  // "Generic Address Structure": access 1, 2, 3 = bytes, words, dwords.
  Table& address(uint8_t space, uint8_t bits, uint8_t access, uint64_t at) {
    return number(space, 1).number(bits, 1).number(0, 1).number(access, 1).number(at, 8);
  }
  size_t size() const { return bytes_.size(); }
  void set(size_t at, uint64_t value, unsigned size) {
    for (unsigned i = 0; i < size; ++i) bytes_[at + i] = static_cast<uint8_t>(value >> (8 * i));
  }
  // Makes bytes `from` .. `from + length - 1` sum up to 0.
  void close(size_t checksum_at, size_t length) {
    bytes_[checksum_at] = 0;
    const auto sum =
        std::accumulate(bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(length), 0u);
    bytes_[checksum_at] = static_cast<uint8_t>(0 - sum);
  }
  std::vector<uint8_t> take() {
    set(4, bytes_.size(), 4);
    close(kChecksumAt, bytes_.size());
    return std::move(bytes_);
  }
  std::vector<uint8_t> take_raw() { return std::move(bytes_); }

 private:
  std::vector<uint8_t> bytes_;
};

std::vector<uint8_t> dsdt() {
  using namespace aml;
  const Bytes com1 = device("COM1", name("_HID", eisa_id("PNP0501")) + name("_UID", integer(1)) +
                                        name("_CRS", resources(io_ports(0x3f8, 8) + irq(4))));
  const Bytes rtc = device("RTC", name("_HID", eisa_id("PNP0B00")) +
                                      name("_CRS", resources(io_ports(0x70, 2) + irq(8))));
  const Bytes isa = device("ISA", name("_ADR", integer(0x00010000)) + com1 + rtc);
  const Bytes windows = bus_numbers(0, 0) + io_ports(0xcf8, 8) + io_range(0, 0xcf7) +
                        io_range(0xd00, 0xffff) +
                        memory_range(chips::PciHost::kMemoryStart, chips::PciHost::kMemoryEnd - 1);
  const Bytes pci = device("PCI0", name("_HID", eisa_id("PNP0A03")) + name("_UID", integer(0)) +
                                       name("_CRS", resources(windows)) + isa);
  const Bytes off = integer(AcpiPm::kSoftOff);
  const Bytes s5 = name("\\_S5", package({off, off, integer(0), integer(0)}));
  return Table("DSDT", 2).append(s5 + scope("\\_SB", pci)).take();
}

// "Fixed ACPI Description Table (FADT)".
std::vector<uint8_t> fadt(uint64_t facs, uint64_t dsdt_at) {
  constexpr uint32_t kWbinvd = 1, kProcC1 = 1 << 2, kNoPowerButton = 1 << 4,
                     kNoSleepButton = 1 << 5, kNoFixedRtc = 1 << 6, kTimer32 = 1 << 8,
                     kResetRegister = 1 << 10;
  constexpr uint16_t kLegacyDevices = 1, kNoVga = 1 << 2, kNoAspm = 1 << 4;
  constexpr uint8_t kCentury = 0x32;
  constexpr uint16_t kNoC2 = 0xfff, kNoC3 = 0xfff;
  constexpr uint64_t kEvent = AcpiPm::kPort + AcpiPm::kEvent,
                     kControl = AcpiPm::kPort + AcpiPm::kControl,
                     kTimer = AcpiPm::kPort + AcpiPm::kTimer;
  Table t("FACP", 6);
  t.number(facs, 4).number(dsdt_at, 4).number(0, 1).number(0, 1);  // no PM profile
  t.number(AcpiPm::kSci, 2).number(0, 4).number(0, 4);             // no SMI command: always ACPI
  t.number(kEvent, 4).number(0, 4).number(kControl, 4).number(0, 4).number(0, 4);
  t.number(kTimer, 4).number(0, 8);                               // PM timer; no GPE blocks
  t.number(4, 1).number(2, 1).number(0, 1).number(4, 1);          // lengths of the blocks above
  t.number(0, 4).number(kNoC2, 2).number(kNoC3, 2).number(0, 6);  // ... DUTY_WIDTH
  t.number(0, 2).number(kCentury, 1);                             // no alarms beyond a day
  t.number(kLegacyDevices | kNoVga | kNoAspm, 2).number(0, 1);
  t.number(
      kWbinvd | kProcC1 | kNoPowerButton | kNoSleepButton | kNoFixedRtc | kTimer32 | kResetRegister,
      4);
  t.address(kSystemIo, 8, 1, chips::PciHost::kPort + 1).number(6, 1);
  t.number(0, 2).number(5, 1);  // minor version 5
  // 64-bit forms; the FACS may have one of the two only.
  t.number(0, 8).number(dsdt_at, 8);
  t.address(kSystemIo, 32, 2, kEvent).address(0, 0, 0, 0).address(kSystemIo, 16, 2, kControl);
  t.address(0, 0, 0, 0).address(0, 0, 0, 0).address(kSystemIo, 32, 3, kTimer);
  for (int i = 0; i < 4; ++i) t.address(0, 0, 0, 0);  // GPE0, GPE1, sleep control and status
  return t.number(0, 8).take();                       // hypervisor vendor
}

// "Firmware ACPI Control Structure (FACS)": no checksum.
std::vector<uint8_t> facs() {
  Table t;
  t.text("FACS", 4).number(64, 4).number(0, 24).number(2, 1).number(0, 31);
  return t.take_raw();
}

// "Multiple APIC Description Table (MADT)".
std::vector<uint8_t> madt(unsigned processors) {
  constexpr uint32_t kPcatCompatible = 1, kEnabled = 1;
  constexpr uint16_t kLevelHigh = 0x000d, kBusDefault = 0;
  Table t("APIC", 6);
  t.number(0xfee00000, 4).number(kPcatCompatible, 4);
  for (unsigned i = 0; i < processors; ++i)
    t.number(0, 1).number(8, 1).number(i, 1).number(i, 1).number(kEnabled, 4);
  t.number(1, 1).number(12, 1).number(0, 2).number(0xfec00000, 4).number(0, 4);
  const auto interrupt_override = [&](unsigned irq, unsigned pin, uint16_t flags) {
    t.number(2, 1).number(10, 1).number(0, 1).number(irq, 1).number(pin, 4).number(flags, 2);
  };
  interrupt_override(0, 2, kBusDefault);
  interrupt_override(AcpiPm::kSci, AcpiPm::kSci, kLevelHigh);
  t.number(4, 1).number(6, 1).number(0xff, 1).number(0, 2).number(1, 1);  // NMI at LINT1
  return t.take();
}

std::vector<uint8_t> root_table(std::string_view signature, unsigned width,
                                std::initializer_list<uint64_t> tables) {
  Table t(signature, 1);
  for (const uint64_t at : tables) t.number(at, width);
  return t.take();
}

// "Root System Description Pointer (RSDP)": one checksum over the part of ACPI 1.0, one over all.
std::vector<uint8_t> rsdp(uint64_t rsdt, uint64_t xsdt) {
  constexpr size_t kOldLength = 20, kLength = 36, kOldChecksumAt = 8, kChecksumAllAt = 32;
  Table t;
  t.text("RSD PTR ", 8).number(0, 1).text("CUPEL", 6).number(2, 1).number(rsdt, 4);
  t.number(kLength, 4).number(xsdt, 8).number(0, 4);
  t.close(kOldChecksumAt, kOldLength);
  t.close(kChecksumAllAt, kLength);
  return t.take_raw();
}

}  // namespace

Gpa write_acpi_tables(unsigned processors, GuestMemory& memory) {
  assert(processors >= 1 && processors <= 255);
  constexpr uint64_t kRsdpRoom = 64, kAlignment = 64;  // the FACS wants 64
  uint64_t next = kAcpiTables.value() + kRsdpRoom;
  const auto place = [&](const std::vector<uint8_t>& table) {
    const uint64_t at = next;
    memory.write(Gpa(at), std::as_bytes(std::span(table)));
    next = (at + table.size() + kAlignment - 1) & ~(kAlignment - 1);
    assert(next <= kAcpiTables.value() + kAcpiTablesRoom);
    return at;
  };
  const uint64_t facs_at = place(facs()), dsdt_at = place(dsdt());
  const uint64_t fadt_at = place(fadt(facs_at, dsdt_at)), madt_at = place(madt(processors));
  const uint64_t rsdt_at = place(root_table("RSDT", 4, {fadt_at, madt_at}));
  const uint64_t xsdt_at = place(root_table("XSDT", 8, {fadt_at, madt_at}));
  const auto root = rsdp(rsdt_at, xsdt_at);
  memory.write(kAcpiTables, std::as_bytes(std::span(root)));
  return kAcpiTables;
}

}  // namespace cupel::platform
