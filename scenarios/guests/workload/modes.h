// What `mode=` selects.
#pragma once

#include "scenarios/guests/workload/config.h"

namespace workload {

// Recovers, then appends records until `count`. Returns only then.
void run_record(const Config& config);

// Benchmark loops: cpuid, pio, mmio, msr, hlt, spin, mips. False: no such mode.
bool run_bench(const Config& config);

// Guests that misbehave: triple, cli-spin, garbage-rings. False: no such mode.
bool run_hostile(const Config& config);

}  // namespace workload
