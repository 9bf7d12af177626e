// One boot of the Linux guest on QEMU's TCG, as a child process.
#pragma once

#include <string>

#include "core/error.h"

namespace cupel::bench {

// Seconds from the start of the program to kLinuxDone on its serial port.
// Errors: environment (no QEMU, or the guest was not done within two minutes).
Result<double> boot_linux_on_qemu(const std::string& kernel, const std::string& initrd,
                                  const std::string& command_line);

}  // namespace cupel::bench
