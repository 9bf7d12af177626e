// The ports through which a guest, or a machine, ends itself.
#pragma once

#include <cstdint>
#include <string>

#include "core/archive.h"
#include "core/bus.h"

namespace cupel::chips {

struct ExitRequest {
  enum class Kind : uint8_t { none, debug_exit, reset, power_off };
  Kind kind = Kind::none;
  uint32_t status = 0;  // debug_exit: value * 2 + 1
  bool operator==(const ExitRequest&) const = default;
};
std::string to_string(const ExitRequest& request);

// isa-debug-exit at 0xf4; reset by 0xfe to the keyboard controller's port 0x64 or by bit 0 of port
// 0x92; power-off by the text "Shutdown" to 0x8900. The first request stands. Ports 0x80 and 0xed,
// written to pass time, swallow what they get.
class ExitPorts {
 public:
  ExitPorts();
  Result<void> attach(Bus& ports);

  const ExitRequest& request() const { return request_; }
  bool requested() const { return request_.kind != ExitRequest::Kind::none; }
  void ask(ExitRequest request);

  void save(ArchiveWriter& out) const;
  void restore(ArchiveReader& in);

 private:
  class Port final : public BusDevice {
   public:
    using Handler = void (ExitPorts::*)(unsigned size, uint64_t value);
    Port(ExitPorts& owner, Handler on_write, uint8_t reads_as)
        : owner_(owner), on_write_(on_write), reads_as_(reads_as) {}
    uint64_t read(uint64_t, unsigned size) override;
    void write(uint64_t offset, unsigned size, uint64_t value) override;

   private:
    ExitPorts& owner_;
    Handler on_write_;
    uint8_t reads_as_;
  };
  void debug_exit(unsigned size, uint64_t value);
  void keyboard_command(unsigned size, uint64_t value);
  void system_control_a(unsigned size, uint64_t value);
  void shutdown_text(unsigned size, uint64_t value);
  void ignore(unsigned, uint64_t) {}

  ExitRequest request_;
  uint8_t matched_ = 0;  // characters of "Shutdown" seen
  Port debug_exit_, keyboard_, control_a_, shutdown_, delay_, delay2_;
};

}  // namespace cupel::chips
