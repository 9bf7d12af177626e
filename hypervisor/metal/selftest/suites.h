// The groups of the self-test. Freestanding.
#pragma once

#include "hypervisor/metal/lab.h"
#include "hypervisor/metal/tap.h"

namespace cupel::metal {

void test_exits_basic(Tap& tap, Lab& lab);

}  // namespace cupel::metal
