// One processor's view of the board: ports, the memory-mapped chips, its own local APIC.
#pragma once

#include "hw_models/cpu/system_bus.h"
#include "hw_models/platform/board.h"

namespace cupel::platform {

// Board and APIC are borrowed.
class ProcessorBus final : public cpu::SystemBus {
 public:
  ProcessorBus(Board& board, unsigned cpu, chips::LocalApic& apic)
      : board_(board), cpu_(cpu), apic_(apic) {}

  uint32_t port_in(uint16_t port, unsigned size) override { return board_.port_in(port, size); }
  void port_out(uint16_t port, unsigned size, uint32_t value) override {
    board_.port_out(port, size, value);
  }
  uint64_t read(Hpa at, unsigned size) override;
  void write(Hpa at, unsigned size, uint64_t value) override;
  MsrOutcome read_msr(uint32_t index, uint64_t& value) override;
  MsrOutcome write_msr(uint32_t index, uint64_t value) override;
  uint8_t cr8() override { return apic_.task_priority() >> 4; }
  void set_cr8(uint8_t value) override;
  bool interrupt_pending() override { return board_.interrupt_pending(cpu_); }
  uint8_t acknowledge_interrupt() override { return board_.acknowledge_interrupt(cpu_); }

 private:
  // The chip that answers at `at`, and the offset in it; nullptr: none.
  BusDevice* find(Hpa at, unsigned size, uint64_t& offset);
  // After an access to the local APIC.
  void apic_touched();

  Board& board_;
  const unsigned cpu_;
  chips::LocalApic& apic_;
};

}  // namespace cupel::platform
