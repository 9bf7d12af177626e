// What travels between APICs. Source: Intel SDM vol. 3A, "Advanced Programmable Interrupt
// Controller (APIC)", sections "Interrupt Command Register" and "Handling Interrupts".
#pragma once

#include <cstdint>

namespace cupel::chips {

// The numbers are those of the delivery mode fields; 3 is reserved.
enum class DeliveryMode : uint8_t {
  fixed = 0,
  lowest_priority = 1,
  smi = 2,
  nmi = 4,
  init = 5,
  startup = 6,
  ext_int = 7,
};

// The numbers are those of the ICR field.
enum class Shorthand : uint8_t { none = 0, self = 1, all = 2, others = 3 };

struct ApicMessage {
  static constexpr uint32_t kBroadcast = 0xffff'ffff;

  uint32_t destination = 0;  // an APIC ID, kBroadcast, or, when logical, a logical destination
  bool logical = false;
  Shorthand shorthand = Shorthand::none;
  DeliveryMode mode = DeliveryMode::fixed;
  uint8_t vector = 0;
  bool level = false;  // level-triggered: the EOI goes back to the I/O APIC
};

}  // namespace cupel::chips
