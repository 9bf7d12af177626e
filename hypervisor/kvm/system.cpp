#include "hypervisor/kvm/system.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/stat.h>

#include <fstream>
#include <sstream>

namespace cupel::kvm {
namespace {

constexpr int kApiVersion = 12;

struct Capability {
  int number;
  const char* name;
};
constexpr Capability kRequired[] = {
    {KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"},
    {KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID"},
    {KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
    {KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS"},
    {KVM_CAP_DEBUGREGS, "KVM_CAP_DEBUGREGS"},
    {KVM_CAP_USER_NMI, "KVM_CAP_USER_NMI"},
};

// Read by hand: getgrgid() would tie a static program to the host's name service libraries.
std::string group_name(gid_t group) {
  std::ifstream file("/etc/group");
  for (std::string line; std::getline(file, line);) {
    std::istringstream fields(line);
    std::string name, password, id;
    if (std::getline(fields, name, ':') && std::getline(fields, password, ':') &&
        std::getline(fields, id, ':') && id == std::to_string(group)) {
      return name;
    }
  }
  return std::to_string(group);
}

std::string permission_hint(const char* path) {
  struct stat info {};
  const bool by_group = stat(path, &info) == 0 && (info.st_mode & 0060) == 0060 && info.st_gid != 0;
  if (!by_group) {
    return "only root may open it: run as root, or 'sudo chgrp kvm /dev/kvm && sudo chmod 660 "
           "/dev/kvm' and join group kvm ('sudo usermod -aG kvm $USER', then log in again)";
  }
  const std::string group = group_name(info.st_gid);
  return "join group " + group + ": 'sudo usermod -aG " + group +
         " $USER', then log in again (or 'newgrp " + group + "')";
}

Failure<Error> open_failure(const char* path, int error) {
  const std::string where = path;
  const std::string other = "the model backend needs no KVM (--backend model)";
  if (error == ENOENT) {
    return fail(ErrorKind::environment, "this host has no " + where,
                "enable virtualization in the firmware and load the module ('sudo modprobe "
                "kvm_intel' or 'kvm_amd'); " +
                    other);
  }
  if (error == EACCES || error == EPERM) {
    return fail(ErrorKind::environment, "no permission to open " + where, permission_hint(path));
  }
  return fail(ErrorKind::environment, "cannot open " + where + ": " + std::strerror(error), other);
}

Result<void> check(const FileDescriptor& device, const char* path) {
  const int version = device.call(KVM_GET_API_VERSION, 0);
  if (version != kApiVersion) {
    return fail(ErrorKind::environment, std::string(path) +
                                            " is not a KVM device of API version 12 (it answers " +
                                            std::to_string(version) + ")");
  }
  std::string missing;
  for (const Capability& capability : kRequired) {
    if (device.call(KVM_CHECK_EXTENSION, capability.number) <= 0) {
      missing += std::string(missing.empty() ? "" : ", ") + capability.name;
    }
  }
  if (missing.empty()) return {};
  return fail(ErrorKind::environment, "this host's KVM lacks " + missing,
              "use a Linux kernel of version 5.10 or later");
}

}  // namespace

Result<System> open_system(const char* path) {
  System system;
  system.device = FileDescriptor(open(path, O_RDWR | O_CLOEXEC));
  if (!system.device.valid()) return open_failure(path, errno);
  CUPEL_TRY(check(system.device, path));
  const auto has = [&](int capability) {
    return system.device.call(KVM_CHECK_EXTENSION, capability) > 0;
  };
  const int run_size = system.device.call(KVM_GET_VCPU_MMAP_SIZE, 0);
  if (run_size < static_cast<int>(sizeof(kvm_run))) {
    return fail(ErrorKind::environment,
                "KVM_GET_VCPU_MMAP_SIZE answers " + std::to_string(run_size));
  }
  system.run_size = static_cast<size_t>(run_size);
  system.has_xsave = has(KVM_CAP_XSAVE);
  system.has_xcrs = has(KVM_CAP_XCRS);
  system.has_user_space_msrs = has(KVM_CAP_X86_USER_SPACE_MSR) && has(KVM_CAP_X86_MSR_FILTER);
  return system;
}

Result<void> available() {
  auto system = open_system();
  if (!system.ok()) return std::move(system).failure();
  return {};
}

}  // namespace cupel::kvm
