#include "hypervisor/metal/selftest/search.h"

#include "core/x86/msr.h"
#include "hypervisor/metal/console.h"

namespace cupel::metal {

namespace msr = x86::msr;

void Finding::mix(uint64_t value) {
  hash_ = (hash_ ^ value) * 0x9e3779b97f4a7c15;
  hash_ ^= hash_ >> 29;
}
void Finding::say(const char* text) {
  if (!in_words_) return;
  print(" ");
  print(text);
}
void Finding::say_value(const char* name, uint64_t value) {
  if (!in_words_) return;
  say(name);
  print("=");
  print(Hex{value});
}
void Finding::say_change(const char* name, uint64_t from, uint64_t to) {
  if (!in_words_) return;
  say_value(name, from);
  print(">");
  print(Hex{to});
}
void Finding::add(const char* text) {
  for (const char* c = text; *c != '\0'; ++c) mix(static_cast<uint8_t>(*c));
  say(text);
}
void Finding::add_value(const char* name, uint64_t value) {
  mix(value);
  say_value(name, value);
}

namespace {

// Two characters a case: 12 bits of its hash.
class PackedLines {
 public:
  void add(uint64_t number, uint64_t hash) {
    if (used_ == 0) first_ = number;
    text_[used_++] = digit(hash);
    text_[used_++] = digit(hash >> 6);
    if (used_ == kWidth) flush();
  }
  void flush() {
    if (used_ == 0) return;
    text_[used_] = '\0';
    used_ = 0;
    print("= ");
    print(first_);
    print_line(" ", static_cast<const char*>(text_));
  }

 private:
  static constexpr unsigned kWidth = 64;
  static char digit(uint64_t value) {
    return "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-"[value & 63];
  }
  char text_[kWidth + 1];
  unsigned used_ = 0;
  uint64_t first_ = 0;
};

struct Kind {
  const char* name;
  void (*run)(Lab&, const Case&, Finding&);
};

Kind kind_of(const Options& options) {
  if (options.sequences != 0) return {"sequence", run_sequence};
  if (options.epts != 0) return {"ept", run_ept_shape};
  return {"state", run_state};
}

class Search {
 public:
  Search(Lab& lab, const Options& options) : lab_(lab), options_(options), kind_(kind_of(options)) {
    good_ = lab.cpu.rdmsr(msr::EFER, efer_) && lab.cpu.rdmsr(msr::PAT, pat_);
  }
  ~Search() { packed_.flush(); }

  bool run(uint64_t number, uint64_t keep, uint64_t shown) {
    Finding finding(!options_.packed);
    if (!options_.packed) {
      print(kind_.name);
      print(" ");
      print(number);
      print(":");
    }
    kind_.run(lab_, {options_.seed, number, keep}, finding);
    if (options_.packed) packed_.add(shown, finding.hash());
    if (!options_.packed) print_line();
    // What a case loaded and no exit control put back.
    good_ = good_ && lab_.cpu.wrmsr(msr::EFER, efer_) && lab_.cpu.wrmsr(msr::PAT, pat_);
    return good_;
  }

 private:
  Lab& lab_;
  const Options& options_;
  Kind kind_;
  PackedLines packed_;
  uint64_t efer_ = 0, pat_ = 0;
  bool good_ = false;
};

// The next number of the batch; false at its end.
bool next_number(std::span<const std::byte>& text, uint64_t& value) {
  const auto is_digit = [](std::byte b) {
    return static_cast<char>(b) >= '0' && static_cast<char>(b) <= '9';
  };
  while (!text.empty() && !is_digit(text[0])) text = text.subspan(1);
  if (text.empty()) return false;
  for (value = 0; !text.empty() && is_digit(text[0]); text = text.subspan(1))
    value = value * 10 + static_cast<uint64_t>(static_cast<char>(text[0]) - '0');
  return true;
}

}  // namespace

bool run_search(Lab& lab, const Options& options, std::span<const std::byte> batch) {
  if (!lab.offers({.pin = x86::pin::preemption_timer})) {
    print_line("# generated cases need the preemption timer");
    return false;
  }
  Search search(lab, options);
  if (options.batch) {
    uint64_t number = 0, keep = 0;
    for (uint64_t n = 0; next_number(batch, number) && next_number(batch, keep); ++n) {
      if (!search.run(number, keep, n)) return false;
    }
    return true;
  }
  const uint64_t count = options.states | options.sequences | options.epts;
  for (uint64_t n = options.from; n < options.from + count; ++n) {
    if (!search.run(n, options.keep, n)) return false;
  }
  return true;
}

}  // namespace cupel::metal
