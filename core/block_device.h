// What every disk looks like to the layer above it: asynchronous requests in virtual time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "core/types.h"

namespace cupel {

enum class BlockOp : uint8_t { read, write, flush };

enum class BlockStatus : uint8_t {
  ok,
  io_error,      // the medium or transport failed this request (EIO)
  device_lost,   // the device is gone and will not answer again (ENODEV)
  out_of_range,  // the request does not fit the device
  fenced,        // the issuer no longer owns the device (reservation conflict)
};
std::string_view to_string(BlockStatus status);
std::string_view to_string(BlockOp op);

// Payload is owned by the request, so that a host may die with requests in flight.
struct BlockRequest {
  BlockOp op = BlockOp::read;
  Lba lba;                      // first 512-byte sector; ignored for flush
  uint32_t sectors = 0;         // read: how many; write: data.size() / 512
  bool fua = false;             // write: completes only when on stable media
  std::vector<std::byte> data;  // write payload
};

struct BlockReply {
  BlockStatus status = BlockStatus::ok;
  std::vector<std::byte> data;  // read payload, `sectors` * 512 bytes when ok
};

// Completion contract: `done` runs exactly once, from the event queue and never from inside
// submit(), unless the issuer or the device loses power, in which case it may never run. Writes
// that were completed are durable only after a later flush completed ok, or with fua. Requests
// may complete out of order.
class BlockDevice {
 public:
  using Completion = std::function<void(BlockReply)>;
  virtual ~BlockDevice() = default;
  virtual uint64_t sectors() const = 0;
  virtual void submit(BlockRequest request, Completion done) = 0;
};

}  // namespace cupel
