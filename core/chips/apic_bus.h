// Carries messages between the APICs of one machine.
#pragma once

#include <vector>

#include "core/chips/apic_message.h"
#include "core/chips/local_apic.h"

namespace cupel::chips {

// Borrows the local APICs. A lowest-priority message goes to one of those it names: the one with
// the lowest processor priority, the first attached among equals.
class ApicBus {
 public:
  // Also routes what `apic` sends.
  void attach(LocalApic& apic);
  // source: the sender, for the shorthands; nullptr for an I/O APIC or an MSI. False: nobody
  // accepted the message.
  bool deliver(const ApicMessage& message, const LocalApic* source = nullptr);

 private:
  bool addressed(const LocalApic& apic, const ApicMessage& message, const LocalApic* source) const;

  std::vector<LocalApic*> apics_;
};

}  // namespace cupel::chips
