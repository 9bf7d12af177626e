// XXH3-64 (libxxhash): one-shot and running.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

struct XXH3_state_s;

namespace cupel {

uint64_t hash_bytes(const void* data, size_t size, uint64_t seed = 0);

class RunningHash {
 public:
  RunningHash();
  ~RunningHash();
  RunningHash(const RunningHash&) = delete;
  RunningHash& operator=(const RunningHash&) = delete;

  void add(const void* data, size_t size);
  void add(uint64_t value) { add(&value, sizeof value); }
  // Length first, so that ("ab","c") and ("a","bc") differ.
  void add(std::string_view text) {
    add(text.size());
    add(text.data(), text.size());
  }
  uint64_t digest() const;

 private:
  XXH3_state_s* state_;
};

}  // namespace cupel
