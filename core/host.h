// What the hypervisor's own code sees of the physical host it runs on: identity, timers, watchdog.
// hw_models/platform implements these; hypervisor/ uses them.
#pragma once

#include <cstdint>
#include <functional>

#include "core/types.h"

namespace cupel {

// A host of the cluster; 0 means "none", so that a zeroed record on disk names nobody.
enum class HostId : uint16_t { none = 0 };
// A virtual machine of a datastore: its slot in the VM table.
enum class VmId : uint16_t {};

constexpr uint16_t number(HostId id) { return static_cast<uint16_t>(id); }
constexpr uint16_t number(VmId id) { return static_cast<uint16_t>(id); }

// Timers that run on the host's processors. While the host hangs nothing runs; what came due is
// made up for afterwards, in order. When the host loses power everything pending is forgotten.
class HostTimers {
 public:
  using Id = uint64_t;
  using Action = std::function<void()>;
  virtual ~HostTimers() = default;
  virtual Nanoseconds now() const = 0;
  virtual Id after(Nanoseconds delay, Action action) = 0;
  // Unknown and past identifiers are ignored.
  virtual void cancel(Id id) = 0;
};

// The hardware watchdog. It counts while the processors hang; expiry resets the host.
class Watchdog {
 public:
  virtual ~Watchdog() = default;
  // Starts or restarts the count; `timeout` > 0.
  virtual void arm(Nanoseconds timeout) = 0;
  virtual void disarm() = 0;
};

}  // namespace cupel
