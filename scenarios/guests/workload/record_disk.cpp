#include "scenarios/guests/workload/record_disk.h"

#include <stddef.h>

#include "scenarios/guests/workload/block.h"
#include "scenarios/guests/workload/console.h"
#include "scenarios/guests/workload/interrupts.h"
#include "scenarios/guests/workload/net.h"

extern "C" void* memset(void*, int, size_t);

namespace workload {
namespace {

constexpr uint64_t kRecordMagic = 0x4345524c45505543;  // "CUPELREC"
constexpr uint64_t kHeaderMagic = 0x5244484c45505543;  // "CUPELHDR"
constexpr uint64_t kGapSlots = 2 * kMaxSectors;
constexpr uint64_t kRetryUs = 100000;

Record chunk[kMaxSectors];
uint64_t chunk_first = 0, chunk_size = 0;  // positions held in `chunk`

uint64_t fnv1a(const Record& record) {
  const auto* byte = reinterpret_cast<const uint8_t*>(&record);
  uint64_t hash = 0xcbf29ce484222325;
  for (unsigned i = 0; i < offsetof(Record, checksum); ++i) {
    hash = (hash ^ byte[i]) * 0x100000001b3;
  }
  return hash;
}

uint64_t split_mix(uint64_t& state) {
  uint64_t z = (state += 0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

void fill(Record& r, uint64_t magic, uint64_t sequence, uint64_t generation, uint64_t value) {
  r.magic = magic;
  r.sequence = sequence;
  r.generation = generation;
  r.value = value;
  uint64_t state = sequence ^ generation << 32;
  for (uint64_t& word : r.payload) word = split_mix(state);
  r.checksum = fnv1a(r);
}

bool valid(const Record& r, uint64_t magic) { return r.magic == magic && r.checksum == fnv1a(r); }

bool empty(const Record& r) {
  const auto* word = reinterpret_cast<const uint64_t*>(&r);
  for (unsigned i = 0; i < sizeof r / 8; ++i) {
    if (word[i] != 0) return false;
  }
  return true;
}

// Sector by sector; what stays unreadable is filled with ones, which is neither empty nor valid.
bool read_pieces(uint64_t sector, uint64_t count) {
  bool any = false;
  for (uint64_t i = 0; i < count; ++i) {
    if (block_read(sector + i, &chunk[i], 1) == 0) {
      any = true;
    } else {
      memset(&chunk[i], 0xff, sizeof chunk[i]);
    }
  }
  return any;
}

// Positions are the slots in the order of their first sequence numbers: 1, 2, ..., slots - 1, 0.
void load(uint64_t position, uint64_t slots) {
  const uint64_t sector = 1 + (position + 1) % slots;
  uint64_t count = sector == 1 ? 1 : slots - 1 - position;
  if (count > kMaxSectors) count = kMaxSectors;
  for (;;) {
    const uint8_t status = block_read(sector, chunk, static_cast<uint32_t>(count));
    if (status == 0) break;
    print_all("WORKLOAD error seq=", position + 1, " status=", uint64_t{status}, "\n");
    if (read_pieces(sector, count)) break;
    sleep_us(kRetryUs, net_poll);
  }
  chunk_first = position;
  chunk_size = count;
}

const Record& at(uint64_t position, uint64_t slots) {
  if (position < chunk_first || position - chunk_first >= chunk_size) load(position, slots);
  return chunk[position - chunk_first];
}

// 0: the slot holds no record that belongs there.
uint64_t sequence_at(uint64_t position, uint64_t slots, Recovery& found) {
  const Record& r = at(position, slots);
  if (!valid(r, kRecordMagic) || r.sequence == 0) return 0;
  if (r.sequence % slots != (position + 1) % slots) return 0;
  if (r.generation > found.generation) found.generation = r.generation;
  return r.sequence;
}

// The ring is `newest lap | lap before`: positions 0 .. end-1 hold the lap that starts with
// sequence number `base`.
struct Lap {
  uint64_t base = 0, end = 0;
};

Lap find_newest_lap(uint64_t slots, Recovery& found) {
  Lap lap;
  uint64_t silent = 0;
  for (uint64_t p = 0; p < slots && silent < kGapSlots; ++p, ++silent) {
    const uint64_t sequence = sequence_at(p, slots, found);
    if (sequence == 0) {
      if (!empty(at(p, slots))) ++found.torn;
      continue;
    }
    silent = 0;
    if (sequence - p > lap.base) lap.base = sequence - p;
    if (sequence - p == lap.base) lap.end = p + 1;
  }
  return lap;
}

void find_losses(const Lap& lap, uint64_t slots, Recovery& found) {
  const uint64_t end = lap.base > slots ? slots : lap.end;
  for (uint64_t p = 0; p < end; ++p) {
    // The slot after the newest record may be torn: its next record was being written.
    if (p == lap.end) continue;
    const uint64_t want = p < lap.end ? lap.base + p : lap.base - slots + p;
    if (sequence_at(p, slots, found) == want) continue;
    ++found.lost_count;
    if (found.lost_first == 0 || want < found.lost_first) found.lost_first = want;
  }
}

}  // namespace

void fill_record(Record& record, uint64_t sequence, uint64_t generation) {
  fill(record, kRecordMagic, sequence, generation, 0);
}
void fill_header(Record& record, uint64_t generation, uint64_t sectors) {
  fill(record, kHeaderMagic, 0, generation, sectors);
}

Recovery recover(uint64_t slots) {
  Recovery found;
  if (block_read(0, chunk, 1) == 0 && valid(chunk[0], kHeaderMagic)) {
    found.generation = chunk[0].generation;
  }
  const Lap lap = find_newest_lap(slots, found);
  if (lap.base == 0) return found;
  find_losses(lap, slots, found);
  found.recovered = found.lost_first >= lap.base ? found.lost_first - 1 : lap.base + lap.end - 1;
  return found;
}

}  // namespace workload
