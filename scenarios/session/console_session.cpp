#include "scenarios/session/console_session.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace cupel::scenarios {

Result<std::vector<std::byte>> read_image(const std::string& path, std::string_view what) {
  constexpr std::streamoff kMostBytes = 2'000'000'000;  // more fits into no guest
  const auto refused = [&](std::string_view why) {
    return fail(ErrorKind::bad_input,
                "cannot read the " + std::string(what) + " '" + path + "': " + std::string(why),
                "give the path of an existing, readable file");
  };
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) return refused("it is a directory");
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  const auto size = file ? static_cast<std::streamoff>(file.tellg()) : -1;
  if (size < 0) return refused(std::strerror(errno));
  if (size > kMostBytes) return refused("it is larger than any guest's memory");
  std::vector<std::byte> bytes(static_cast<size_t>(size));
  file.seekg(0);
  file.read(reinterpret_cast<char*>(bytes.data()), size);
  if (!file) return refused("it ended early");
  return bytes;
}

Result<void> boot_image(vm::Vm& vm, const std::vector<std::byte>& kernel,
                        const std::vector<std::byte>& initrd, std::string_view command_line) {
  constexpr char kElf[4] = {0x7f, 'E', 'L', 'F'};
  if (kernel.size() >= 4 && std::memcmp(kernel.data(), kElf, 4) == 0)
    return vm.boot_pvh({kernel, initrd, command_line});
  return vm.boot_linux({kernel, initrd, command_line});
}

Result<std::unique_ptr<ConsoleSession>> ConsoleSession::create(const BootConfig& config) {
  auto kernel = read_image(config.kernel, "kernel image");
  if (!kernel.ok()) return std::move(kernel).failure();
  std::vector<std::byte> initrd;
  if (!config.initrd.empty()) {
    auto read = read_image(config.initrd, "initrd");
    if (!read.ok()) return std::move(read).failure();
    initrd = std::move(read).value();
  }
  std::unique_ptr<ConsoleSession> session(new ConsoleSession);
  auto seat = make_seat(config.backend, config.memory, session->clock_);
  if (!seat.ok()) return std::move(seat).failure();
  session->seat_ = std::move(seat).value();
  vm::VmConfig vm_config;
  vm_config.name = "guest";
  vm_config.platform.tsc_hz = kTscHz;
  auto made = vm::Vm::create(std::move(vm_config), session->clock_, &session->trace_,
                             session->seat_->memory(), session->seat_->host_cpuid(),
                             session->seat_->factory());
  if (!made.ok()) return std::move(made).failure();
  session->vm_ = std::move(made).value();
  session->vm_->platform().set_serial_sink(
      [s = session.get()](uint8_t byte) { s->output_.push_back(static_cast<char>(byte)); });
  CUPEL_TRY(boot_image(*session->vm_, *kernel, initrd, config.command_line));
  CUPEL_TRY(session->vm_->start());
  return session;
}

vm::VmStatus ConsoleSession::step(Nanoseconds slice) {
  const Nanoseconds end = clock_.now() + slice;
  vm::VmStatus status;
  do {
    status = vm_->run_until(std::min(end, events_.next_time()));
    events_.run_until(clock_.now());
  } while (!ended() && clock_.now() < end);
  return status;
}

}  // namespace cupel::scenarios
