#include "core/hash.h"

#include <xxhash.h>

namespace cupel {

uint64_t hash_bytes(const void* data, size_t size, uint64_t seed) {
  return XXH3_64bits_withSeed(data, size, seed);
}

RunningHash::RunningHash() : state_(XXH3_createState()) { XXH3_64bits_reset(state_); }
RunningHash::~RunningHash() { XXH3_freeState(state_); }
void RunningHash::add(const void* data, size_t size) { XXH3_64bits_update(state_, data, size); }
uint64_t RunningHash::digest() const { return XXH3_64bits_digest(state_); }

}  // namespace cupel
