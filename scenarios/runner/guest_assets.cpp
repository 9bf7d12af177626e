#include "scenarios/runner/guest_assets.h"

#include "scenarios/session/console_session.h"

namespace cupel::scenarios {
namespace {

std::string microseconds(Nanoseconds t) { return std::to_string(t.count() / 1000); }

Failure<Error> not_built(std::string_view what) {
  return fail(ErrorKind::environment, "the " + std::string(what) + " guest is not built",
              "run ./cupel setup");
}

}  // namespace

std::string linux_command_line() {
  return "console=ttyS0 earlyprintk=serial,ttyS0 nokaslr acpi=off noapic nolapic tsc=reliable "
         "lpj=4000000 mitigations=off no5lvl panic=-1 reboot=k,force nosmp";
}

std::string command_line(const VmSpec& vm) {
  switch (vm.guest.kind) {
    case GuestKind::image:
      return vm.guest.cmdline;
    case GuestKind::linux_recorder: {
      std::string line = linux_command_line() + " quiet cupel.mode=record cupel.rate_us=" +
                         microseconds(vm.workload.write_interval);
      if (vm.nic) line += " cupel.ip=" + format_ipv4(vm.nic->ip) + "/24";
      return line;
    }
    case GuestKind::workload: {
      std::string line = "mode=record rate_us=" + microseconds(vm.workload.write_interval);
      if (vm.nic) line += " ip=" + format_ipv4(vm.nic->ip);
      return line;
    }
  }
  return {};
}

Result<const GuestImages*> GuestLibrary::images(const GuestSpec& guest) {
  std::string kernel = guest.kernel, initrd = guest.initrd;
  if (guest.kind == GuestKind::workload) {
    if (assets_.workload.empty()) return not_built("workload");
    kernel = assets_.workload;
  } else if (guest.kind == GuestKind::linux_recorder) {
    if (assets_.linux_kernel.empty() || assets_.linux_initrd.empty()) return not_built("Linux");
    kernel = assets_.linux_kernel;
    initrd = assets_.linux_initrd;
  }
  auto& slot = loaded_[kernel + '\n' + initrd];
  if (slot != nullptr) return static_cast<const GuestImages*>(slot.get());
  auto images = std::make_unique<GuestImages>();
  auto k = read_image(kernel, "kernel image");
  if (!k.ok()) return std::move(k).failure();
  images->kernel = std::move(k).value();
  if (!initrd.empty()) {
    auto i = read_image(initrd, "initrd");
    if (!i.ok()) return std::move(i).failure();
    images->initrd = std::move(i).value();
  }
  slot = std::move(images);
  return static_cast<const GuestImages*>(slot.get());
}

}  // namespace cupel::scenarios
