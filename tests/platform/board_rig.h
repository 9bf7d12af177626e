// A board whose sinks are recorded.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "hw_models/platform/board.h"

namespace cupel::platform {

struct BoardRig {
  explicit BoardRig(unsigned processors = 1) : BoardRig(BoardConfig{.processors = processors}) {}
  explicit BoardRig(BoardConfig config) : board(Board::create(clock, config).value()) {
    board->set_event_sink([this](unsigned cpu, chips::DeliveryMode mode, uint8_t vector) {
      events.emplace_back(cpu, mode, vector);
    });
    board->set_interrupt_sink(
        [this](unsigned cpu, bool pending) { interrupts.emplace_back(cpu, pending); });
    board->set_exit_sink([this](const chips::ExitRequest& r) { exits.push_back(r); });
    board->set_deadline_sink([this](Nanoseconds when) { deadlines.push_back(when); });
  }
  cpu::SystemBus& bus(unsigned cpu = 0) { return board->bus(cpu); }
  void out(uint16_t port, uint32_t value, unsigned size = 1) { bus().port_out(port, size, value); }
  uint32_t in(uint16_t port, unsigned size = 1) { return bus().port_in(port, size); }
  void outs(uint16_t port, const std::string& text) {
    for (const char c : text) out(port, static_cast<uint8_t>(c));
  }
  // Lets time pass, obeying deadlines as an owner does.
  void run(Nanoseconds duration) {
    const Nanoseconds end = clock.now() + duration;
    while (board->next_deadline() <= end) {
      clock.advance_to(board->next_deadline());
      board->advance(clock.now());
    }
    clock.advance_to(end);
    board->advance(end);
  }
  // Both 8259s at vectors 0x30 and 0x38, nothing masked.
  void init_pic() {
    const std::pair<uint16_t, uint32_t> writes[] = {
        {0x20, 0x11}, {0x21, 0x30}, {0x21, 4}, {0x21, 1}, {0x21, 0},
        {0xa0, 0x11}, {0xa1, 0x38}, {0xa1, 2}, {0xa1, 1}, {0xa1, 0}};
    for (const auto& [port, value] : writes) out(port, value);
  }
  // Local APIC registers of a processor at the usual place.
  uint32_t apic(unsigned cpu, uint32_t offset) {
    return static_cast<uint32_t>(bus(cpu).read(Hpa(0xfee00000 + offset), 4));
  }
  void set_apic(unsigned cpu, uint32_t offset, uint32_t value) {
    bus(cpu).write(Hpa(0xfee00000 + offset), 4, value);
  }
  void set_io_apic(uint8_t index, uint32_t value) {
    bus().write(Hpa(0xfec00000), 4, index);
    bus().write(Hpa(0xfec00010), 4, value);
  }
  // Pin -> fixed, edge, physical destination.
  void route(unsigned pin, uint8_t vector, unsigned cpu, uint32_t flags = 0) {
    set_io_apic(static_cast<uint8_t>(0x11 + 2 * pin), cpu << 24);
    set_io_apic(static_cast<uint8_t>(0x10 + 2 * pin), vector | flags);
  }
  // PIT counter 0 as a rate generator.
  void start_timer(uint16_t count) {
    out(0x43, 0x34);
    out(0x40, count & 0xff);
    out(0x40, count >> 8);
  }

  VirtualClock clock;
  std::unique_ptr<Board> board;
  std::vector<std::tuple<unsigned, chips::DeliveryMode, uint8_t>> events;
  std::vector<std::pair<unsigned, bool>> interrupts;
  std::vector<chips::ExitRequest> exits;
  std::vector<Nanoseconds> deadlines;
};

}  // namespace cupel::platform
