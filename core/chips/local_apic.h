// Local APIC, xAPIC and x2APIC. Source: Intel SDM vol. 3A, "Advanced Programmable Interrupt
// Controller (APIC)".
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>

#include "core/bus.h"
#include "core/chips/apic_message.h"
#include "core/chips/apic_timer.h"
#include "core/chips/chip.h"
#include "core/clock.h"

namespace cupel::chips {

struct LocalApicConfig {
  uint32_t id = 0;                    // x2APIC ID; its low byte is the xAPIC ID
  bool bootstrap = true;              // IA32_APIC_BASE.BSP
  bool x2apic = true;                 // may enter x2APIC mode (CPUID.1:ECX[21])
  unsigned physical_bits = 46;        // MAXPHYADDR, 32..52
  uint64_t timer_hz = 1'000'000'000;  // timer input, before the divider
  uint64_t tsc_hz = 1'000'000'000;    // for the TSC-deadline mode
};

// One processor's APIC. As a BusDevice: the 4 KiB at apic_base(), 32-bit accesses at multiples of
// 16; it reads as all ones while in x2APIC mode or disabled. MSRs go through read_msr(),
// write_msr().
//
// Deviations: a message is delivered at once, so delivery status always reads idle; an
// inter-processor interrupt is never level-triggered (as on all processors since the Pentium 4).
class LocalApic : public BusDevice, public Chip {
 public:
  // Everything but the self shorthand, which never leaves the chip.
  using MessageSink = std::function<void(const ApicMessage&)>;
  // The EOI broadcast of a level-triggered interrupt.
  using EoiSink = std::function<void(uint8_t vector)>;
  // NMI, SMI, INIT, or start-up (with its vector) for this processor. After INIT the owner calls
  // init_reset().
  using EventSink = std::function<void(DeliveryMode mode, uint8_t vector)>;

  LocalApic(const VirtualClock& clock, const LocalApicConfig& config);

  void set_message_sink(MessageSink sink) { message_sink_ = std::move(sink); }
  void set_eoi_sink(EoiSink sink) { eoi_sink_ = std::move(sink); }
  void set_event_sink(EventSink sink) { event_sink_ = std::move(sink); }

  // The vector the processor would take now, or -1. Cached: costs a load.
  int highest_pending() const { return pending_; }
  // Takes it: IRR -> ISR. The spurious vector when there is none.
  uint8_t acknowledge();
  // An interrupt for this processor, whatever its destination field was. False: refused, because
  // the vector is illegal or the APIC is disabled.
  bool inject(uint8_t vector, bool level);
  // The same for every delivery mode.
  bool deliver(DeliveryMode mode, uint8_t vector, bool level);
  // Is a message with this destination, without shorthand, for this APIC?
  bool matches(uint32_t destination, bool logical) const;

  // Local pins 0 and 1; anything else is ignored. LINT0 carries the 8259's INTR on a PC.
  void set_lint(unsigned pin, bool level);
  // An external interrupt waits: the processor should acknowledge it at the 8259, then call
  // extint_taken().
  bool extint_pending() const;
  void extint_taken() { extint_message_ = false; }
  // As PC firmware leaves the boot processor: enabled, LINT0 = ExtINT, LINT1 = NMI.
  void enable_virtual_wire();

  uint32_t id() const;
  bool hardware_enabled() const { return (base_ & kBaseEnable) != 0; }
  bool x2apic_mode() const { return (base_ & kBaseX2apic) != 0; }
  bool software_enabled() const { return hardware_enabled() && (spurious_ & 0x100) != 0; }
  uint8_t task_priority() const { return task_priority_; }  // CR8 is its high half
  void set_task_priority(uint8_t value);
  uint8_t processor_priority() const { return processor_priority_; }

  // IA32_APIC_BASE. False: #GP(0), nothing changed.
  uint64_t apic_base() const { return base_; }
  bool set_apic_base(uint64_t value);
  // MSRs 0x800..0x8ff. Empty or false: #GP(0), nothing changed.
  std::optional<uint64_t> read_msr(uint32_t msr);
  bool write_msr(uint32_t msr, uint64_t value);
  // IA32_TSC_DEADLINE.
  uint64_t tsc_deadline();
  void set_tsc_deadline(uint64_t tsc);
  void set_tsc_offset(int64_t offset) { timer_.set_tsc_offset(offset); }

  uint64_t read(uint64_t offset, unsigned size) override;
  void write(uint64_t offset, unsigned size, uint64_t value) override;

  // INIT: everything but the ID and IA32_APIC_BASE returns to its power-up state.
  void init_reset();

  void advance(Nanoseconds now) override;
  Nanoseconds next_deadline() const override;
  void save(ArchiveWriter& out) const override;
  void restore(ArchiveReader& in) override;

 private:
  static constexpr uint64_t kBaseBootstrap = 1u << 8;
  static constexpr uint64_t kBaseX2apic = 1u << 10;
  static constexpr uint64_t kBaseEnable = 1u << 11;
  enum Lvt : unsigned { kCmci, kTimer, kThermal, kPerformance, kLint0, kLint1, kError, kLvts };
  using Bits256 = std::array<uint32_t, 8>;

  static int highest(const Bits256& bits);
  void update();
  void end_of_interrupt();
  void raise_error(uint32_t error);
  void raise_local(Lvt entry);
  void evaluate_lint(unsigned pin, bool rose);

  uint32_t read_register(unsigned index) const;
  void write_register(unsigned index, uint32_t value);
  void write_spurious(uint32_t value);
  void write_lvt(Lvt entry, uint32_t value);
  void send(uint64_t icr);
  uint32_t logical_id() const;

  template <class Self, class Visit>
  static void fields(Self& s, Visit&& visit) {
    visit(s.base_, s.xapic_id_, s.task_priority_, s.logical_, s.format_, s.spurious_, s.errors_,
          s.new_errors_, s.command_, s.lvt_, s.requests_, s.service_, s.triggers_, s.lint_,
          s.extint_message_);
  }

  const VirtualClock& clock_;
  const LocalApicConfig config_;
  MessageSink message_sink_;
  EoiSink eoi_sink_;
  EventSink event_sink_;

  int pending_ = -1;
  uint8_t processor_priority_ = 0;

  uint64_t base_;
  uint8_t xapic_id_;
  uint8_t task_priority_ = 0;
  uint32_t logical_ = 0;           // LDR of xAPIC mode
  uint32_t format_ = 0xffff'ffff;  // DFR
  uint32_t spurious_ = 0xff;       // SVR
  uint32_t errors_ = 0;            // ESR as it reads
  uint32_t new_errors_ = 0;        // since ESR was last written
  uint64_t command_ = 0;           // ICR
  std::array<uint32_t, kLvts> lvt_{};
  Bits256 requests_{};  // IRR
  Bits256 service_{};   // ISR
  Bits256 triggers_{};  // TMR
  uint8_t lint_ = 0;    // levels of the two pins
  bool extint_message_ = false;
  ApicTimer timer_;
};

}  // namespace cupel::chips
