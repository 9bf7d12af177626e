// The group of the self-test that needs more than one processor. Freestanding.
#pragma once

#include "hypervisor/metal/processors.h"
#include "hypervisor/metal/tap.h"

namespace cupel::metal {

// `count` processors with the APIC IDs 0 to count - 1, this one being 0. Nothing for one.
void test_smp(Tap& tap, Lab& lab, unsigned count);

}  // namespace cupel::metal
