#include "core/chips/apic_bus.h"

namespace cupel::chips {

void ApicBus::attach(LocalApic& apic) {
  apics_.push_back(&apic);
  apic.set_message_sink([this, from = &apic](const ApicMessage& m) { deliver(m, from); });
}

bool ApicBus::addressed(const LocalApic& apic, const ApicMessage& message,
                        const LocalApic* source) const {
  switch (message.shorthand) {
    case Shorthand::none:
      return apic.matches(message.destination, message.logical);
    case Shorthand::self:
      return &apic == source;
    case Shorthand::all:
      return true;
    case Shorthand::others:
      return &apic != source;
  }
  return false;
}

bool ApicBus::deliver(const ApicMessage& message, const LocalApic* source) {
  bool accepted = false;
  LocalApic* chosen = nullptr;
  for (LocalApic* apic : apics_) {
    if (!addressed(*apic, message, source)) continue;
    if (message.mode != DeliveryMode::lowest_priority) {
      accepted |= apic->deliver(message.mode, message.vector, message.level);
    } else if (apic->software_enabled() &&
               (chosen == nullptr || apic->processor_priority() < chosen->processor_priority())) {
      chosen = apic;
    }
  }
  return chosen != nullptr ? chosen->deliver(message.mode, message.vector, message.level)
                           : accepted;
}

}  // namespace cupel::chips
