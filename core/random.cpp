#include "core/random.h"

#include <boost/random/uniform_01.hpp>
#include <boost/random/uniform_int_distribution.hpp>
#include <cassert>

#include "core/hash.h"

namespace cupel {

RandomStream::RandomStream(uint64_t seed, std::string_view name)
    : engine_(hash_bytes(name.data(), name.size(), seed)) {}

uint64_t RandomStream::uniform(uint64_t low, uint64_t high) {
  assert(low <= high);
  return boost::random::uniform_int_distribution<uint64_t>(low, high)(engine_);
}

double RandomStream::unit() { return boost::random::uniform_01<double>()(engine_); }

}  // namespace cupel
