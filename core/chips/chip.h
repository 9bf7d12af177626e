// What all chips share: progress in virtual time, and state that can be saved.
#pragma once

#include "core/archive.h"
#include "core/types.h"

namespace cupel::chips {

// A register machine without an event queue. Its owner calls advance() when the deadline is
// reached, and asks for the deadline again after anything that may move it: a register access, an
// input, an acknowledge, advance() itself. A late advance() is allowed: it catches up, and edges
// that were missed in between are merged into one. Time that runs backwards is ignored.
class Chip {
 public:
  virtual ~Chip() = default;
  virtual void advance(Nanoseconds /*now*/) {}
  // When an output next changes by itself, always later than the last advance();
  // Nanoseconds::max() = never.
  virtual Nanoseconds next_deadline() const { return Nanoseconds::max(); }

  virtual void save(ArchiveWriter& out) const = 0;
  // Any bytes are safe to restore from: what does not fit the chip is cut to what does. Wires keep
  // quiet: whoever listens to an output is restored from its own archive.
  virtual void restore(ArchiveReader& in) = 0;
};

}  // namespace cupel::chips
