// Generated VMCS states near the border of validity, one line each, for comparison between two
// machines with the same capabilities. Freestanding.
#pragma once

#include <cstdint>

#include "hypervisor/metal/lab.h"

namespace cupel::metal {

// Prints "state N: changes -> outcome" for states first .. first+count-1 of the seed. State N
// depends on the seed and N alone, so that any of them can be repeated by itself. A state starts
// as a VMCS that passes, in one of several guest modes; one to three fields are then changed. The
// entry, when it succeeds, ends by a preemption timer of 0. False when the timer is not offered.
bool run_random_states(Lab& lab, uint64_t seed, uint64_t first, uint64_t count);

}  // namespace cupel::metal
