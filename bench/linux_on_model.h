// One boot of the Linux guest on the model, and what can be seen of it.
#pragma once

#include <string>

#include "core/error.h"

namespace cupel::bench {

inline constexpr uint64_t kLinuxMemoryMiB = 256;
inline constexpr const char* kLinuxDone = "CUPEL-LINUX init-done";

// The kernel's command line, for every machine that boots it.
std::string linux_bench_command_line();

struct LinuxOnModel {
  double boot_seconds = 0;  // from nothing to kLinuxDone on the console
  uint64_t exits = 0;
  // Host memory, bytes: growth of this process, and of it what the guest's own RAM takes.
  uint64_t process_growth = 0, guest_ram = 0;

  // Snapshots, milliseconds. `first` holds every page the guest ever touched; then the guest runs
  // on for 50 us and is taken back; `again` is a second snapshot after another 50 us.
  struct Take {
    double milliseconds = 0;
    uint64_t pages_copied = 0;
    uint64_t pages_touched = 0;  // of guest RAM, since the last snapshot
  };
  Take first, again;
  double restore_milliseconds = 0;
  Error snapshot_error = {};  // with a message: there are no figures of snapshots
};

// Errors: bad_input, environment, guest (it ended before it was done).
Result<LinuxOnModel> run_linux_on_model();

}  // namespace cupel::bench
