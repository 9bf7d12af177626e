#include "hypervisor/devices/virtio_block.h"

#include <algorithm>

namespace cupel::devices {
namespace {

// VIRTIO 1.2, "Block Device": feature bits, request types and statuses.
constexpr uint64_t kSizeMax = 1 << 1, kSegMax = 1 << 2, kReadOnly = 1 << 5, kBlkSize = 1 << 6,
                   kFlush = 1 << 9;
constexpr uint32_t kTypeIn = 0, kTypeOut = 1, kTypeFlush = 4, kTypeGetId = 8;
constexpr uint8_t kStatusOk = 0, kStatusIoErr = 1, kStatusUnsupported = 2;

BlockRequest make_request(BlockOp op, Lba sector, uint32_t bytes) {
  BlockRequest request;
  request.op = op;
  request.lba = sector;
  request.sectors = static_cast<uint32_t>(bytes / kSectorSize);
  return request;
}

uint64_t features(bool read_only) {
  return kSizeMax | kSegMax | kBlkSize | kFlush | (read_only ? kReadOnly : 0);
}

}  // namespace

VirtioBlock::VirtioBlock(GuestMemory& memory, BlockDevice& disk, Options options)
    : VirtioDevice(VirtioType::block, memory, features(options.read_only), {kQueueSize}),
      disk_(disk),
      options_(std::move(options)),
      self_(std::make_shared<VirtioBlock*>(this)) {
  set_config<uint64_t>(0, disk.sectors());    // capacity
  set_config<uint32_t>(8, kMaxSegmentBytes);  // size_max
  set_config<uint32_t>(12, kMaxSegments);     // seg_max
  set_config<uint32_t>(20, kSectorSize);      // blk_size
}

void VirtioBlock::process(unsigned i) {
  DescriptorChain chain;
  while (pop(i, chain)) start(++last_id_, std::move(chain));
  signal(i);
}

void VirtioBlock::start(uint64_t id, DescriptorChain chain) {
  Header header{};
  const auto bytes = std::as_writable_bytes(std::span(&header, 1));
  if (gather(memory(), chain.readable, 0, bytes) != sizeof header || chain.writable_bytes == 0) {
    break_device("queue 0: block request " + std::to_string(chain.head) +
                 " has no header or no status byte");
    return;
  }
  const Lba sector(header.sector);
  switch (header.type) {
    case kTypeIn:
      return start_read(id, std::move(chain), sector);
    case kTypeOut:
      return start_write(id, std::move(chain), sector);
    case kTypeGetId:
      return answer_id(chain);
    case kTypeFlush:
      if (!negotiated(kFlush)) return finish(chain, kStatusUnsupported, 0);
      return submit(id, std::move(chain), make_request(BlockOp::flush, Lba(0), 0));
    default:
      return finish(chain, kStatusUnsupported, 0);
  }
}

bool VirtioBlock::fits(Lba sector, uint64_t bytes) const {
  const uint64_t capacity = disk_.sectors();
  const uint64_t count = bytes / kSectorSize;
  return bytes != 0 && bytes % kSectorSize == 0 && sector.value() <= capacity &&
         count <= capacity - sector.value();
}

void VirtioBlock::start_read(uint64_t id, DescriptorChain chain, Lba sector) {
  const uint32_t bytes = chain.writable_bytes - 1;
  if (!fits(sector, bytes)) return finish(chain, kStatusIoErr, 0);
  submit(id, std::move(chain), make_request(BlockOp::read, sector, bytes));
}

void VirtioBlock::start_write(uint64_t id, DescriptorChain chain, Lba sector) {
  const uint32_t bytes = chain.readable_bytes - static_cast<uint32_t>(sizeof(Header));
  if (options_.read_only || !fits(sector, bytes)) return finish(chain, kStatusIoErr, 0);
  BlockRequest request = make_request(BlockOp::write, sector, bytes);
  request.fua = !negotiated(kFlush);
  request.data.resize(bytes);
  gather(memory(), chain.readable, sizeof(Header), request.data);
  submit(id, std::move(chain), std::move(request));
}

void VirtioBlock::answer_id(const DescriptorChain& chain) {
  std::vector<std::byte> id(std::min<uint32_t>(kIdSize, chain.writable_bytes - 1));
  for (size_t i = 0; i < std::min(id.size(), options_.id.size()); ++i)
    id[i] = static_cast<std::byte>(options_.id[i]);
  scatter(memory(), chain.writable, 0, id);
  finish(chain, kStatusOk, static_cast<uint32_t>(id.size()));
}

void VirtioBlock::submit(uint64_t id, DescriptorChain chain, BlockRequest request) {
  if (options_.observer != nullptr) options_.observer->on_accepted(id, request);
  in_flight_.emplace(id, std::move(chain));
  const BlockOp op = request.op;
  disk_.submit(std::move(request),
               [self = std::weak_ptr<VirtioBlock*>(self_), id, op](const BlockReply& reply) {
                 if (const auto alive = self.lock()) (*alive)->complete(id, op, reply);
               });
}

void VirtioBlock::complete(uint64_t id, BlockOp op, const BlockReply& reply) {
  const auto found = in_flight_.find(id);
  if (found == in_flight_.end() || !running()) return;  // forgotten by a reset, or broken since
  const DescriptorChain chain = std::move(found->second);
  in_flight_.erase(found);
  const bool ok = reply.status == BlockStatus::ok;
  std::span<const std::byte> data;
  if (ok && op == BlockOp::read)
    data =
        std::span(reply.data).first(std::min<size_t>(reply.data.size(), chain.writable_bytes - 1));
  scatter(memory(), chain.writable, 0, data);
  finish(chain, ok ? kStatusOk : kStatusIoErr, static_cast<uint32_t>(data.size()));
  if (options_.observer != nullptr) options_.observer->on_completed(id, op, reply.status, data);
  signal(0);
}

// The status byte is the last writable byte of the chain.
void VirtioBlock::finish(const DescriptorChain& chain, uint8_t status, uint32_t data_bytes) {
  const std::byte value{status};
  scatter(memory(), chain.writable, chain.writable_bytes - 1, std::span(&value, 1));
  push(0, chain, data_bytes + 1);
}

void VirtioBlock::save_device(ArchiveWriter& out) const {
  out.put(last_id_);
  out.put(static_cast<uint16_t>(in_flight_.size()));
  for (const auto& [id, chain] : in_flight_) {
    out.put(id);
    out.put(chain.head);
  }
}

void VirtioBlock::restore_device(ArchiveReader& in) {
  in.get(last_id_);
  const auto count = in.get<uint16_t>();
  for (unsigned i = 0; i < count && in.ok(); ++i) {
    const auto id = in.get<uint64_t>();
    const auto head = in.get<uint16_t>();
    DescriptorChain chain;
    if (!in.ok() || !reopen(0, head, chain)) return;
    start(id, std::move(chain));
  }
  signal(0);
}

}  // namespace cupel::devices
