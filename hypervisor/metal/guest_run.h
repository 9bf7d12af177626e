// The hypervisor core at work: a PVH guest under hypervisor/vmx's own run loop. Freestanding.
#pragma once

#include "hypervisor/metal/boot_info.h"
#include "hypervisor/metal/lab.h"

namespace cupel::metal {

// Runs the boot loader's first module as a guest with 64 MiB of RAM at host-physical 64 MiB, a
// serial port that is the image's own and the debug-exit port; no interrupts, no timer. Prints the
// guest's exits by reason at its end. True when the guest ended through the debug exit with 0.
bool run_guest(Lab& lab, const BootInfo& boot);

}  // namespace cupel::metal
