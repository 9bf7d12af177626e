// The failover workload of the Linux guest: appends numbered, checksummed records to a block
// device, each flushed before the next, and says over console and UDP how far it has come. Whatever
// was reported as acknowledged must be found again after a crash.
//
//   recorder run DEVICE [--rate-us N] [--port P] [--count C]
//                                  recover, then append C records (0: for ever); the defaults
//                                  are 1000, 7777 and 0
//   recorder verify DEVICE|FILE    recover only; exit 1 if a record is lost
//   recorder exit VALUE            write VALUE to I/O port 0xf4
//
// On the disk (little-endian, 512-byte sectors; `slots` = number of sectors - 1):
//   sector 0                      header: HEADER_MAGIC, 0, generation, number of sectors
//   sector 1 + (seq mod slots)    record: RECORD_MAGIC, seq, generation, 0, payload
//   each: bytes 0-7 magic, 8-15 seq, 16-23 generation, 24-31 value, 32-503 payload (words of
//   SplitMix64 seeded with seq ^ generation << 32), 504-511 FNV-1a-64 of bytes 0-503.
// Sequence numbers start at 1, so that 0 means "none". The generation counts starts on this disk.
//
// Lines on standard output:
//   RECORDER recovered=<last contiguous valid record> torn=<slots that hold something else>
//   RECORDER lost first=<seq> count=<n>            only if a record is missing before a later one
//   RECORDER start generation=<g> next=<seq> slots=<n>
//   RECORDER acked=<seq>                           every 50 records, after the flush
//   RECORDER error seq=<seq> errno=<e>             each failed try; tried again every 100 ms
// A UDP datagram "count?" is answered with "count=<acked> generation=<g>\n" between two writes.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
  kSector = 512,
  kChunkSectors = 128,
  kWords = 59,        // payload words
  kReportEvery = 50,  // records
  kMinSectors = 3,    // header and two slots
  kExitPort = 0xf4,
};
static const long kRetryNs = 100 * 1000 * 1000;
static const char kRecordMagic[8] = "CUPELREC";
static const char kHeaderMagic[8] = "CUPELHDR";

struct Record {
  char magic[8];
  uint64_t seq;
  uint64_t generation;
  uint64_t value;
  uint64_t payload[kWords];
  uint64_t checksum;
};
_Static_assert(sizeof(struct Record) == kSector, "a record is one sector");

struct Disk {
  int fd;
  uint64_t slots;
};

// What recovery finds. `generation` is the highest seen, `lost_first` 0 if nothing is lost.
struct Found {
  uint64_t recovered, torn, lost_first, lost_count, generation;
};

struct Recorder {
  struct Disk disk;
  int udp;
  uint64_t acked, generation;
};

// ---- records

static uint64_t fnv1a(const void* data, size_t size) {
  const unsigned char* byte = data;
  uint64_t hash = 0xcbf29ce484222325ull;
  for (size_t i = 0; i < size; i++) hash = (hash ^ byte[i]) * 0x100000001b3ull;
  return hash;
}

