// What the guest shall do, from the command line: words `key=value`.
#pragma once

#include <stdint.h>

namespace workload {

struct Config {
  char mode[16] = "record";
  uint64_t iterations = 1000;  // iters=   0: for ever, where the mode allows it
  uint64_t rate_us = 1000;     // rate_us= pause after each record
  uint64_t count = 0;          // count=   records to write; 0: for ever
  uint64_t report = 50;        // report=  records between two `acked` lines; 0: none
  uint64_t seed = 1;           // seed=    of the garbage
  bool idle_poll = false;      // idle=poll spin instead of HLT
  uint32_t ip = 0;             // ip=a.b.c.d, host byte order; 0: no network

  bool mode_is(const char* name) const;
};

// Words that are not `key=value` of a known key are ignored: other boot loaders add their own. A
// known key with a bad value is reported by name in `bad_key` and returns false.
bool parse_config(const char* command_line, Config& config, const char*& bad_key);

}  // namespace workload
