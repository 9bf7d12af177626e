// Records on the disk: their format, and what recovery finds. The Linux guest's recorder uses the
// same format, so one check reads both.
//
// Little-endian, 512-byte sectors; slots = number of sectors - 1:
//   sector 0                      header: "CUPELHDR", 0, generation, number of sectors
//   sector 1 + (sequence % slots) record: "CUPELREC", sequence, generation, 0, payload
// Each: bytes 0-7 magic, 8-15 sequence, 16-23 generation, 24-31 value, 32-503 payload (words of
// SplitMix64 seeded with sequence ^ generation << 32), 504-511 FNV-1a-64 of bytes 0-503.
// Sequence numbers start at 1. The generation counts the starts on this disk.
#pragma once

#include <stdint.h>

namespace workload {

struct Record {
  static constexpr unsigned kWords = 59;
  uint64_t magic, sequence, generation, value;
  uint64_t payload[kWords];
  uint64_t checksum;
};
static_assert(sizeof(Record) == 512);

void fill_record(Record& record, uint64_t sequence, uint64_t generation);
void fill_header(Record& record, uint64_t generation, uint64_t sectors);

struct Recovery {
  uint64_t recovered = 0;   // last sequence of the contiguous valid run
  uint64_t torn = 0;        // slots that hold neither a record nor zeros
  uint64_t lost_first = 0;  // 0: no record is missing before a later one
  uint64_t lost_count = 0;
  uint64_t generation = 0;  // highest seen
};
// Reads until 256 slots after the newest record. A disk that is away is waited for.
Recovery recover(uint64_t slots);

}  // namespace workload
