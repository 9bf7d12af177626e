// A real guest: its boot, the memory it costs, its snapshots.
#include <algorithm>

#include "bench/assets.h"
#include "bench/figures.h"
#include "bench/linux_on_model.h"
#include "bench/linux_on_qemu.h"

namespace cupel::bench {
namespace {

constexpr unsigned kBoots = 5;
constexpr double kMiB = 1 << 20;

Result<void> have_linux() {
  if (!assets().linux_kernel.empty() && !assets().linux_initrd.empty()) return {};
  return fail(ErrorKind::environment, "the Linux guest is not built; run ./cupel setup");
}

// The boots of this process. Every figure here is taken from the same ones.
Result<const std::vector<LinuxOnModel>*> model_boots(unsigned count) {
  static std::vector<LinuxOnModel> boots;
  CUPEL_TRY(have_linux());
  while (boots.size() < count) {
    auto boot = run_linux_on_model();
    if (!boot.ok()) return std::move(boot).failure();
    boots.push_back(*boot);
  }
  return static_cast<const std::vector<LinuxOnModel>*>(&boots);
}

Result<Figure> boot() {
  CUPEL_TRY(have_linux());
  std::vector<double> model, qemu;
  uint64_t exits = 0;
  for (unsigned round = 1; round <= kBoots; ++round) {
    auto other = boot_linux_on_qemu(assets().linux_kernel, assets().linux_initrd,
                                    linux_bench_command_line());
    if (!other.ok()) return std::move(other).failure();
    qemu.push_back(*other);
    auto ours = model_boots(round);
    if (!ours.ok()) return std::move(ours).failure();
    model.push_back((**ours)[round - 1].boot_seconds);
    exits = (**ours)[round - 1].exits;
  }
  return Figure{*std::min_element(model.begin(), model.end()),
                "s",
                *std::min_element(qemu.begin(), qemu.end()),
                "qemu-system-x86_64 -accel tcg",
                1.0,
                {{"exits", static_cast<double>(exits)}}};
}

// The first boot: later ones find memory that the process already has.
Result<Figure> memory() {
  auto boots = model_boots(1);
  if (!boots.ok()) return std::move(boots).failure();
  const LinuxOnModel& first = (**boots)[0];
  const double growth = static_cast<double>(first.process_growth) / kMiB,
               guest = static_cast<double>(first.guest_ram) / kMiB;
  return Figure{growth - guest, "MiB", 1,
                "MiB",          200,   {{"process_growth_mib", growth}, {"guest_ram_mib", guest}}};
}

// The least over the boots of what `of` says (a bound in milliseconds is about this code, not about
// what else the machine does), with `details` of the first.
template <class Of, class Details>
Result<Figure> snapshot_figure(double bound, Of of, Details details) {
  auto boots = model_boots(kBoots);
  if (!boots.ok()) return std::move(boots).failure();
  std::vector<double> values;
  for (const LinuxOnModel& boot : **boots) {
    if (!boot.snapshot_error.message.empty()) return Failure<Error>(Error(boot.snapshot_error));
    values.push_back(of(boot));
  }
  return Figure{
      *std::min_element(values.begin(), values.end()), "ms", 0, {}, bound, details((**boots)[0])};
}

std::map<std::string, double> pages(const LinuxOnModel::Take& take) {
  return {{"pages_copied", static_cast<double>(take.pages_copied)},
          {"pages_touched", static_cast<double>(take.pages_touched)},
          {"pages_of_guest", static_cast<double>((kLinuxMemoryMiB << 20) / kPageSize)}};
}

void add_snapshot_figures() {
  using Boot = LinuxOnModel;
  add_figure("snapshot.take", [] {
    return snapshot_figure(
        0, [](const Boot& b) { return b.first.milliseconds; },
        [](const Boot& b) { return pages(b.first); });
  });
  add_figure("snapshot.take_again", [] {
    return snapshot_figure(
        0, [](const Boot& b) { return b.again.milliseconds; },
        [](const Boot& b) { return pages(b.again); });
  });
  add_figure("snapshot.restore", [] {
    return snapshot_figure(
        0, [](const Boot& b) { return b.restore_milliseconds; },
        [](const Boot&) { return std::map<std::string, double>(); });
  });
  add_figure("snapshot.roundtrip", [] {
    return snapshot_figure(
        50, [](const Boot& b) { return b.first.milliseconds + b.restore_milliseconds; },
        [](const Boot& b) { return pages(b.first); });
  });
}

}  // namespace

void add_linux_figures() {
  add_figure("memory.beyond_guest", memory);
  add_figure("linux.boot", boot);
  add_snapshot_figures();
}

}  // namespace cupel::bench
