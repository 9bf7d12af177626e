#include "scenarios/guests/workload/config.h"

namespace workload {
namespace {

struct Text {
  const char* at;
  unsigned size;
};

bool equal(Text a, const char* b) {
  unsigned i = 0;
  while (i < a.size && b[i] == a.at[i] && b[i] != '\0') ++i;
  return i == a.size && b[i] == '\0';
}

bool parse_number(Text text, uint64_t& value) {
  if (text.size == 0 || text.size > 19) return false;
  uint64_t v = 0;
  for (unsigned i = 0; i < text.size; ++i) {
    if (text.at[i] < '0' || text.at[i] > '9') return false;
    v = v * 10 + static_cast<unsigned>(text.at[i] - '0');
  }
  value = v;
  return true;
}

// a.b.c.d; a prefix length ("/24") is allowed and ignored.
bool parse_ip(Text text, uint32_t& value) {
  uint32_t address = 0;
  unsigned at = 0;
  for (int part = 0; part < 4; ++part) {
    unsigned end = at;
    while (end < text.size && text.at[end] != '.' && text.at[end] != '/') ++end;
    uint64_t byte = 0;
    if (!parse_number({text.at + at, end - at}, byte) || byte > 255) return false;
    address = address << 8 | static_cast<uint32_t>(byte);
    const bool last = part == 3;
    if (!last && (end >= text.size || text.at[end] != '.')) return false;
    if (last && end < text.size && text.at[end] != '/') return false;
    at = end + 1;
  }
  value = address;
  return true;
}

bool parse_mode(Text text, Config& config) {
  if (text.size == 0 || text.size >= sizeof config.mode) return false;
  unsigned i = 0;
  for (; i < text.size; ++i) config.mode[i] = text.at[i];
  config.mode[i] = '\0';
  return true;
}

struct NumberKey {
  const char* name;
  uint64_t Config::*field;
};
constexpr NumberKey kNumbers[] = {
    {"iters", &Config::iterations}, {"rate_us", &Config::rate_us}, {"count", &Config::count},
    {"report", &Config::report},    {"seed", &Config::seed},
};

bool apply(Text key, Text value, Config& config, const char*& name) {
  if (equal(key, "mode")) {
    name = "mode";
    return parse_mode(value, config);
  }
  if (equal(key, "ip")) {
    name = "ip";
    return parse_ip(value, config.ip);
  }
  // As on Linux's command line: the processor never halts while it waits.
  if (equal(key, "idle")) {
    name = "idle";
    config.idle_poll = equal(value, "poll");
    return config.idle_poll;
  }
  for (const NumberKey& number : kNumbers) {
    if (!equal(key, number.name)) continue;
    name = number.name;
    return parse_number(value, config.*number.field);
  }
  return true;
}

}  // namespace

bool Config::mode_is(const char* name) const {
  unsigned size = 0;
  while (mode[size] != '\0') ++size;
  return equal({mode, size}, name);
}

bool parse_config(const char* command_line, Config& config, const char*& bad_key) {
  const char* at = command_line;
  while (*at != '\0') {
    while (*at == ' ') ++at;
    const char* const key = at;
    while (*at != '\0' && *at != ' ' && *at != '=') ++at;
    if (*at != '=') continue;
    const Text name{key, static_cast<unsigned>(at - key)};
    const char* const value = ++at;
    while (*at != '\0' && *at != ' ') ++at;
    if (!apply(name, {value, static_cast<unsigned>(at - value)}, config, bad_key)) return false;
  }
  return true;
}

}  // namespace workload
