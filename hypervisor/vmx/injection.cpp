#include "hypervisor/vmx/injection.h"

namespace cupel::vmx {
namespace {

using namespace x86;

enum class Class : uint8_t { benign, contributory, page_fault };

Class class_of(uint8_t vector) {
  switch (vector) {
    case kDE:
    case kTS:
    case kNP:
    case kSS:
    case kGP:
    case kCP:
      return Class::contributory;
    case kPF:
    case kVE:
      return Class::page_fault;
    default:
      return Class::benign;
  }
}

bool is_exception(const Event& event) { return event.type == EventType::hardware_exception; }

}  // namespace

EventQueue::Raised EventQueue::raise(const Event& exception) {
  if (event_.valid && is_exception(event_)) {
    if (event_.vector == kDF) return Raised::triple_fault;
    const Class first = class_of(event_.vector), second = class_of(exception.vector);
    const bool doubled = first == Class::page_fault
                             ? second != Class::benign
                             : first == Class::contributory && second == Class::contributory;
    if (doubled) {
      event_ = Event::exception(kDF, 0, true);
      return Raised::double_fault;
    }
  }
  // An NMI whose delivery was interrupted stays latched; an external interrupt in the same place
  // cannot come here, because an exit during its delivery that cannot be resumed is a fault.
  if (event_.valid && event_.type == EventType::nmi) nmi_ = true;
  event_ = exception;
  return Raised::queued;
}

void EventQueue::reinject(InterruptionInfo vectoring, uint32_t error, uint32_t instruction_length) {
  if (!vectoring.valid) return;
  event_ = Event{true,  vectoring.vector,  vectoring.type, vectoring.error_code_valid,
                 error, instruction_length};
}

EventQueue::Decision EventQueue::decide(bool interrupt_pending, uint64_t rflags,
                                        uint32_t interruptibility, bool virtual_nmis) const {
  const bool shadow = (interruptibility & (interruptibility::sti | interruptibility::mov_ss)) != 0;
  const bool nmi_blocked = (interruptibility & interruptibility::nmi) != 0;
  Decision d;
  if (event_.valid) {
    d.inject = event_;
  } else if (nmi_ && !shadow && !nmi_blocked) {
    d.inject = Event{true, kNMI, EventType::nmi, false, 0, 0};
  } else if (!nmi_ && interrupt_pending && !shadow && (rflags & rflags::IF) != 0) {
    d.acknowledge = true;
  }
  const bool nmi_waits = nmi_ && d.inject.type != EventType::nmi;
  d.nmi_window = nmi_waits && virtual_nmis;
  d.retry = nmi_waits && !virtual_nmis;
  d.interrupt_window = interrupt_pending && !d.acknowledge;
  return d;
}

void EventQueue::injected(const Decision& decision) {
  if (!decision.inject.valid) return;
  if (event_.valid) {
    event_ = Event{};
  } else {
    nmi_ = false;
  }
}

}  // namespace cupel::vmx
