// One interrupt wire between a device and an interrupt controller.
#pragma once

#include <functional>
#include <utility>

namespace cupel {

// Level: true = asserted. The sink sees changes only.
class IrqLine {
 public:
  using Sink = std::function<void(bool level)>;

  IrqLine() = default;
  explicit IrqLine(Sink sink) : sink_(std::move(sink)) {}
  void connect(Sink sink) {
    sink_ = std::move(sink);
    if (level_ && sink_) sink_(true);
  }
  void set(bool level) {
    if (level == level_) return;
    level_ = level;
    if (sink_) sink_(level);
  }
  // Forgets the wire's state without telling the sink: for restore, whose controller has its own.
  void restore_level(bool level) { level_ = level; }
  bool level() const { return level_; }

 private:
  Sink sink_;
  bool level_ = false;
};

}  // namespace cupel
