#include "bench/linux_on_model.h"

#include "bench/assets.h"
#include "bench/figure.h"
#include "bench/process_memory.h"
#include "scenarios/session/console_session.h"

namespace cupel::bench {
namespace {

using scenarios::ConsoleSession;

// Short enough to find the guest between its last words and its end.
constexpr Nanoseconds kStep = 200_us, kMoment = 50_us;

Result<std::unique_ptr<ConsoleSession>> boot() {
  scenarios::BootConfig config;
  config.memory = kLinuxMemoryMiB << 20;
  config.kernel = assets().linux_kernel;
  config.initrd = assets().linux_initrd;
  config.command_line = linux_bench_command_line();
  auto made = ConsoleSession::create(config);
  if (!made.ok()) return std::move(made).failure();
  auto session = std::move(made).value();
  std::string output;
  while (output.find(kLinuxDone) == std::string::npos) {
    if (session->ended()) {
      return fail(ErrorKind::guest,
                  "Linux ended before it was done: " + session->vm().crash().message + output);
    }
    session->step(kStep);
    output += session->take_output();
    // The line may lie across two steps; nothing before its length can still become part of it.
    if (output.size() > 4096) output.erase(0, output.size() - 1024);
  }
  return session;
}

std::span<const std::byte> guest_ram(ConsoleSession& session) {
  return session.seat().memory().view(Gpa(0), session.seat().memory().size());
}

Result<void> go_on(ConsoleSession& session) {
  CUPEL_TRY(session.vm().resume());
  session.step(kMoment);
  if (!session.ended()) return {};
  return fail(ErrorKind::guest,
              "Linux did not go on after the snapshot: " + session.vm().crash().message);
}

// A snapshot of the guest, which then goes on for a moment.
Result<LinuxOnModel::Take> take(ConsoleSession& session, vm::Vm::Snapshot& snapshot) {
  CUPEL_TRY(session.vm().pause());
  LinuxOnModel::Take out;
  out.pages_touched = resident_pages(guest_ram(session));
  const double start = real_seconds();
  auto taken = session.vm().snapshot();
  out.milliseconds = (real_seconds() - start) * 1e3;
  if (!taken.ok()) return std::move(taken).failure();
  out.pages_copied = taken->pages_copied;
  snapshot = std::move(taken).value();
  CUPEL_TRY(go_on(session));
  return out;
}

Result<void> snapshot_and_restore(ConsoleSession& session, LinuxOnModel& out) {
  vm::Vm::Snapshot snapshot;
  auto first = take(session, snapshot);
  if (!first.ok()) return std::move(first).failure();
  out.first = *first;
  CUPEL_TRY(session.vm().pause());
  const double start = real_seconds();
  CUPEL_TRY(session.vm().restore(snapshot));
  out.restore_milliseconds = (real_seconds() - start) * 1e3;
  CUPEL_TRY(go_on(session));
  auto again = take(session, snapshot);
  if (!again.ok()) return std::move(again).failure();
  out.again = *again;
  return {};
}

}  // namespace

std::string linux_bench_command_line() {
  return scenarios::linux_command_line() + " cupel.mode=bench";
}

Result<LinuxOnModel> run_linux_on_model() {
  LinuxOnModel out;
  const uint64_t before = resident_bytes();
  const double start = real_seconds();
  auto session = boot();
  out.boot_seconds = real_seconds() - start;
  if (!session.ok()) return std::move(session).failure();
  out.exits = (*session)->vm().vcpu().exits().total;
  const uint64_t after = resident_bytes();
  out.process_growth = after > before ? after - before : 0;
  out.guest_ram = resident_pages(guest_ram(**session)) * kPageSize;
  if (auto done = snapshot_and_restore(**session, out); !done.ok())
    out.snapshot_error = done.error();
  return out;
}

}  // namespace cupel::bench
