// Benchmarks between two lines on the console, which an observer times by the wall clock: the
// image's own clock means nothing on an emulator. Freestanding.
#pragma once

#include <cstdint>

#include "hypervisor/metal/lab.h"

namespace cupel::metal {

// iterations: of each benchmark; 0 takes its default. False when something went wrong, which the
// console then says.
bool run_benchmarks(Lab& lab, uint64_t iterations, const char* name);

}  // namespace cupel::metal
