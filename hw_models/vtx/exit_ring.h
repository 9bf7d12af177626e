// The last VM exits of a processor, for whoever asks afterwards what happened.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "core/types.h"

namespace cupel::vtx {

struct ExitNote {
  Nanoseconds time{0};
  uint64_t rip = 0;  // of the guest; of the host's instruction for an entry that failed
  uint64_t qualification = 0;
  uint64_t vmcs = 0;    // address of the VMCS
  uint32_t reason = 0;  // the whole exit-reason field
  uint32_t instruction_length = 0;
};

class ExitRing {
 public:
  static constexpr size_t kSize = 64;
  void add(const ExitNote& note) { notes_[total_++ % kSize] = note; }
  uint64_t total() const { return total_; }
  size_t size() const { return static_cast<size_t>(std::min<uint64_t>(total_, kSize)); }
  // n < size(); 0 is the oldest.
  const ExitNote& operator[](size_t n) const { return notes_[(total_ - size() + n) % kSize]; }

 private:
  std::array<ExitNote, kSize> notes_{};
  uint64_t total_ = 0;
};

}  // namespace cupel::vtx
