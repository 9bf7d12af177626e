// One virtual CPU, over VMX (model, metal) or over KVM.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "core/archive.h"
#include "core/clock.h"
#include "core/error.h"
#include "core/guest_memory.h"
#include "core/x86/cpu_state.h"
#include "core/x86/exit_reason.h"
#include "hypervisor/vm/guest_platform.h"

namespace cupel::vm {

// Why run() returned.
enum class StopReason : uint8_t {
  deadline,      // virtual time reached `until`
  halted,        // HLT with nothing pending; wake at min(platform deadline, interrupt)
  stop_request,  // GuestPlatform::stop_requested()
  triple_fault,  // guest error: shutdown
  error,         // guest or hypervisor error, in `error`
};

struct Stop {
  StopReason reason = StopReason::deadline;
  Error error;  // reason == error or triple_fault: what happened, with RIP
};

struct ExitCounters {
  uint64_t total = 0;
  std::array<uint64_t, x86::kExitReasonCount> by_reason{};  // index: basic exit reason
};

// Contract: run() executes the guest until `until` at the latest (virtual time on the model; on
// kvm the clock follows real time). It delivers interrupts of the platform, handles exits itself
// and never throws. Between runs the whole state can be read and set.
class Vcpu {
 public:
  virtual ~Vcpu() = default;
  virtual Stop run(Nanoseconds until) = 0;
  virtual Result<x86::CpuState> state() = 0;
  virtual Result<void> set_state(const x86::CpuState& state) = 0;
  // Complete state for snapshots, including what CpuState cannot say (pending events).
  virtual void save(ArchiveWriter& out) = 0;
  virtual Result<void> restore(ArchiveReader& in) = 0;
  // RAM was written from outside the guest (device DMA, loader, restore): code caches may be stale.
  virtual void memory_changed(Gpa at, uint64_t length) = 0;
  virtual const ExitCounters& exits() const = 0;
  virtual std::string_view backend() const = 0;  // "model", "kvm"
};

}  // namespace cupel::vm
