// Named random streams derived from one seed: a new draw in one place moves no other place.
#pragma once

#include <cstdint>
#include <string_view>

#include <boost/random/mersenne_twister.hpp>

namespace cupel {

// mt19937_64 seeded by a hash of (seed, name). Distributions come from Boost.Random, whose
// results, unlike those of the standard library, are the same everywhere.
class RandomStream {
 public:
  RandomStream(uint64_t seed, std::string_view name);

  uint64_t bits() { return engine_(); }
  // Uniform in [low, high], both included; needs low <= high.
  uint64_t uniform(uint64_t low, uint64_t high);
  // Uniform in [0, 1).
  double unit();
  bool chance(double probability) { return unit() < probability; }
  boost::random::mt19937_64& engine() { return engine_; }

 private:
  boost::random::mt19937_64 engine_;
};

// Hands out streams; the scenario owns one.
class RandomSource {
 public:
  explicit RandomSource(uint64_t seed) : seed_(seed) {}
  RandomStream stream(std::string_view name) const { return RandomStream(seed_, name); }
  uint64_t seed() const { return seed_; }

 private:
  uint64_t seed_;
};

}  // namespace cupel
