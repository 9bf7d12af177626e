#include "hypervisor/metal/tap.h"

#include "hypervisor/metal/console.h"
#include "hypervisor/metal/options.h"

namespace cupel::metal {
namespace {

bool same_text(const char* a, const char* b) {
  if (a == nullptr || b == nullptr) return a == b;
  while (*a != '\0' && *a == *b) ++a, ++b;
  return *a == *b;
}

void print_shown(const Shown& value) {
  if (value.text == nullptr) return print(Hex{value.number});
  print(value.text);
  if (!value.has_number) return;
  print('(');
  print_unsigned(value.number);
  print(')');
}

unsigned append(char* to, unsigned at, unsigned size, const char* text) {
  for (; *text != '\0' && at + 1 < size; ++text) to[at++] = *text;
  to[at] = '\0';
  return at;
}

}  // namespace

bool Shown::operator==(const Shown& other) const {
  return same_text(text, other.text) && has_number == other.has_number &&
         (!has_number || number == other.number);
}

bool Report::equal_shown(const char* what, Shown got, Shown want) {
  if (got == want) return true;
  if (failed()) return false;
  what_ = what;
  got_ = got;
  want_ = want;
  return false;
}

Tap::Tap(const char* pattern, const char* skip) : pattern_(pattern), skip_(skip) {
  print_line("TAP version 13");
}

bool Tap::left_out() const { return matches(skip_, name_); }

bool Tap::begin(const char* group, const char* name) {
  unsigned at = append(name_, 0, sizeof name_, group);
  at = append(name_, at, sizeof name_, ".");
  append(name_, at, sizeof name_, name);
  return same_text(pattern_, "all") || matches(pattern_, name_);
}

void Tap::end(const Report& report) {
  ++count_;
  print(report.failed() ? "not ok " : "ok ");
  print_unsigned(count_);
  print(" - ");
  print(static_cast<const char*>(name_));
  if (report.failed()) {
    ++failed_;
    print(" # ");
    print(report.what_);
    print(": expected ");
    print_shown(report.want_);
    print(" got ");
    print_shown(report.got_);
  } else if (report.skipped()) {
    ++skipped_;
    print(" # SKIP ");
    print(report.skip_);
  }
  print('\n');
}

bool Tap::finish() {
  print("1..");
  print_unsigned(count_);
  print('\n');
  print_line("# passed ", count_ - failed_ - skipped_, " failed ", failed_, " skipped ", skipped_);
  return failed_ == 0;
}

}  // namespace cupel::metal
