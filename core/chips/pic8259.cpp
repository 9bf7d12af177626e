#include "core/chips/pic8259.h"

#include <bit>

#include "core/chips/fields.h"

namespace cupel::chips {
namespace {

constexpr unsigned kCascade = 2;
// Timer, keyboard, cascade, clock and coprocessor are always edge-triggered.
constexpr uint8_t kMasterLevelCapable = 0xf8;
constexpr uint8_t kSlaveLevelCapable = 0xde;

constexpr uint8_t bit(unsigned n) { return static_cast<uint8_t>(1u << (n & 7)); }

}  // namespace

void Pic8259::set_input(unsigned input, bool level) {
  const uint8_t mask = bit(input);
  if (level) {
    if ((lines_ & mask) == 0) edges_ |= mask;
    lines_ |= mask;
  } else {
    lines_ &= static_cast<uint8_t>(~mask);
    edges_ &= static_cast<uint8_t>(~mask);
  }
  update();
}

uint8_t Pic8259::requests() const {
  const uint8_t level = level_inputs();
  return static_cast<uint8_t>((lines_ & level) | (edges_ & ~level));
}

// Rank of the most urgent input in `mask`: 0 = highest, 8 = none.
unsigned Pic8259::priority(uint8_t mask) const {
  if (mask == 0) return kNone;
  return static_cast<unsigned>(std::countr_zero(std::rotr(mask, (lowest_ + 1) & 7)));
}

unsigned Pic8259::winner() const {
  const unsigned wanted = priority(requests() & static_cast<uint8_t>(~mask_));
  if (wanted == kNone) return kNone;
  uint8_t blocking = service_;
  if (special_mask_) blocking &= static_cast<uint8_t>(~mask_);
  // Special fully nested: the slave may interrupt its own service with something more urgent, so
  // its bit blocks what ranks below it, but not itself.
  const unsigned blocked = priority(blocking);
  const unsigned input = (wanted + lowest_ + 1) & 7;
  const bool renested = special_nested_ && role_ == Role::master && input == kCascade;
  return wanted < blocked || (renested && wanted == blocked) ? input : kNone;
}

void Pic8259::take(unsigned input) {
  edges_ &= static_cast<uint8_t>(~bit(input));
  if (!auto_eoi_) {
    service_ |= bit(input);
  } else if (rotate_on_auto_eoi_) {
    lowest_ = static_cast<uint8_t>(input);
  }
  update();
}

unsigned Pic8259::acknowledge() {
  const unsigned input = winner();
  if (input == kNone) return 7;
  take(input);
  return input;
}

uint8_t Pic8259::poll() {
  const unsigned input = winner();
  poll_ = false;
  if (input == kNone) return 0;
  take(input);
  return static_cast<uint8_t>(0x80 | input);
}

uint8_t Pic8259::read_register(unsigned port) {
  if (poll_) return poll();
  if (port != 0) return mask_;
  return read_service_ ? service_ : requests();
}

void Pic8259::write_register(unsigned port, uint8_t value) {
  if (port == 0) {
    if ((value & 0x10) != 0) {
      start_initialization(value);
    } else if ((value & 0x08) != 0) {
      write_control(value);
    } else {
      end_of_interrupt(value);
    }
  } else if (next_icw_ != 0) {
    continue_initialization(value);
  } else {
    mask_ = value;
  }
  update();
}

void Pic8259::start_initialization(uint8_t icw1) {
  edges_ = 0;  // an input must rise again to be heard
  mask_ = 0;
  service_ = 0;
  lowest_ = 7;
  special_mask_ = false;
  read_service_ = false;
  poll_ = false;
  auto_eoi_ = false;
  rotate_on_auto_eoi_ = false;
  special_nested_ = false;
  needs_icw4_ = (icw1 & 0x01) != 0;
  single_ = (icw1 & 0x02) != 0;
  level_mode_ = (icw1 & 0x08) != 0;
  next_icw_ = 2;
}

// ICW3 names the cascade input, which is wired; ICW4 in 8080 mode is not modelled.
void Pic8259::continue_initialization(uint8_t value) {
  const uint8_t current = next_icw_;
  if (current == 2) base_ = value & 0xf8;
  if (current == 4) {
    auto_eoi_ = (value & 0x02) != 0;
    special_nested_ = (value & 0x10) != 0;
  }
  if (current == 2 && !single_) {
    next_icw_ = 3;
  } else {
    next_icw_ = current != 4 && needs_icw4_ ? 4 : 0;
  }
}

// OCW2: bit 7 rotate, bit 6 specific, bit 5 end of interrupt.
void Pic8259::end_of_interrupt(uint8_t ocw2) {
  const bool rotate = (ocw2 & 0x80) != 0;
  const bool specific = (ocw2 & 0x40) != 0;
  const bool eoi = (ocw2 & 0x20) != 0;
  if (!eoi && !specific) {
    rotate_on_auto_eoi_ = rotate;
    return;
  }
  if (!eoi && !rotate) return;  // no operation
  unsigned input = ocw2 & 7;
  if (eoi && !specific) {
    // In special mask mode, a masked input in service is not the one meant.
    const uint8_t served = special_mask_ ? service_ & static_cast<uint8_t>(~mask_) : service_;
    const unsigned rank = priority(served);
    if (rank == kNone) return;
    input = (rank + lowest_ + 1) & 7;
  }
  if (eoi) service_ &= static_cast<uint8_t>(~bit(input));
  if (rotate) lowest_ = static_cast<uint8_t>(input);
}

void Pic8259::write_control(uint8_t ocw3) {
  if ((ocw3 & 0x40) != 0) special_mask_ = (ocw3 & 0x20) != 0;
  poll_ = (ocw3 & 0x04) != 0;
  if ((ocw3 & 0x02) != 0) read_service_ = (ocw3 & 0x01) != 0;
}

void Pic8259::set_edge_level_control(uint8_t value) {
  edge_level_ = value & (role_ == Role::master ? kMasterLevelCapable : kSlaveLevelCapable);
  update();
}

void Pic8259::save(ArchiveWriter& out) const { fields(*this, FieldWriter(out)); }

void Pic8259::restore(ArchiveReader& in) {
  fields(*this, FieldReader(in));
  lowest_ &= 7;
  base_ &= 0xf8;
  if (next_icw_ > 4) next_icw_ = 0;
  update();
}

DualPic8259::DualPic8259()
    : master_ports_(*this, master_), slave_ports_(*this, slave_), edge_level_ports_(*this) {}

void DualPic8259::update() {
  master_.set_input(kCascade, slave_.pending());
  intr.set(master_.pending());
}

void DualPic8259::set_irq(unsigned line, bool level) {
  if (line == kCascade || line > 15) return;
  (line < 8 ? master_ : slave_).set_input(line & 7, level);
  update();
}

uint8_t DualPic8259::acknowledge() {
  const bool spurious = !master_.pending();
  const unsigned input = master_.acknowledge();
  uint8_t vector = master_.vector(input);
  if (!spurious && input == kCascade) {
    vector = slave_.vector(slave_.acknowledge());
    // INTA drops the slave's output; what else is pending there raises it again.
    master_.set_input(kCascade, false);
  }
  update();
  return vector;
}

uint8_t DualPic8259::Ports::read_byte(uint64_t offset) {
  const uint8_t value = chip_.read_register(static_cast<unsigned>(offset & 1));
  owner_.update();
  return value;
}

void DualPic8259::Ports::write_byte(uint64_t offset, uint8_t value) {
  chip_.write_register(static_cast<unsigned>(offset & 1), value);
  owner_.update();
}

uint8_t DualPic8259::EdgeLevelPorts::read_byte(uint64_t offset) {
  return (offset & 1) == 0 ? owner_.master_.edge_level_control()
                           : owner_.slave_.edge_level_control();
}

void DualPic8259::EdgeLevelPorts::write_byte(uint64_t offset, uint8_t value) {
  ((offset & 1) == 0 ? owner_.master_ : owner_.slave_).set_edge_level_control(value);
  owner_.update();
}

void DualPic8259::save(ArchiveWriter& out) const {
  out.section("pic8259", 1);
  master_.save(out);
  slave_.save(out);
}

void DualPic8259::restore(ArchiveReader& in) {
  in.section("pic8259", 1);
  master_.restore(in);
  slave_.restore(in);
  intr.restore_level(master_.pending());
}

}  // namespace cupel::chips
