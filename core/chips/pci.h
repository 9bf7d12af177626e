// PCI as the guest sees it: one bus of type-0 functions behind configuration mechanism #1.
// Source: PCI Local Bus Specification 3.0, "Configuration Space" and "Configuration Mechanism #1".
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "core/archive.h"
#include "core/bus.h"
#include "core/types.h"

namespace cupel::chips {

// One function: 256 bytes of configuration space as values and write masks, so that BAR sizing and
// read-only fields need no code of their own. Multi-byte registers are little-endian.
class PciFunction {
 public:
  static constexpr unsigned kBars = 6;
  struct Identity {
    uint16_t vendor = 0, device = 0;
    uint16_t subsystem_vendor = 0, subsystem = 0;
    uint8_t revision = 0;
    uint32_t class_code = 0;  // 24 bits: base class, subclass, interface
    bool interrupt = false;   // uses INTA#
  };

  explicit PciFunction(const Identity& identity);
  virtual ~PciFunction() = default;
  PciFunction(const PciFunction&) = delete;
  PciFunction& operator=(const PciFunction&) = delete;

  // offset + size <= 256, size 1, 2 or 4: the host guarantees both.
  virtual uint32_t config_read(unsigned offset, unsigned size);
  virtual void config_write(unsigned offset, unsigned size, uint32_t value);
  // offset + size <= the BAR's size. Default: all ones, dropped.
  virtual uint64_t bar_read(unsigned bar, uint64_t offset, unsigned size);
  virtual void bar_write(unsigned bar, uint64_t offset, unsigned size, uint64_t value);

  uint64_t bar_size(unsigned bar) const { return bar_size_[bar]; }
  // Where the BAR answers now; meaningful while decodes_memory().
  Gpa bar_address(unsigned bar) const;
  bool decodes_memory() const;
  // The level this function drives on INTA#: its cause, gated by Command bit 10.
  bool intx_level() const;

  // Firmware's work, done by the host when the function is added.
  void place_bar(unsigned bar, Gpa at);
  void set_interrupt_line(uint8_t irq);

  void save(ArchiveWriter& out) const;
  void restore(ArchiveReader& in);

 protected:
  // A 32-bit memory BAR, not prefetchable. size: power of two, 16 bytes .. 16 MiB.
  void add_memory_bar(unsigned bar, uint32_t size);
  // Appends a capability; `body` starts after the ID and next bytes, whose masks are read-only.
  // Returns the capability's offset.
  unsigned add_capability(uint8_t id, std::span<const uint8_t> body);
  void make_writable(unsigned offset, unsigned size);
  void set_interrupt(bool asserted);

  uint32_t raw(unsigned offset, unsigned size) const;
  void set_raw(unsigned offset, unsigned size, uint32_t value);

 private:
  friend class PciHost;

  std::array<uint8_t, 256> value_{};
  std::array<uint8_t, 256> writable_{};
  std::array<uint32_t, kBars> bar_size_{};
  unsigned next_capability_ = 0x40;
  unsigned last_link_ = 0x34;             // where the next capability's offset goes
  std::function<void()> wires_changed_;   // INTA# may have changed
  std::function<void()> decode_changed_;  // a BAR or the Command register was written
};

// Host bridge and bus 0. Functions are borrowed and must live as long as the host; slot 0 is the
// bridge itself. BARs are placed at 0xe0000000 upward, and Interrupt Line is filled in, so that a
// guest needs no firmware: IRQ 10, 11, 9, 5 by slot. If a guest lets BARs overlap, the lower slot
// answers.
class PciHost : public BusDevice {
 public:
  static constexpr uint16_t kPort = 0xcf8;  // 8 ports; byte port 0xcf9 is reset control
  static constexpr unsigned kSlots = 32;
  static constexpr uint64_t kMemoryStart = 0xe0000000;
  static constexpr uint64_t kMemoryEnd = 0xfec00000;
  // Level-triggered, wired-OR. irq: ISA IRQ number.
  using InterruptSink = std::function<void(unsigned irq, bool level)>;

  explicit PciHost(InterruptSink sink);

  // Takes the next free slot and returns it; bad_input when the bus is full.
  Result<unsigned> add(PciFunction& function);
  static unsigned irq_of_slot(unsigned slot);

  // Ports 0xcf8-0xcff.
  uint64_t read(uint64_t offset, unsigned size) override;
  void write(uint64_t offset, unsigned size, uint64_t value) override;
  void set_reset_handler(std::function<void()> handler) { on_reset_ = std::move(handler); }

  // False: no enabled BAR contains the whole access.
  bool mmio_read(Gpa at, unsigned size, uint64_t& value);
  bool mmio_write(Gpa at, unsigned size, uint64_t value);

  void save(ArchiveWriter& out) const;
  // The host's own registers and wires; call after the interrupt controller and the functions.
  void restore(ArchiveReader& in);

 private:
  struct Window {
    uint64_t start, size;
    PciFunction* function;
    unsigned bar;
  };
  PciFunction* selected() const;
  const Window* find(Gpa at, unsigned size) const;
  void rebuild_windows();
  void update_interrupts();

  InterruptSink sink_;
  std::function<void()> on_reset_;
  PciFunction bridge_;
  std::vector<PciFunction*> slots_;
  std::vector<Window> windows_;
  std::array<bool, 16> irq_level_{};
  uint64_t next_address_ = kMemoryStart;
  uint32_t address_ = 0;  // CONFIG_ADDRESS
  uint8_t reset_control_ = 0;
};

}  // namespace cupel::chips
