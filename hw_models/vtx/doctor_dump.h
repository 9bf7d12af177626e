// A VMCS as text from elsewhere.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "hw_models/vtx/vmcs.h"

namespace cupel::vtx {

struct DumpProblem {
  unsigned line = 0;  // from 1
  std::string message;
  std::string hint;  // what to do; may be empty
};

// Whatever the text holds, reading it succeeds: what could not be understood is in `problems`.
// After kMostProblems of them the rest of the text is not read.
struct VmcsDump {
  static constexpr size_t kMostProblems = 100;

  Vmcs vmcs;
  std::array<bool, kFieldCount> present{};
  std::vector<DumpProblem> problems;

  bool has(F f) const { return present[static_cast<size_t>(f)]; }
  // Problems: the value is wider than the field; the field was given another value before.
  void put(F field, bool high, uint64_t value, unsigned line);
  // True when there are too many problems; says so in the last one.
  bool give_up(unsigned line);
};

// Three forms, told apart by their looks:
//   - lines "field = value" or "field: value", with names as find_field() takes them; '#' begins a
//     comment; numbers are decimal unless marked 0x or H;
//   - a JSON object of fields and numbers or strings, alone or under "fields";
//   - what Linux' KVM writes to the kernel log when an entry fails (dump_vmcs() of kvm_intel, with
//   or
//     without the log's time stamps).
VmcsDump parse_dump(std::string_view text);

// The kernel-log form; doctor_linux.cpp.
bool looks_like_kernel_log(std::string_view text);
void parse_kernel_log(std::string_view text, VmcsDump& dump);

// Cuts off the first line. Line ends may be CR LF.
std::string_view take_line(std::string_view& text);
std::string_view trimmed(std::string_view text);

}  // namespace cupel::vtx
