// Events on their way into the guest: exceptions, NMIs, external interrupts. Freestanding.
// SDM vol. 3C, "VM-Entry Controls for Event Injection", "Information for VM Exits During Event
// Delivery"; vol. 3A, "Interrupt 8: Double Fault Exception".
#pragma once

#include <cstdint>

#include "core/x86/exit_qualification.h"
#include "core/x86/registers.h"

namespace cupel::vmx {

struct Event {
  bool valid = false;
  uint8_t vector = 0;
  x86::EventType type = x86::EventType::external_interrupt;
  bool has_error = false;
  uint32_t error = 0;
  uint32_t instruction_length = 0;  // software interrupts and exceptions only

  x86::InterruptionInfo info() const { return {vector, type, has_error, false, valid}; }
  static Event exception(uint8_t vector, uint32_t error, bool has_error) {
    return {true, vector, x86::EventType::hardware_exception, has_error, error, 0};
  }
};

// At most one event waits for the next entry; NMIs latch one behind it, as the processor does.
class EventQueue {
 public:
  enum class Raised : uint8_t { queued, double_fault, triple_fault };

  // An exception met while emulating. On top of a waiting exception it becomes #DF or a triple
  // fault by the rules for double faults.
  [[nodiscard]] Raised raise(const Event& exception);
  // An exit interrupted the delivery of this event: it comes again at the next entry.
  void reinject(x86::InterruptionInfo vectoring, uint32_t error, uint32_t instruction_length);
  void pend_nmi() { nmi_ = true; }

  const Event& waiting() const { return event_; }
  bool nmi_pending() const { return nmi_; }
  bool empty() const { return !event_.valid && !nmi_; }
  void clear() { *this = EventQueue(); }
  void restore(const Event& event, bool nmi) {
    event_ = event;
    nmi_ = nmi;
  }

  // What the next entry does, from what waits and what the guest accepts. acknowledge: run the
  // platform's acknowledge cycle and inject that vector. retry: something is blocked that no
  // window exit reports; come back at once.
  struct Decision {
    Event inject;
    bool acknowledge = false;
    bool interrupt_window = false;
    bool nmi_window = false;
    bool retry = false;
  };
  Decision decide(bool interrupt_pending, uint64_t rflags, uint32_t interruptibility,
                  bool virtual_nmis) const;
  // The entry that injects `decision.inject` is about to be made.
  void injected(const Decision& decision);

 private:
  Event event_;
  bool nmi_ = false;
};

}  // namespace cupel::vmx
