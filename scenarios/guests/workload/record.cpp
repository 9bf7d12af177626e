// The failover workload: whatever was reported as acknowledged must be found again after a crash.
//
// Lines on the console:
//   WORKLOAD recovered=<last contiguous valid record> torn=<slots that hold something else>
//   WORKLOAD lost first=<sequence> count=<n>     only if a record is missing before a later one
//   WORKLOAD start generation=<g> next=<sequence> slots=<n>
//   WORKLOAD acked=<sequence>                    every `report` records, after the flush
//   WORKLOAD error seq=<sequence> status=<s>     each failed try; tried again every 100 ms
#include "scenarios/guests/workload/block.h"
#include "scenarios/guests/workload/console.h"
#include "scenarios/guests/workload/interrupts.h"
#include "scenarios/guests/workload/modes.h"
#include "scenarios/guests/workload/net.h"
#include "scenarios/guests/workload/record_disk.h"
#include "scenarios/guests/workload/x86.h"

namespace workload {
namespace {

constexpr uint64_t kRetryUs = 100000;
constexpr uint64_t kFewestSectors = 3;  // header and two slots

Record record;

// Returns once the record is on stable storage.
void append(uint64_t sector) {
  for (;;) {
    const uint8_t status = block_write_flushed(sector, &record, 1);
    if (status == 0) return;
    print_all("WORKLOAD error seq=", record.sequence, " status=", uint64_t{status}, "\n");
    sleep_us(kRetryUs, net_poll);
  }
}

void serve_network() {
  disable_interrupts();
  net_poll();
  enable_interrupts();
}

}  // namespace

void run_record(const Config& config) {
  if (!block_open()) {
    print("WORKLOAD error: mode=record needs a virtio block device\n");
    leave(Exit::no_device);
  }
  if (config.ip != 0 && !net_open(config.ip)) {
    print("WORKLOAD error: ip= needs a virtio network device\n");
    leave(Exit::no_device);
  }
  const uint64_t sectors = block_sectors();
  if (sectors < kFewestSectors) {
    print_all("WORKLOAD error: a disk of ", sectors, " sectors is too small\n");
    leave(Exit::no_device);
  }
  const uint64_t slots = sectors - 1;
  const Recovery found = recover(slots);
  print_all("WORKLOAD recovered=", found.recovered, " torn=", found.torn, "\n");
  if (found.lost_count != 0) {
    print_all("WORKLOAD lost first=", found.lost_first, " count=", found.lost_count, "\n");
  }
  progress = {found.recovered, found.generation + 1};
  fill_header(record, progress.generation, sectors);
  append(0);
  print_all("WORKLOAD start generation=", progress.generation, " next=", progress.acked + 1,
            " slots=", slots, "\n");

  for (uint64_t done = 1;; ++done) {
    const uint64_t sequence = progress.acked + 1;
    fill_record(record, sequence, progress.generation);
    append(1 + sequence % slots);
    progress.acked = sequence;
    if (config.report != 0 && sequence % config.report == 0) {
      print_all("WORKLOAD acked=", sequence, "\n");
    }
    if (done == config.count) return;
    serve_network();
    if (config.rate_us != 0) sleep_us(config.rate_us, net_poll);
  }
}

}  // namespace workload
