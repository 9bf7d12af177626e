#include "hypervisor/devices/virtio_console.h"

#include <algorithm>

namespace cupel::devices {

VirtioConsole::VirtioConsole(GuestMemory& memory)
    : VirtioDevice(VirtioType::console, memory, 0, {kQueueSize, kQueueSize}) {
  set_config<uint32_t>(4, 1);  // max_nr_ports, although only MULTIPORT drivers read it
}

size_t VirtioConsole::receive(std::span<const std::byte> input) {
  const size_t room = std::min(input.size(), kBacklog - waiting_.size());
  waiting_.insert(waiting_.end(), input.begin(), input.begin() + static_cast<ptrdiff_t>(room));
  deliver();
  return room;
}

void VirtioConsole::process(unsigned i) {
  if (i == kReceiveQueue) {
    deliver();
  } else {
    transmit();
  }
}

void VirtioConsole::deliver() {
  DescriptorChain chain;
  while (!waiting_.empty() && pop(kReceiveQueue, chain)) {
    const auto n = static_cast<ptrdiff_t>(std::min<size_t>(waiting_.size(), chain.writable_bytes));
    const std::vector<std::byte> text(waiting_.begin(), waiting_.begin() + n);
    waiting_.erase(waiting_.begin(), waiting_.begin() + n);
    scatter(memory(), chain.writable, 0, text);
    push(kReceiveQueue, chain, static_cast<uint32_t>(n));
  }
  signal(kReceiveQueue);
}

void VirtioConsole::transmit() {
  DescriptorChain chain;
  while (pop(kTransmitQueue, chain)) {
    std::vector<std::byte> text(chain.readable_bytes);
    gather(memory(), chain.readable, 0, text);
    if (sink_ && !text.empty()) sink_(text);
    push(kTransmitQueue, chain, 0);
  }
  signal(kTransmitQueue);
}

void VirtioConsole::save_device(ArchiveWriter& out) const {
  const std::vector<std::byte> waiting(waiting_.begin(), waiting_.end());
  out.put_bytes(waiting);
}

void VirtioConsole::restore_device(ArchiveReader& in) {
  const auto waiting = in.get_bytes();
  waiting_.assign(waiting.begin(),
                  waiting.begin() + static_cast<ptrdiff_t>(std::min(waiting.size(), kBacklog)));
}

}  // namespace cupel::devices
