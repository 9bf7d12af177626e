#include "scenarios/language/scenario.h"

namespace cupel::scenarios {
namespace {

template <class Spec>
const Spec* find(const std::vector<Spec>& specs, std::string_view name) {
  for (const Spec& spec : specs) {
    if (spec.name == name) return &spec;
  }
  return nullptr;
}

}  // namespace

std::string_view to_string(GuestKind kind) {
  switch (kind) {
    case GuestKind::linux_recorder:
      return "linux";
    case GuestKind::workload:
      return "workload";
    case GuestKind::image:
      return "image";
  }
  return "image";
}

const HostSpec* find_host(const Scenario& s, std::string_view name) { return find(s.hosts, name); }
const SwitchSpec* find_switch(const Scenario& s, std::string_view name) {
  return find(s.switches, name);
}
const DiskSpec* find_disk(const Scenario& s, std::string_view name) { return find(s.disks, name); }
const VmSpec* find_vm(const Scenario& s, std::string_view name) { return find(s.vms, name); }

NicRef find_nic(const Scenario& s, std::string_view target) {
  const size_t slash = target.find('/');
  if (slash == std::string_view::npos) return {};
  const HostSpec* host = find_host(s, target.substr(0, slash));
  if (host == nullptr) return {};
  const NicSpec* nic = find(host->nics, target.substr(slash + 1));
  return nic != nullptr ? NicRef{host, nic} : NicRef{};
}

}  // namespace cupel::scenarios