static uint64_t split_mix(uint64_t* state) {
  uint64_t z = (*state += 0x9e3779b97f4a7c15ull);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

static void fill(struct Record* r, const char* magic, uint64_t seq, uint64_t generation,
                 uint64_t value) {
  memcpy(r->magic, magic, sizeof r->magic);
  r->seq = seq;
  r->generation = generation;
  r->value = value;
  uint64_t state = seq ^ generation << 32;
  for (int i = 0; i < kWords; i++) r->payload[i] = split_mix(&state);
  r->checksum = fnv1a(r, offsetof(struct Record, checksum));
}

static bool valid(const struct Record* r, const char* magic) {
  return memcmp(r->magic, magic, sizeof r->magic) == 0 &&
         r->checksum == fnv1a(r, offsetof(struct Record, checksum));
}

static bool empty(const struct Record* r) {
  static const struct Record zero;
  return memcmp(r, &zero, sizeof zero) == 0;
}

static off_t slot_offset(const struct Disk* d, uint64_t seq) {
  return (off_t)(1 + seq % d->slots) * kSector;
}

// ---- disk

static void pause_ns(long ns) {
  const struct timespec t = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
  nanosleep(&t, NULL);
}

static void report_error(uint64_t seq, int error) {
  printf("RECORDER error seq=%llu errno=%d\n", (unsigned long long)seq, error);
}

// 0, or an errno. A short transfer counts as EIO.
static int read_at(const struct Disk* d, void* data, size_t size, off_t offset) {
  const ssize_t n = pread(d->fd, data, size, offset);
  if (n == (ssize_t)size) return 0;
  return n < 0 ? errno : EIO;
}

static int write_flushed(const struct Disk* d, const struct Record* r, off_t offset) {
  const ssize_t n = pwrite(d->fd, r, sizeof *r, offset);
  if (n != (ssize_t)sizeof *r) return n < 0 ? errno : EIO;
  return fdatasync(d->fd) == 0 ? 0 : errno;
}

// 0, or an errno. A plain file on a file system without O_DIRECT is opened without it (host side).
static int open_disk(const char* path, int access, struct Disk* d) {
  d->fd = open(path, access | O_DIRECT | O_CLOEXEC);
  if (d->fd < 0 && errno == EINVAL) d->fd = open(path, access | O_CLOEXEC);
  if (d->fd < 0) return errno;
  uint64_t bytes = 0;
  struct stat st;
  if (fstat(d->fd, &st) != 0) return errno;
  if (S_ISREG(st.st_mode)) {
    bytes = (uint64_t)st.st_size;
  } else if (ioctl(d->fd, BLKGETSIZE64, &bytes) != 0) {
    return errno;
  }
  const uint64_t sectors = bytes / kSector;
  if (sectors < kMinSectors) return ENOSPC;
  d->slots = sectors - 1;
  return 0;
}

// ---- recovery

// The slots in the order of their first sequence numbers: 1, 2, ..., slots - 1, 0.
struct Scan {
  struct Disk* disk;
  struct Record* buffer;  // kChunkSectors records, sector-aligned
  uint64_t first, count;  // positions held in the buffer
  bool wait;              // wait for a disk that is away, instead of taking it as unreadable
};

// Reads sector by sector where a chunk cannot be read as a whole; what stays unreadable is filled
// with 0xff, which is neither empty nor valid. False if nothing at all could be read.
static bool read_pieces(struct Scan* s, uint64_t sector, uint64_t count) {
  bool any = false;
  for (uint64_t i = 0; i < count; i++) {
    const int error = read_at(s->disk, &s->buffer[i], kSector, (off_t)(sector + i) * kSector);
    if (error != 0) memset(&s->buffer[i], 0xff, kSector);
    any |= error == 0;
  }
  return any;
}

static void load(struct Scan* s, uint64_t position) {
  const uint64_t slots = s->disk->slots;
  const uint64_t sector = 1 + (position + 1) % slots;
  uint64_t count = sector == 1 ? 1 : slots - 1 - position;
  if (count > kChunkSectors) count = kChunkSectors;
  for (;;) {
    const off_t offset = (off_t)sector * kSector;
    const int error = read_at(s->disk, s->buffer, count * kSector, offset);
    if (error == 0) break;
    report_error(position + 1, error);
    if (read_pieces(s, sector, count) || !s->wait) break;
    pause_ns(kRetryNs);
  }
  s->first = position;
  s->count = count;
}

static const struct Record* at(struct Scan* s, uint64_t position) {
  if (position < s->first || position - s->first >= s->count) load(s, position);
  return &s->buffer[position - s->first];
}

// The sequence number a position must hold next to its neighbours; 0 if the slot is no record.
static uint64_t seq_at(struct Scan* s, uint64_t position, uint64_t* generation) {
  const struct Record* r = at(s, position);
  if (!valid(r, kRecordMagic) || r->seq == 0) return 0;
  if (r->seq % s->disk->slots != (position + 1) % s->disk->slots) return 0;
  if (r->generation > *generation) *generation = r->generation;
  return r->seq;
}

// The ring is `newest lap | older lap`: positions 0..k-1 hold lap L, the rest lap L-1 (or nothing
// when L is 0). A slot that breaks the run while a later one still holds lap L is a lost record.
static void survey(struct Scan* s, struct Found* f) {
  const uint64_t slots = s->disk->slots;
  uint64_t base = 0;        // sequence number of position 0 in the newest lap
  uint64_t newest_end = 0;  // positions up to the last record of the newest lap
  uint64_t silent = 0;      // slots since the last record
  for (uint64_t p = 0; p < slots && silent < 2 * kChunkSectors; p++, silent++) {
    const uint64_t seq = seq_at(s, p, &f->generation);
    if (seq == 0) {
      f->torn += !empty(at(s, p));
      continue;
    }
    silent = 0;
    if (seq - p > base) base = seq - p;
    if (seq - p == base) newest_end = p + 1;
  }
  if (base == 0) return;
  f->recovered = base + newest_end - 1;

  // Second look, over what must be there: the newest lap, and behind it the rest of the lap before.
  const uint64_t before = base > slots ? slots : newest_end;
  uint64_t first_lost = 0;
  for (uint64_t p = 0; p < before; p++) {
    const uint64_t want = p < newest_end ? base + p : base - slots + p;
    if (seq_at(s, p, &f->generation) == want) continue;
    // The slot after the newest record may be torn: its new record was being written.
    if (p == newest_end) continue;
    f->lost_count++;
    if (first_lost == 0 || want < first_lost) first_lost = want;
  }
  f->lost_first = first_lost;
  // "Contiguous" ends before a hole in the newest lap.
  if (first_lost >= base) f->recovered = first_lost - 1;
}

static struct Found recover(struct Disk* d, bool wait) {
  static struct Record buffer[kChunkSectors] __attribute__((aligned(4096)));
  struct Found f = {0};
  struct Scan s = {.disk = d, .buffer = buffer, .wait = wait};
  if (read_at(d, buffer, kSector, 0) == 0 && valid(buffer, kHeaderMagic)) {
    f.generation = buffer[0].generation;
  }
  survey(&s, &f);
  printf("RECORDER recovered=%llu torn=%llu\n", (unsigned long long)f.recovered,
         (unsigned long long)f.torn);
  if (f.lost_count != 0) {
    printf("RECORDER lost first=%llu count=%llu\n", (unsigned long long)f.lost_first,
           (unsigned long long)f.lost_count);
  }
  return f;
}

// ---- the workload

static int open_udp(uint16_t port) {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  if (fd < 0 || bind(fd, (const struct sockaddr*)&address, sizeof address) != 0) {
    printf("RECORDER warning: no UDP port %u (errno %d)\n", port, errno);
    return -1;
  }
  return fd;
}

static void answer(const struct Recorder* r) {
  char text[64];
  struct sockaddr_in peer;
  socklen_t peer_size = sizeof peer;
  const ssize_t n = recvfrom(r->udp, text, sizeof text, 0, (struct sockaddr*)&peer, &peer_size);
  if (n < 6 || memcmp(text, "count?", 6) != 0) return;
  const int size = snprintf(text, sizeof text, "count=%llu generation=%llu\n",
                            (unsigned long long)r->acked, (unsigned long long)r->generation);
  // UDP promises nothing: a lost answer is asked for again.
  (void)!sendto(r->udp, text, (size_t)size, 0, (struct sockaddr*)&peer, peer_size);
}

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

// Answers questions until `deadline`; behind time, at most one, so that no flood stops the records.
static void serve_until(const struct Recorder* r, int64_t deadline) {
  for (;;) {
    int64_t left = deadline - now_ns();
    if (left < 0) left = 0;
    const struct timespec timeout = {.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
    struct pollfd p = {.fd = r->udp, .events = POLLIN};  // a negative fd is ignored
    if (ppoll(&p, 1, &timeout, NULL) > 0) answer(r);
    if (left == 0) return;
  }
}

// Returns once the record is on stable storage.
static void append(struct Recorder* r, const struct Record* record, off_t offset) {
  for (;;) {
    const int error = write_flushed(&r->disk, record, offset);
    if (error == 0) return;
    report_error(record->seq, error);
    serve_until(r, now_ns() + kRetryNs);
  }
}

struct Options {
  unsigned long rate_us, port, count;
};

static int run(const char* path, const struct Options* options) {
  const int64_t rate_ns = (int64_t)options->rate_us * 1000;
  static struct Record record __attribute__((aligned(4096)));
  struct Recorder r = {.udp = open_udp((uint16_t)options->port)};
  int error;
  while ((error = open_disk(path, O_RDWR, &r.disk)) != 0) {
    if (r.disk.fd >= 0) close(r.disk.fd);
    report_error(0, error);
    pause_ns(kRetryNs);
  }
  const struct Found found = recover(&r.disk, true);
  r.acked = found.recovered;
  r.generation = found.generation + 1;
  fill(&record, kHeaderMagic, 0, r.generation, r.disk.slots + 1);
  append(&r, &record, 0);
  printf("RECORDER start generation=%llu next=%llu slots=%llu\n", (unsigned long long)r.generation,
         (unsigned long long)r.acked + 1, (unsigned long long)r.disk.slots);

  int64_t next = now_ns();
  for (uint64_t done = 1;; done++, next += rate_ns) {
    fill(&record, kRecordMagic, r.acked + 1, r.generation, 0);
    append(&r, &record, slot_offset(&r.disk, r.acked + 1));
    r.acked++;
    if (r.acked % kReportEvery == 0) {
      printf("RECORDER acked=%llu\n", (unsigned long long)r.acked);
    }
    if (done == options->count) return 0;
    // After a stall the pace starts anew: no burst to catch up.
    if (next + rate_ns < now_ns()) next = now_ns() - rate_ns;
    serve_until(&r, next + rate_ns);
  }
}

static int verify(const char* path) {
  struct Disk d;
  const int error = open_disk(path, O_RDONLY, &d);
  if (error != 0) {
    fprintf(stderr, "recorder: %s: %s\n", path, strerror(error));
    return 2;
  }
  return recover(&d, false).lost_count == 0 ? 0 : 1;
}

static int leave(uint8_t value) {
  if (ioperm(kExitPort, 1, 1) != 0) {
    perror("recorder: ioperm");
    return 3;
  }
  outb(value, kExitPort);
  return 0;
}

// ---- command line

static int usage(void) {
  fputs(
      "usage: recorder run DEVICE [--rate-us N] [--port P] [--count C]\n"
      "       recorder verify DEVICE | exit VALUE\n",
      stderr);
  return 2;
}

static bool number(const char* text, unsigned long max, unsigned long* value) {
  char* end;
  errno = 0;
  *value = strtoul(text, &end, 10);
  return errno == 0 && *text >= '0' && *text <= '9' && *end == '\0' && *value <= max;
}

static int run_command(int argc, char** argv) {
  struct Options options = {.rate_us = 1000, .port = 7777};
  if (argc % 2 != 1) return usage();
  for (int i = 3; i < argc; i += 2) {
    bool ok = false;
    if (strcmp(argv[i], "--rate-us") == 0) {
      ok = number(argv[i + 1], 3600ul * 1000 * 1000, &options.rate_us);
    } else if (strcmp(argv[i], "--port") == 0) {
      ok = number(argv[i + 1], 65535, &options.port);
    } else if (strcmp(argv[i], "--count") == 0) {
      ok = number(argv[i + 1], ULONG_MAX, &options.count);
    }
    if (!ok) return usage();
  }
  return run(argv[2], &options);
}

int main(int argc, char** argv) {
  unsigned long value;
  setvbuf(stdout, NULL, _IOLBF, 0);
  if (argc >= 3 && strcmp(argv[1], "run") == 0) return run_command(argc, argv);
  if (argc == 3 && strcmp(argv[1], "verify") == 0) return verify(argv[2]);
  if (argc == 3 && strcmp(argv[1], "exit") == 0 && number(argv[2], 255, &value)) {
    return leave((uint8_t)value);
  }
  return usage();
}
