// The PC's pair of 8259A interrupt controllers. Source: Intel 8259A data sheet; Intel 82371AB
// (PIIX4) data sheet for the edge/level control registers.
#pragma once

#include <array>
#include <cstdint>

#include "core/chips/byte_device.h"
#include "core/chips/chip.h"
#include "core/irq_line.h"

namespace cupel::chips {

// One 8259A, eight inputs. A request must stay up until it is acknowledged, or it is withdrawn and
// an acknowledge finds the default, input 7.
class Pic8259 {
 public:
  // role: which of the two; the slave hangs on input 2 of the master.
  enum class Role : uint8_t { master, slave };
  explicit Pic8259(Role role) : role_(role) {}

  void set_input(unsigned input, bool level);
  bool pending() const { return pending_; }
  // The input whose request wins now, moved into service; 7 when there is none (spurious).
  unsigned acknowledge();
  uint8_t vector(unsigned input) const { return static_cast<uint8_t>(base_ | input); }

  uint8_t read_register(unsigned port);
  void write_register(unsigned port, uint8_t value);
  uint8_t edge_level_control() const { return edge_level_; }
  void set_edge_level_control(uint8_t value);

  void save(ArchiveWriter& out) const;
  void restore(ArchiveReader& in);

 private:
  static constexpr unsigned kNone = 8;

  uint8_t level_inputs() const { return level_mode_ ? 0xff : edge_level_; }
  uint8_t requests() const;
  unsigned priority(uint8_t mask) const;
  unsigned winner() const;
  void take(unsigned input);
  uint8_t poll();
  void update() { pending_ = winner() != kNone; }

  void start_initialization(uint8_t icw1);
  void continue_initialization(uint8_t value);
  void end_of_interrupt(uint8_t ocw2);
  void write_control(uint8_t ocw3);

  template <class Self, class Visit>
  static void fields(Self& s, Visit&& visit) {
    visit(s.lines_, s.edges_, s.mask_, s.service_, s.base_, s.lowest_, s.edge_level_, s.next_icw_,
          s.needs_icw4_, s.single_, s.level_mode_, s.auto_eoi_, s.rotate_on_auto_eoi_,
          s.special_mask_, s.special_nested_, s.read_service_, s.poll_);
  }

  Role role_;
  bool pending_ = false;  // cached INT output
  uint8_t lines_ = 0;     // input levels
  uint8_t edges_ = 0;     // edge-sense latches
  uint8_t mask_ = 0;      // IMR
  uint8_t service_ = 0;   // ISR
  uint8_t base_ = 0;      // vector of input 0
  uint8_t lowest_ = 7;    // input of the lowest priority
  uint8_t edge_level_ = 0;
  uint8_t next_icw_ = 0;  // 2..4 while being initialized
  bool needs_icw4_ = false;
  bool single_ = false;
  bool level_mode_ = false;
  bool auto_eoi_ = false;
  bool rotate_on_auto_eoi_ = false;
  bool special_mask_ = false;
  bool special_nested_ = false;
  bool read_service_ = false;
  bool poll_ = false;
};

// Master and slave, wired as in a PC. Ports: master 0x20-0x21, slave 0xa0-0xa1, ELCR 0x4d0-0x4d1.
class DualPic8259 : public Chip {
 public:
  DualPic8259();

  BusDevice& master_ports() { return master_ports_; }
  BusDevice& slave_ports() { return slave_ports_; }
  BusDevice& edge_level_ports() { return edge_level_ports_; }

  // line 0..15; 2 is the cascade and, like lines that do not exist, ignored.
  void set_irq(unsigned line, bool level);
  // The INTR output. Cached: costs a load.
  bool pending() const { return master_.pending(); }
  // The INTA cycle: the vector of the winning request, or of a spurious one.
  uint8_t acknowledge();

  void save(ArchiveWriter& out) const override;
  void restore(ArchiveReader& in) override;

  IrqLine intr;  // follows pending()

 private:
  class Ports : public ByteDevice {
   public:
    Ports(DualPic8259& owner, Pic8259& chip) : owner_(owner), chip_(chip) {}

   protected:
    uint8_t read_byte(uint64_t offset) override;
    void write_byte(uint64_t offset, uint8_t value) override;

   private:
    DualPic8259& owner_;
    Pic8259& chip_;
  };
  class EdgeLevelPorts : public ByteDevice {
   public:
    explicit EdgeLevelPorts(DualPic8259& owner) : owner_(owner) {}

   protected:
    uint8_t read_byte(uint64_t offset) override;
    void write_byte(uint64_t offset, uint8_t value) override;

   private:
    DualPic8259& owner_;
  };

  void update();

  Pic8259 master_{Pic8259::Role::master};
  Pic8259 slave_{Pic8259::Role::slave};
  Ports master_ports_;
  Ports slave_ports_;
  EdgeLevelPorts edge_level_ports_;
};

}  // namespace cupel::chips
