// Processors that share one memory, as far as translated code goes.
#pragma once

#include <cstdint>
#include <vector>

namespace cupel::cpu {

class UnicornProcessor;

class ProcessorGroup {
 public:
  void join(UnicornProcessor& processor) { members_.push_back(&processor); }
  void leave(UnicornProcessor& processor);

  bool holds_code(uint64_t ram_address) const;
  // A page holds code from now on: every member must notice stores to it.
  void watch_page(uint64_t page) const;
  // Stores to start .. start+length-1: every member but `writer` drops what it has translated.
  void drop_code(uint64_t start, uint64_t length, const UnicornProcessor* writer) const;
  // What a processor whose own clock says `tsc` shows: members take turns over the same stretch of
  // time, and none may read less than another one read before it.
  uint64_t observe_tsc(uint64_t tsc) {
    if (members_.size() > 1) last_tsc_ = tsc = tsc > last_tsc_ ? tsc : last_tsc_;
    return tsc;
  }
  uint64_t last_tsc() const { return last_tsc_; }
  void set_last_tsc(uint64_t tsc) { last_tsc_ = tsc; }

 private:
  std::vector<UnicornProcessor*> members_;
  uint64_t last_tsc_ = 0;
};

}  // namespace cupel::cpu
