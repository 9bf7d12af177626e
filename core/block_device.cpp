#include "core/block_device.h"

namespace cupel {

std::string_view to_string(BlockStatus status) {
  switch (status) {
    case BlockStatus::ok:
      return "ok";
    case BlockStatus::io_error:
      return "I/O error";
    case BlockStatus::device_lost:
      return "device lost";
    case BlockStatus::out_of_range:
      return "out of range";
    case BlockStatus::fenced:
      return "fenced";
  }
  return "?";
}

std::string_view to_string(BlockOp op) {
  switch (op) {
    case BlockOp::read:
      return "read";
    case BlockOp::write:
      return "write";
    case BlockOp::flush:
      return "flush";
  }
  return "?";
}

}  // namespace cupel
