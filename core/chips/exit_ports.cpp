#include "core/chips/exit_ports.h"

#include <string_view>

namespace cupel::chips {

std::string to_string(const ExitRequest& request) {
  switch (request.kind) {
    case ExitRequest::Kind::none:
      return "none";
    case ExitRequest::Kind::debug_exit:
      return "exit status " + std::to_string(request.status);
    case ExitRequest::Kind::reset:
      return "reset";
    case ExitRequest::Kind::power_off:
      return "power-off";
  }
  return "unknown";
}

ExitPorts::ExitPorts()
    : debug_exit_(*this, &ExitPorts::debug_exit, 0xff),
      keyboard_(*this, &ExitPorts::keyboard_command, 0xff),
      control_a_(*this, &ExitPorts::system_control_a, 0x02),
      shutdown_(*this, &ExitPorts::shutdown_text, 0xff),
      delay_(*this, &ExitPorts::ignore, 0xff),
      delay2_(*this, &ExitPorts::ignore, 0xff) {}

Result<void> ExitPorts::attach(Bus& ports) {
  CUPEL_TRY(ports.attach(0xf4, 4, debug_exit_, "isa-debug-exit"));
  CUPEL_TRY(ports.attach(0x64, 1, keyboard_, "keyboard controller command"));
  CUPEL_TRY(ports.attach(0x92, 1, control_a_, "system control A"));
  CUPEL_TRY(ports.attach(0x8900, 1, shutdown_, "shutdown"));
  CUPEL_TRY(ports.attach(0x80, 1, delay_, "POST code"));
  return ports.attach(0xed, 1, delay2_, "I/O delay");
}

uint64_t ExitPorts::Port::read(uint64_t, unsigned size) {
  uint64_t value = reads_as_;
  for (unsigned b = 1; b < size; ++b) value |= 0xffull << (8 * b);
  return value;
}
void ExitPorts::Port::write(uint64_t offset, unsigned size, uint64_t value) {
  if (offset == 0) (owner_.*on_write_)(size, value);
}

void ExitPorts::ask(ExitRequest request) {
  if (!requested()) request_ = request;
}

void ExitPorts::debug_exit(unsigned, uint64_t value) {
  ask({ExitRequest::Kind::debug_exit, static_cast<uint32_t>(value) * 2 + 1});
}
void ExitPorts::keyboard_command(unsigned, uint64_t value) {
  if (value == 0xfe) ask({ExitRequest::Kind::reset, 0});
}
void ExitPorts::system_control_a(unsigned, uint64_t value) {
  if ((value & 1) != 0) ask({ExitRequest::Kind::reset, 0});
}

void ExitPorts::shutdown_text(unsigned, uint64_t value) {
  constexpr std::string_view kText = "Shutdown";
  const char c = static_cast<char>(value);
  if (c != kText[matched_]) matched_ = 0;
  if (c == kText[matched_]) ++matched_;
  if (matched_ < kText.size()) return;
  matched_ = 0;
  ask({ExitRequest::Kind::power_off, 0});
}

void ExitPorts::save(ArchiveWriter& out) const {
  out.section("exit-ports", 1);
  out.put(static_cast<uint8_t>(request_.kind));
  out.put(request_.status);
  out.put(matched_);
}

void ExitPorts::restore(ArchiveReader& in) {
  in.section("exit-ports", 1);
  const auto kind = in.get<uint8_t>();
  const auto status = in.get<uint32_t>();
  request_ = {};
  if (kind <= static_cast<uint8_t>(ExitRequest::Kind::power_off))
    request_ = {static_cast<ExitRequest::Kind>(kind), status};
  matched_ = in.get<uint8_t>() % 8;
}

}  // namespace cupel::chips
