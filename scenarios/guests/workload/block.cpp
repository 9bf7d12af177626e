#include "scenarios/guests/workload/block.h"

#include "scenarios/guests/workload/console.h"
#include "scenarios/guests/workload/interrupts.h"
#include "scenarios/guests/workload/net.h"
#include "scenarios/guests/workload/virtio.h"
#include "scenarios/guests/workload/x86.h"

namespace workload {
namespace {

enum class Request : uint32_t { in = 0, out = 1, flush = 4 };
constexpr uint64_t kFeatureFlush = 1 << 9;

struct Header {
  Request type;
  uint32_t reserved;
  uint64_t sector;
};

constinit VirtioDevice device;
constinit Queue queue;
Header header;
volatile uint8_t status;

uint8_t request(Request type, uint64_t sector, const void* data, uint32_t bytes) {
  header = {type, 0, sector};
  status = 0xff;
  const bool to_memory = type == Request::in;
  const auto status_at = static_cast<uint16_t>(bytes == 0 ? 1 : 2);
  queue.set(0, &header, sizeof header, Descriptor::kNext, 1);
  if (bytes != 0) {
    const uint16_t direction = to_memory ? Descriptor::kWrite : 0;
    queue.set(1, data, bytes, static_cast<uint16_t>(direction | Descriptor::kNext), 2);
  }
  queue.set(status_at, const_cast<const uint8_t*>(&status), 1, Descriptor::kWrite);

  disable_interrupts();
  queue.submit(0);
  while (!queue.has_used()) {
    wait_for_interrupt();
    net_poll();
  }
  enable_interrupts();
  queue.take();
  return status;
}

void on_interrupt(void*) { device.read_isr(); }

}  // namespace

bool block_open() {
  if (!device.open(VirtioKind::block, 0, kFeatureFlush)) return false;
  if (!queue.attach(device, 0) || queue.size() < 3) {
    print("WORKLOAD error: the block device has no usable queue\n");
    return false;
  }
  if (!device.has(kFeatureFlush)) print("WORKLOAD warning: the block device has no flush\n");
  if (!add_irq_handler(device.interrupt_line(), on_interrupt, nullptr)) forbid_halt();
  device.start();
  return true;
}

uint64_t block_sectors() {
  auto* const capacity = reinterpret_cast<volatile uint32_t*>(device.config());
  const uint32_t low = capacity[0];
  return static_cast<uint64_t>(capacity[1]) << 32 | low;
}

uint8_t block_read(uint64_t sector, void* data, uint32_t sectors) {
  return request(Request::in, sector, data, sectors * kSectorSize);
}

uint8_t block_write_flushed(uint64_t sector, const void* data, uint32_t sectors) {
  const uint8_t written = request(Request::out, sector, data, sectors * kSectorSize);
  if (written != 0 || !device.has(kFeatureFlush)) return written;
  return request(Request::flush, 0, nullptr, 0);
}

}  // namespace workload
