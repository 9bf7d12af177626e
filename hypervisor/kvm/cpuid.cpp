#include "hypervisor/kvm/cpuid.h"

#include <algorithm>
#include <numeric>
#include <span>

#include "hypervisor/kvm/kvm_lists.h"

namespace cupel::kvm {
namespace {

constexpr uint32_t kHypervisorBase = 0x40000000, kExtendedBase = 0x80000000;
constexpr uint32_t kLeafRoom = 0x100;  // no sane maximum lies further above its base
constexpr size_t kMostEntries = 256;

// Leaves whose answer depends on ECX, with the number of subleaves to ask for.
uint32_t subleaf_count(uint32_t leaf, vm::GuestPlatform& platform) {
  switch (leaf) {
    case 0x04:
    case 0x0b:
    case 0x1f:
      return 8;
    case 0x07:
      return std::min(platform.cpuid(leaf, 0).eax, 3u) + 1;
    case 0x0d:
      return 63;
    case 0x14:
    case 0x17:
    case 0x18:
      return std::min(platform.cpuid(leaf, 0).eax, 7u) + 1;
    default:
      return 0;
  }
}

void add_leaf(std::vector<CpuidEntry>& to, uint32_t leaf, vm::GuestPlatform& platform) {
  const uint32_t subleaves = subleaf_count(leaf, platform);
  if (subleaves == 0) {
    to.push_back({leaf, 0, false, platform.cpuid(leaf, 0)});
    return;
  }
  for (uint32_t subleaf = 0; subleaf < subleaves; ++subleaf) {
    const x86::CpuidLeaf value = platform.cpuid(leaf, subleaf);
    if (subleaf > 0 && value == x86::CpuidLeaf{}) continue;
    to.push_back({leaf, subleaf, true, value});
  }
}

void add_range(std::vector<CpuidEntry>& to, uint32_t base, vm::GuestPlatform& platform) {
  const uint32_t maximum = platform.cpuid(base, 0).eax;
  if (maximum < base || maximum - base >= kLeafRoom) return;
  for (uint32_t leaf = base; leaf <= maximum; ++leaf) add_leaf(to, leaf, platform);
}

x86::CpuidLeaf find(const std::vector<CpuidEntry>& leaves, uint32_t leaf, uint32_t subleaf) {
  for (const CpuidEntry& entry : leaves) {
    if (entry.leaf == leaf && (!entry.indexed || entry.subleaf == subleaf)) return entry.value;
  }
  return {};
}

// Bits of one register that stay as the platform has them, whatever KVM supports.
struct FeatureWord {
  uint32_t leaf, subleaf;
  uint32_t x86::CpuidLeaf::*word;
  uint32_t platform_bits;
};
constexpr uint32_t kX2Apic = 1u << 21, kTscDeadline = 1u << 24, kOsXsave = 1u << 27,
                   kHypervisor = 1u << 31, kApic = 1u << 9, kOsPke = 1u << 4;
constexpr FeatureWord kFeatureWords[] = {
    {1, 0, &x86::CpuidLeaf::ecx, kX2Apic | kTscDeadline | kOsXsave | kHypervisor},
    {1, 0, &x86::CpuidLeaf::edx, kApic},
    {7, 0, &x86::CpuidLeaf::ebx, 0},
    {7, 0, &x86::CpuidLeaf::ecx, kOsPke},
    {7, 0, &x86::CpuidLeaf::edx, 0},
    {7, 1, &x86::CpuidLeaf::eax, 0},
    {0xd, 1, &x86::CpuidLeaf::eax, 0},
    {0x80000001, 0, &x86::CpuidLeaf::ecx, 0},
    {0x80000001, 0, &x86::CpuidLeaf::edx, 0},
    {0x80000008, 0, &x86::CpuidLeaf::ebx, 0},
};

// TSC frequency = crystal * EBX / EAX; the platform's timers count on the crystal it names.
// SDM vol. 2A, "CPUID", leaf 15H.
void set_tsc_frequency(x86::CpuidLeaf& leaf, uint32_t tsc_khz) {
  const uint32_t crystal_khz = leaf.ecx / 1000;
  if (tsc_khz == 0 || crystal_khz == 0) {
    leaf = {};
    return;
  }
  const uint32_t divisor = std::gcd(tsc_khz, crystal_khz);
  leaf.eax = crystal_khz / divisor;
  leaf.ebx = tsc_khz / divisor;
}

// EAX: 7:0 physical, 15:8 linear address bits.
void restrict_widths(x86::CpuidLeaf& leaf, const x86::CpuidLeaf& host) {
  const uint32_t physical = std::min(leaf.eax & 0xff, host.eax & 0xff);
  const uint32_t linear = std::min(leaf.eax >> 8 & 0xff, host.eax >> 8 & 0xff);
  leaf.eax = (leaf.eax & ~0xffffu) | linear << 8 | physical;
}

}  // namespace

std::vector<CpuidEntry> platform_leaves(vm::GuestPlatform& platform) {
  std::vector<CpuidEntry> leaves;
  add_range(leaves, 0, platform);
  if ((platform.cpuid(1, 0).ecx & kHypervisor) != 0) {
    add_range(leaves, kHypervisorBase, platform);
  }
  add_range(leaves, kExtendedBase, platform);
  return leaves;
}

void restrict_leaves(std::vector<CpuidEntry>& leaves, const std::vector<CpuidEntry>& supported,
                     uint32_t tsc_khz) {
  for (CpuidEntry& entry : leaves) {
    const x86::CpuidLeaf host = find(supported, entry.leaf, entry.subleaf);
    for (const FeatureWord& feature : kFeatureWords) {
      if (feature.leaf != entry.leaf || feature.subleaf != entry.subleaf) continue;
      entry.value.*feature.word &= host.*feature.word | feature.platform_bits;
    }
    if (entry.leaf == 0x15) set_tsc_frequency(entry.value, tsc_khz);
    if (entry.leaf == 0x16) entry.value.eax = tsc_khz / 1000;
    if (entry.leaf == 0x80000008 && host.eax != 0) restrict_widths(entry.value, host);
  }
}

Result<std::vector<CpuidEntry>> supported_leaves(const System& system) {
  std::vector<std::byte> room(sizeof(CpuidListHeader) + kMostEntries * sizeof(kvm_cpuid_entry2));
  auto* const list = reinterpret_cast<CpuidListHeader*>(room.data());
  list->count = kMostEntries;
  CUPEL_TRY(system.device.control(request::get_supported_cpuid, "KVM_GET_SUPPORTED_CPUID", list));
  std::vector<CpuidEntry> leaves;
  const auto* const entries =
      reinterpret_cast<kvm_cpuid_entry2*>(room.data() + sizeof(CpuidListHeader));
  for (const kvm_cpuid_entry2& e :
       std::span(entries, std::min<size_t>(list->count, kMostEntries))) {
    const bool indexed = (e.flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) != 0;
    leaves.push_back({e.function, e.index, indexed, {e.eax, e.ebx, e.ecx, e.edx}});
  }
  return leaves;
}

Result<HostProcessor> host_processor() {
  auto system = open_system();
  if (!system.ok()) return std::move(system).failure();
  auto leaves = supported_leaves(*system);
  if (!leaves.ok()) return std::move(leaves).failure();
  HostProcessor processor;
  for (const CpuidEntry& entry : *leaves) {
    if (entry.indexed) processor.cpuid.mark_indexed(entry.leaf);
    processor.cpuid.set(entry.leaf, entry.subleaf, entry.value);
  }
  // KVM tells the frequency of a vCPU only.
  const FileDescriptor machine(system->device.call(KVM_CREATE_VM, 0));
  const FileDescriptor vcpu(machine.valid() ? machine.call(KVM_CREATE_VCPU, 0) : -1);
  const int khz = vcpu.valid() ? vcpu.call(KVM_GET_TSC_KHZ, 0) : 0;
  if (khz > 0) processor.tsc_hz = static_cast<uint64_t>(khz) * 1000;
  return processor;
}

Result<void> set_cpuid(const FileDescriptor& vcpu, const std::vector<CpuidEntry>& leaves) {
  std::vector<std::byte> room(sizeof(CpuidListHeader) + leaves.size() * sizeof(kvm_cpuid_entry2));
  auto* const list = reinterpret_cast<CpuidListHeader*>(room.data());
  auto* const entries = reinterpret_cast<kvm_cpuid_entry2*>(room.data() + sizeof(CpuidListHeader));
  list->count = static_cast<uint32_t>(leaves.size());
  for (size_t i = 0; i < leaves.size(); ++i) {
    const CpuidEntry& from = leaves[i];
    entries[i] = {};
    entries[i].function = from.leaf;
    entries[i].index = from.subleaf;
    entries[i].flags = from.indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0;
    entries[i].eax = from.value.eax;
    entries[i].ebx = from.value.ebx;
    entries[i].ecx = from.value.ecx;
    entries[i].edx = from.value.edx;
  }
  return vcpu.control(request::set_cpuid2, "KVM_SET_CPUID2", list);
}

}  // namespace cupel::kvm
