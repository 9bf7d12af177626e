// The board of a modelled machine: everything its processors reach beside RAM.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/archive.h"
#include "core/bus.h"
#include "core/chips/apic_bus.h"
#include "core/chips/exit_ports.h"
#include "core/chips/io_apic.h"
#include "core/chips/local_apic.h"
#include "core/chips/pci.h"
#include "core/chips/pic8259.h"
#include "core/chips/pit8254.h"
#include "core/chips/rtc146818.h"
#include "core/chips/uart16550.h"
#include "core/clock.h"
#include "core/error.h"
#include "core/guest_memory.h"
#include "hw_models/cpu/system_bus.h"
#include "hw_models/platform/acpi_pm.h"
#include "hw_models/platform/deadlines.h"
#include "hw_models/platform/fw_cfg.h"

namespace cupel::platform {

struct BoardConfig {
  unsigned processors = 1;                 // 1 .. Board::kMostProcessors; APIC ID = number
  uint64_t ram = 512_MiB;                  // bytes from 0 up, whole pages, 2 MiB .. 3.5 GiB
  int64_t start_epoch = 1'767'225'600;     // time of day at virtual time 0: 2026-01-01 00:00 UTC
  uint64_t tsc_hz = 1'000'000'000;         // for IA32_TSC_DEADLINE
  uint64_t apic_timer_hz = 1'000'000'000;  // of the local APIC timers; CPUID.15H:ECX if there
  bool x2apic = true;                      // CPUID.1:ECX[21]
  unsigned physical_bits = 46;             // MAXPHYADDR, 32..52
};

// A PC of the 440FX kind, as QEMU's "pc" shows it to software where images depend on that.
//   ports   0x20, 0xa0, 0x4d0 8259 pair; 0x40 8254; 0x61; 0x64 and 0x92 (reset only); 0x70 RTC and
//           CMOS; 0x80, 0xed delay; 0xf4 debug exit; 0x3f8 16550 at IRQ 4; 0x510 fw_cfg; 0x600 ACPI
//           power management, SCI at IRQ 9; 0xcf8 PCI; 0xcf9 reset; 0x8900 "Shutdown"
//   memory  I/O APIC at 0xfec00000, each processor's local APIC at its own IA32_APIC_BASE
//   PCI     00:00.0 host bridge, 00:01.0 ISA bridge
// Interrupts of the 8259 pair reach LINT0 of processor 0, which is in virtual-wire mode at reset;
// the I/O APIC has ISA interrupts at the pins of their number, IRQ 0 at pin 2.
//
// Owner's duties: call advance() when the clock reaches next_deadline(); obey the sinks; call
// reset() when exit_request() asks for one and the machine is to go on. Sinks are called while an
// access of a processor is under way, or inside advance(); they must not come back into the board
// except through its const functions and init_local_apic(). Not thread-safe.
class Board {
 public:
  static constexpr unsigned kMostProcessors = 64;

  // Borrows the clock. It may be set back between the turns of several processors: chips ignore
  // time that they have seen. Errors: bad_input for what BoardConfig rules out.
  static Result<std::unique_ptr<Board>> create(const VirtualClock& clock, BoardConfig config);
  ~Board();

  const BoardConfig& config() const { return config_; }
  // cpu < processors. Valid as long as the board.
  cpu::SystemBus& bus(unsigned cpu);

  // NMI, SMI, INIT and start-up (vector: the page to start at) for a processor. Whether INIT counts
  // is the processor's to say (VMX root operation blocks it, non-root exits): when it does, the
  // owner calls init_local_apic().
  using EventSink = std::function<void(unsigned cpu, chips::DeliveryMode mode, uint8_t vector)>;
  void set_event_sink(EventSink sink) { event_sink_ = std::move(sink); }
  void init_local_apic(unsigned cpu);
  // bus(cpu).interrupt_pending() changed. A new level comes after the access, the advance(), or the
  // acknowledge that made it.
  using InterruptSink = std::function<void(unsigned cpu, bool pending)>;
  void set_interrupt_sink(InterruptSink sink) { interrupt_sink_ = std::move(sink); }
  // The first request to end or restart the machine since create(), reset() or restore().
  using ExitSink = std::function<void(const chips::ExitRequest& request)>;
  void set_exit_sink(ExitSink sink) { exit_sink_ = std::move(sink); }
  const chips::ExitRequest& exit_request() const { return exits_.request(); }

