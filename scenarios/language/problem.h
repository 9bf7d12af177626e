// What is wrong with a scenario file, where, and what to do about it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cupel::scenarios {

// A place in the file; both count from 1, and 0 means "nowhere in particular".
struct Position {
  uint32_t line = 0;
  uint32_t column = 0;
  auto operator<=>(const Position&) const = default;
};

enum class Severity : uint8_t {
  error,    // the scenario cannot be run
  warning,  // it can, but it is probably not what its author wants
};

struct Problem {
  Severity severity = Severity::error;
  Position where;
  std::string message;  // one sentence without the place
  std::string hint;     // what to do; may be empty
};

// Collects problems, so that a reader can report all of them at once. After kMost problems the
// rest are only counted.
class Problems {
 public:
  static constexpr size_t kMost = 50;

  void error(Position where, std::string message, std::string hint = {});
  void warning(Position where, std::string message, std::string hint = {});
  bool has_errors() const { return errors_ > 0; }
  // Ordered by place; says at the end how many more there were.
  std::vector<Problem> take();

 private:
  void add(Problem problem);

  std::vector<Problem> list_;
  size_t errors_ = 0;
  size_t dropped_ = 0;
};

// "file.yaml:3:5: error: <message>\n  -> <hint>"
std::string describe(const Problem& problem, std::string_view filename);

// The candidate that `word` was probably meant to be: at most a third of its letters differ (one
// letter in short words). Empty when none is near.
std::string nearest(std::string_view word, std::span<const std::string_view> candidates);
// "did you mean 'x'? known: a, b, c" out of the above, for a hint. "" without candidates.
std::string suggest(std::string_view word, std::span<const std::string_view> candidates);

// Text of a hostile file for a message: in quotes, control characters replaced, cut at 40 bytes.
std::string quote(std::string_view text);

}  // namespace cupel::scenarios
