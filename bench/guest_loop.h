// Puts a loop of guest_code.h into RAM, the same for every machine that shall run it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "bench/guest_code.h"
#include "core/types.h"
#include "core/x86/cpu_state.h"

namespace cupel::bench {

inline constexpr uint64_t kLoopRam = 4_MiB;   // what a loop needs
inline constexpr uint8_t kLoopVector = 0x24;  // its only interrupt

// `ram`: guest-physical 0 .. at least kLoopRam. Returns the state in which the loop starts: long
// mode, CPL 0, interrupts off, 2 MiB pages that map the first and the last GiB below 4 GiB to
// themselves.
x86::CpuState place_loop(std::span<std::byte> ram, LoopKind kind);

}  // namespace cupel::bench
