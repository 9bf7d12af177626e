#include "bench/linux_on_qemu.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "bench/figure.h"
#include "bench/linux_on_model.h"

namespace cupel::bench {
namespace {

constexpr double kPatience = 120;  // seconds

// A running program whose standard output we read. Killed when this goes out of scope.
class Child {
 public:
  static Result<Child> start(const std::vector<std::string>& arguments);
  Child(Child&& o) noexcept
      : pid_(std::exchange(o.pid_, -1)), output_(std::exchange(o.output_, -1)) {}
  ~Child() {
    if (output_ >= 0) close(output_);
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }

  // Whether `text` came before the end of the output and before real_seconds() == until.
  bool prints(const std::string& text, double until);

 private:
  Child(pid_t pid, int output) : pid_(pid), output_(output) {}

  pid_t pid_;
  int output_;
};

Result<Child> Child::start(const std::vector<std::string>& arguments) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0)
    return fail(ErrorKind::environment, std::string("no pipe: ") + std::strerror(errno));
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
  posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  std::vector<char*> argv;
  for (const std::string& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  pid_t pid = -1;
  const int error = posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  Child child(error == 0 ? pid : -1, ends[0]);
  if (error != 0) {
    return fail(ErrorKind::environment,
                "cannot start " + arguments[0] + ": " + std::strerror(error));
  }
  return child;
}

bool Child::prints(const std::string& text, double until) {
  std::string seen;
  char buffer[4096];
  while (seen.find(text) == std::string::npos) {
    const double left = until - real_seconds();
    pollfd wait{output_, POLLIN, 0};
    if (left <= 0 || poll(&wait, 1, static_cast<int>(left * 1e3) + 1) <= 0) return false;
    const ssize_t n = read(output_, buffer, sizeof buffer);
    if (n <= 0) return false;
    seen.append(buffer, static_cast<size_t>(n));
  }
  return true;
}

}  // namespace

Result<double> boot_linux_on_qemu(const std::string& kernel, const std::string& initrd,
                                  const std::string& command_line) {
  const double start = real_seconds();
  auto qemu =
      Child::start({"qemu-system-x86_64", "-accel", "tcg", "-m", std::to_string(kLinuxMemoryMiB),
                    "-nographic", "-no-reboot", "-device", "isa-debug-exit,iobase=0xf4", "-kernel",
                    kernel, "-initrd", initrd, "-append", command_line});
  if (!qemu.ok()) return std::move(qemu).failure();
  if (!qemu->prints(kLinuxDone, start + kPatience))
    return fail(ErrorKind::environment, "Linux did not come up on qemu-system-x86_64");
  return real_seconds() - start;
}

}  // namespace cupel::bench
