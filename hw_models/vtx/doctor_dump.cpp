#include "hw_models/vtx/doctor_dump.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "hw_models/vtx/doctor_names.h"

namespace cupel::vtx {
namespace {

using nlohmann::json;

constexpr const char* kBlanks = " \t\r\v\f";

// Quoted for a message: short, and nothing that a terminal would act on.
std::string in_quotes(std::string_view text) {
  constexpr size_t longest = 60;
  std::string out = "'";
  for (const char c : text.substr(0, longest)) out += c >= ' ' && c < 127 ? c : '?';
  return out + (text.size() > longest ? "...'" : "'");
}

std::string hint_for(std::string_view name) {
  const std::string near = nearest_field(name);
  return near.empty() ? "`cupel vmcs fields` lists the names" : "did you mean '" + near + "'?";
}

void put_named(VmcsDump& dump, std::string_view name, std::string_view value, unsigned line) {
  const auto field = find_field(name);
  if (!field) {
    dump.problems.push_back({line, "unknown field " + in_quotes(name), hint_for(name)});
    return;
  }
  const auto number = parse_number(value, false);
  if (!number) {
    dump.problems.push_back(
        {line, in_quotes(value) + " is no number of 64 bits", "write it as 0x1F, 1FH or 31"});
    return;
  }
  dump.put(field->field, field->high, *number, line);
}

// "name = value", "name: value", or "name value" with a value that begins with a digit.
void parse_line(VmcsDump& dump, std::string_view line, unsigned number) {
  size_t at = line.find('=');
  if (at == std::string_view::npos) at = line.rfind(':');
  size_t skip = 1;
  if (at == std::string_view::npos) {
    at = line.find_last_of(kBlanks);
    skip = 0;
  }
  if (at == std::string_view::npos) {
    dump.problems.push_back({number, in_quotes(line) + " has no value", "write 'field = value'"});
    return;
  }
  put_named(dump, trimmed(line.substr(0, at)), trimmed(line.substr(at + skip)), number);
}

void parse_lines(std::string_view text, VmcsDump& dump) {
  for (unsigned number = 1; !text.empty(); ++number) {
    std::string_view line = take_line(text);
    line = trimmed(line.substr(0, line.find('#')));
    if (!line.empty()) parse_line(dump, line, number);
    if (dump.give_up(number)) return;
  }
}

unsigned line_of(std::string_view text, size_t offset) {
  unsigned line = 1;
  for (const char c : text.substr(0, offset)) line += c == '\n' ? 1 : 0;
  return line;
}

void parse_json(std::string_view text, VmcsDump& dump) {
  json all;
  try {
    all = json::parse(text);
  } catch (const json::parse_error& error) {
    dump.problems.push_back(
        {line_of(text, error.byte), "the JSON text breaks off or is malformed here", ""});
    return;
  } catch (const json::out_of_range& error) {
    dump.problems.push_back({1, "the JSON text holds a number beyond any range", ""});
    return;
  }
  if (all.is_object() && all.contains("fields")) all = all["fields"];
  if (!all.is_object()) {
    dump.problems.push_back({1, "\"fields\" is no object", "write {\"guest_rip\": \"0x1000\"}"});
    return;
  }
  for (const auto& [name, value] : all.items()) {
    const size_t known = dump.problems.size();
    if (value.is_number_unsigned()) {
      put_named(dump, name, std::to_string(value.get<uint64_t>()), 0);
    } else if (value.is_string()) {
      put_named(dump, name, trimmed(value.get_ref<const std::string&>()), 0);
    } else {
      dump.problems.push_back({0, "the value of " + in_quotes(name) + " is no number",
                               "write a number or a string like \"0x1F\""});
    }
    if (dump.problems.size() == known) continue;
    const unsigned line = line_of(text, text.find('"' + name + '"'));
    for (size_t n = known; n < dump.problems.size(); ++n) dump.problems[n].line = line;
    if (dump.give_up(line)) return;
  }
}

}  // namespace

void VmcsDump::put(F field, bool high, uint64_t value, unsigned line) {
  const size_t n = static_cast<size_t>(field);
  const uint64_t mask = high ? 0xffffffff : width_mask(x86::field_width(encoding_of(field)));
  if ((value & ~mask) != 0) {
    char text[96];
    std::snprintf(text, sizeof text, "0x%llx does not fit into %s",
                  static_cast<unsigned long long>(value), name_of(field));
    problems.push_back({line, text, "the field is narrower"});
    return;
  }
  if (high) value = value << 32 | (vmcs.values[n] & 0xffffffff);
  if (present[n] && !high && vmcs.values[n] != value)
    problems.push_back(
        {line, std::string(name_of(field)) + " is given a second value",
         "the dump holds two VMCSs, or the line is a mistake; the last value counts"});
  vmcs.values[n] = value;
  present[n] = true;
}

bool VmcsDump::give_up(unsigned line) {
  if (problems.size() < kMostProblems) return false;
  problems.push_back({line, "too many problems; the rest is not read", "is this a VMCS dump?"});
  return true;
}

std::string_view take_line(std::string_view& text) {
  const size_t end = text.find('\n');
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return line;
}

std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

VmcsDump parse_dump(std::string_view text) {
  VmcsDump dump;
  const size_t first = text.find_first_not_of(" \t\r\n\v\f");
  if (first != std::string_view::npos && text[first] == '{') {
    parse_json(text, dump);
  } else if (looks_like_kernel_log(text)) {
    parse_kernel_log(text, dump);
  } else {
    parse_lines(text, dump);
  }
  return dump;
}

}  // namespace cupel::vtx
