// The trace of a run: an ordered list of what happened, and a hash over all of it.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.h"
#include "core/hash.h"

namespace cupel {

struct TraceRecord {
  Nanoseconds at;
  std::string source;  // "host-a", "vm/web", "disk/shared"
  std::string what;    // dotted kind: "fault.host.power_loss", "ha.restart", "virtio.flush"
  std::string detail;  // free text, part of the hash
};

// Two runs are the same run when their digests are equal: every record, and everything mixed in
// without a record (register digests, exit counts), is hashed in order.
class Trace {
 public:
  using Sink = std::function<void(const TraceRecord&)>;

  explicit Trace(const VirtualClock& clock) : clock_(clock) {}

  // A notable event: hashed, kept, and shown to the sinks.
  void record(std::string_view source, std::string_view what, std::string_view detail = {});
  // A detail too frequent to keep: hashed only.
  void mix(std::string_view what, uint64_t a, uint64_t b = 0);

  void add_sink(Sink sink) { sinks_.push_back(std::move(sink)); }
  const std::vector<TraceRecord>& records() const { return records_; }
  uint64_t digest() const { return hash_.digest(); }

 private:
  const VirtualClock& clock_;
  RunningHash hash_;
  std::vector<TraceRecord> records_;
  std::vector<Sink> sinks_;
};

}  // namespace cupel
