#include "scenarios/language/problem.h"

#include <algorithm>
#include <utility>

namespace cupel::scenarios {

void Problems::error(Position where, std::string message, std::string hint) {
  ++errors_;
  add({Severity::error, where, std::move(message), std::move(hint)});
}

void Problems::warning(Position where, std::string message, std::string hint) {
  add({Severity::warning, where, std::move(message), std::move(hint)});
}

void Problems::add(Problem problem) {
  if (list_.size() >= kMost) {
    ++dropped_;
    return;
  }
  list_.push_back(std::move(problem));
}

std::vector<Problem> Problems::take() {
  std::stable_sort(list_.begin(), list_.end(),
                   [](const Problem& a, const Problem& b) { return a.where < b.where; });
  if (dropped_ > 0) {
    list_.push_back({errors_ > 0 ? Severity::error : Severity::warning, list_.back().where,
                     "and " + std::to_string(dropped_) + " more problems",
                     "correct the ones above first"});
  }
  errors_ = dropped_ = 0;
  return std::exchange(list_, {});
}

std::string describe(const Problem& problem, std::string_view filename) {
  std::string text(filename);
  if (problem.where.line > 0) {
    text += ':' + std::to_string(problem.where.line) + ':' + std::to_string(problem.where.column);
  }
  text += problem.severity == Severity::error ? ": error: " : ": warning: ";
  text += problem.message;
  if (!problem.hint.empty()) text += "\n  -> " + problem.hint;
  return text;
}

namespace {

// Edits (insert, delete, replace, swap neighbours) between two words: optimal string alignment.
size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replace = last[j - 1] + (a[i - 1] != b[j - 1] ? 1 : 0);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, replace});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    std::swap(before, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

}  // namespace

std::string nearest(std::string_view word, std::span<const std::string_view> candidates) {
  if (word.size() > 64) return {};
  std::string best;
  size_t best_distance = std::max<size_t>(1, word.size() / 3) + 1;
  for (const auto candidate : candidates) {
    if (const size_t d = distance(word, candidate); d < best_distance) {
      best_distance = d;
      best = candidate;
    }
  }
  return best;
}

std::string suggest(std::string_view word, std::span<const std::string_view> candidates) {
  std::string text;
  if (const auto near = nearest(word, candidates); !near.empty()) {
    text = "did you mean '" + near + "'? ";
  }
  const char* separator = "known: ";
  for (const auto candidate : candidates) {
    text += separator;
    text += candidate;
    separator = ", ";
  }
  return text;
}

std::string quote(std::string_view text) {
  constexpr size_t kMost = 40;
  std::string out = "'";
  for (const char c : text.substr(0, kMost)) {
    const auto byte = static_cast<unsigned char>(c);
    out += byte < 0x20 || byte >= 0x7f ? '?' : c;
  }
  if (text.size() > kMost) out += "...";
  return out + "'";
}

}  // namespace cupel::scenarios
