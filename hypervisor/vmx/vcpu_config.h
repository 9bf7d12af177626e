// What a virtual CPU is built with. Freestanding.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "core/types.h"
#include "core/x86/registers.h"

namespace cupel::vmx {

// A hole in the guest's RAM: guest-physical addresses that stay unmapped and so are MMIO.
struct GpaRange {
  Gpa at;
  uint64_t size = 0;
};

// The part of the host state that VmxCpu cannot tell. The defaults satisfy the entry checks; on
// metal the boot code fills in its own (RIP and RSP are written by the entry stub itself).
struct HostState {
  uint16_t cs = 0x08, ss = 0x10, ds = 0, es = 0, fs = 0, gs = 0, tr = 0x18;
  uint64_t fs_base = 0, gs_base = 0, tr_base = 0, gdtr_base = 0, idtr_base = 0;
  uint64_t rip = 0x1000, rsp = 0x2000;
};

struct VcpuConfig {
  uint64_t tsc_hz = 1'000'000'000;  // 1 Hz .. 1 THz; the rate of the TSC and so of the timer
  uint16_t vpid = 1;                // not 0; each vCPU of a host has its own
  bool unrestricted = true;         // false: every state set has paging on
  bool large_pages = true;          // false: 4 KiB EPT pages, for exact dirty tracking
  std::span<const GpaRange> holes;  // ascending, page-aligned; read while creating only
  HostState host;
};

}  // namespace cupel::vmx