  // Chips do what falls due up to `now`. Calling it early or twice costs little and changes
  // nothing.
  void advance(Nanoseconds now);
  // The time of the next change by itself, Nanoseconds::max() for never.
  Nanoseconds next_deadline() const { return deadlines_.earliest(); }
  // next_deadline() is now `when`: earlier or later than before.
  void set_deadline_sink(Deadlines::Sink sink) { deadlines_.set_sink(std::move(sink)); }

  // What the machine sent over its serial port since the last take; the caller bounds it by taking.
  std::string take_serial_output();
  // Typed at it: waits for room in the receiver, never lost but by reset().
  void serial_input(std::string_view text);

  // ACPI tables, at 0xf0000 of the machine's memory, which must be config().ram bytes. Returns the
  // root pointer's address. Memory is the owner's: again after a reset that clears it.
  Gpa write_firmware_tables(GuestMemory& memory) const;

  // Power-on state for everything but the time of day and CMOS RAM; memory and processors are the
  // owner's. The queue of serial input and exit_request() are emptied, output is kept. Afterwards
  // no interrupt is pending, and only the deadline sink has heard of it.
  void reset();

  // A processor's TSC shows `offset` more than the virtual clock counted: for its APIC timer.
  void set_tsc_offset(unsigned cpu, int64_t offset);

  // Everything but sinks and serial output. Restoring into another configuration is refused with
  // bad_input before anything has changed; a damaged archive is bad_input too, and leaves a board
  // that works in some state. Only the deadline sink hears of it.
  void save(ArchiveWriter& out) const;
  Result<void> restore(ArchiveReader& in);

 private:
  friend class ProcessorBus;
  Board(const VirtualClock& clock, const BoardConfig& config);
  Result<void> attach();
  void connect();
  void set_irq(unsigned irq, bool level);
  bool interrupt_pending(unsigned cpu) const;
  uint8_t acknowledge_interrupt(unsigned cpu);
  uint32_t port_in(uint16_t port, unsigned size);
  void port_out(uint16_t port, unsigned size, uint32_t value);
  // Tells the sinks what an access, or time, has changed.
  void settle();
  void touched_by_port(uint16_t port);
  void apic_touched(unsigned cpu);
  // All but the RTC, which reset leaves alone.
  void save_chips(ArchiveWriter& out) const;
  void restore_chips(ArchiveReader& in);

  const BoardConfig config_;
  Bus ports_{"port"};
  chips::DualPic8259 pic_;
  chips::Pit8254 pit_;
  chips::SystemControlPortB port_b_;
  chips::Rtc146818 rtc_;
  chips::Uart16550 uart_;
  chips::IoApic io_apic_;
  chips::ApicBus apic_bus_;
  chips::ExitPorts exits_;
  chips::PciHost pci_;
  chips::PciFunction isa_bridge_;
  FwCfg fw_cfg_;
  AcpiPm pm_;
  std::vector<std::unique_ptr<chips::LocalApic>> apics_;
  std::vector<std::unique_ptr<cpu::SystemBus>> buses_;
  Deadlines deadlines_;
  std::string serial_output_;
  EventSink event_sink_;
  InterruptSink interrupt_sink_;
  ExitSink exit_sink_;
  uint64_t pending_ = 0;  // interrupt_pending() of each processor, as the sink knows it
  bool exit_told_ = false;
  std::vector<std::byte> power_on_state_;
};

}  // namespace cupel::platform
