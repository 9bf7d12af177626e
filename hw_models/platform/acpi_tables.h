// The ACPI tables of the board. Source: ACPI 6.5, section 5.2 "ACPI System Description Tables".
#pragma once

#include "core/guest_memory.h"
#include "core/types.h"

namespace cupel::platform {

// Where the tables stand: reserved in boot::memory_map(), and where software looks for the root
// pointer.
inline constexpr Gpa kAcpiTables{0xf0000};
inline constexpr uint64_t kAcpiTablesRoom = 0x10000;

// Writes RSDP (at kAcpiTables), RSDT, XSDT, FADT, FACS, DSDT and MADT, and returns the RSDP's
// address. What they say of the board:
//   FADT  SCI at IRQ 9, PM registers at 0x600, reset by 6 to port 0xcf9, no keyboard, no VGA
//   DSDT  \_S5; PCI0 with its windows, the ISA bridge, COM1, RTC. No code, no _PRT, no processors
//   MADT  processors 0 .. processors-1 with APIC ID = number; I/O APIC 0 at 0xfec00000; IRQ 0 at
//         pin 2; SCI level, active high; NMI at LINT1 of all
// processors: 1 .. 255. Memory must hold the first MiB.
Gpa write_acpi_tables(unsigned processors, GuestMemory& memory);

}  // namespace cupel::platform
