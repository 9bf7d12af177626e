// What CPUID says of one processor among several: its APIC ID, and how many there are.
#pragma once

#include "hw_models/cpu/cpuid.h"

namespace cupel::machine {

// One package, one thread a core; APIC ID = `number`. Leaves 1, 4, 0BH (SDM vol. 2A, "CPUID");
// offers the TSC-deadline timer, which the board has.
cpu::CpuidProfile with_topology(cpu::CpuidProfile profile, unsigned number, unsigned count);

}  // namespace cupel::machine
