#include "hypervisor/metal/options.h"

#include "hypervisor/metal/limits.h"

namespace cupel::metal {
namespace {

struct Word {
  const char* begin;
  unsigned length;
  bool is(const char* text) const {
    unsigned n = 0;
    while (n < length && text[n] == begin[n]) ++n;
    return n == length && text[n] == '\0';
  }
  // What follows `key`, or nullptr.
  const char* value_of(const char* key) const {
    unsigned n = 0;
    while (key[n] != '\0') {
      if (n >= length || begin[n] != key[n]) return nullptr;
      ++n;
    }
    return begin + n;
  }
  const char* end() const { return begin + length; }
};

bool parse_number(const char* at, const char* end, uint64_t& value) {
  if (at == end) return false;
  value = 0;
  for (; at != end; ++at) {
    if (*at < '0' || *at > '9' || value > UINT64_MAX / 10 - 1) return false;
    value = value * 10 + static_cast<uint64_t>(*at - '0');
  }
  return true;
}

template <unsigned size>
bool copy(const char* at, const char* end, char (&to)[size]) {
  const auto length = static_cast<unsigned>(end - at);
  if (length == 0 || length >= size) return false;
  for (unsigned n = 0; n < length; ++n) to[n] = at[n];
  to[length] = '\0';
  return true;
}

bool take(const Word& word, Options& options, const char*& bad) {
  if (word.is("bench")) {
    options.bench = true;
    options.run_tests = false;
  } else if (const char* name = word.value_of("bench=")) {
    bad = "bench";
    options.bench = true;
    options.run_tests = false;
    return copy(name, word.end(), options.bench_name);
  } else if (word.is("guest")) {
    options.guest = true;
    options.run_tests = false;
  } else if (word.is("dump")) {
    options.dump = true;
    options.run_tests = false;
  } else if (const char* number = word.value_of("iterations=")) {
    bad = "iterations";
    return parse_number(number, word.end(), options.iterations);
  } else if (const char* cpus = word.value_of("cpus=")) {
    bad = "cpus";
    return parse_number(cpus, word.end(), options.cpus) && options.cpus <= MOST_PROCESSORS;
  } else if (const char* states = word.value_of("states=")) {
    bad = "states";
    options.run_tests = false;
    return parse_number(states, word.end(), options.states);
  } else if (const char* sequences = word.value_of("sequences=")) {
    bad = "sequences";
    options.run_tests = false;
    return parse_number(sequences, word.end(), options.sequences);
  } else if (const char* epts = word.value_of("epts=")) {
    bad = "epts";
    options.run_tests = false;
    return parse_number(epts, word.end(), options.epts);
  } else if (const char* keep = word.value_of("keep=")) {
    bad = "keep";
    return parse_number(keep, word.end(), options.keep);
  } else if (word.is("packed")) {
    options.packed = true;
  } else if (word.is("batch")) {
    options.batch = true;
  } else if (const char* seed = word.value_of("seed=")) {
    bad = "seed";
    return parse_number(seed, word.end(), options.seed);
  } else if (const char* from = word.value_of("from=")) {
    bad = "from";
    return parse_number(from, word.end(), options.from);
  } else if (const char* pattern = word.value_of("test=")) {
    bad = "test";
    return copy(pattern, word.end(), options.test);
  } else if (const char* skipped = word.value_of("skip=")) {
    bad = "skip";
    return copy(skipped, word.end(), options.skip);
  }
  return true;
}

}  // namespace

bool parse_options(const char* command_line, Options& options, const char*& bad) {
  const char* at = command_line;
  while (*at != '\0') {
    while (*at == ' ') ++at;
    Word word{at, 0};
    while (at[word.length] != '\0' && at[word.length] != ' ') ++word.length;
    if (word.length != 0 && !take(word, options, bad)) return false;
    at += word.length;
  }
  return true;
}

bool matches(const char* pattern, const char* name) {
  const char* star = nullptr;
  const char* retry = name;
  while (*name != '\0') {
    if (*pattern == '*') {
      star = ++pattern;
      retry = name;
    } else if (*pattern == *name) {
      ++pattern;
      ++name;
    } else if (star != nullptr) {
      pattern = star;
      name = ++retry;
    } else {
      return false;
    }
  }
  while (*pattern == '*') ++pattern;
  return *pattern == '\0';
}

}  // namespace cupel::metal
