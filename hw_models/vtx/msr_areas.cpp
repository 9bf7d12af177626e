// The MSR areas of VM entry and VM exit: lists of 16-byte entries in memory.
// SDM vol. 3C, "Loading MSRs" (VM entry and VM exit), "Saving MSRs".
#include "core/x86/msr.h"
#include "hw_models/vtx/logical_processor.h"

namespace cupel::vtx {
namespace {

struct MsrEntry {
  uint32_t index;
  uint32_t reserved;
  uint64_t value;
};

constexpr uint32_t kBiosUpdateTrigger = 0x79, kSmmMonitorControl = 0x9b, kSmbase = 0x9e;
constexpr uint32_t kBiosSignature = x86::msr::BIOS_SIGN_ID;  // both of the microcode update

bool is_x2apic(uint32_t index) { return index >> 8 == 0x8; }

bool loadable(const MsrEntry& e) {
  return e.reserved == 0 && e.index != x86::msr::FS_BASE && e.index != x86::msr::GS_BASE &&
         !is_x2apic(e.index) && e.index != kSmmMonitorControl && e.index != kBiosUpdateTrigger &&
         e.index != kBiosSignature;
}

bool storable(const MsrEntry& e) {
  return e.reserved == 0 && !is_x2apic(e.index) && e.index != kSmbase;
}

MsrEntry read_entry(const PhysicalMemory& memory, uint64_t area, uint64_t n) {
  return memory.read<MsrEntry>(Hpa(area + n * sizeof(MsrEntry)));
}

}  // namespace

// False: `failed_entry` is the number of the entry that could not be loaded, from 1.
bool LogicalProcessor::load_guest_msrs(uint64_t& failed_entry) {
  const uint64_t count = vmcs_[F::entry_msr_load_count];
  const uint64_t area = vmcs_[F::entry_msr_load_address];
  for (uint64_t n = 0; n < count; ++n) {
    MsrEntry e = read_entry(memory_, area, n);
    // LMA stays what the entry made it, and LME with it while paging is on.
    if (e.index == x86::msr::EFER)
      e.value = (e.value & ~x86::efer::LMA) | (processor_.efer() & x86::efer::LMA);
    if (loadable(e) && processor_.write_msr(e.index, e.value)) continue;
    failed_entry = n + 1;
    return false;
  }
  return true;
}

bool LogicalProcessor::store_guest_msrs() {
  const uint64_t count = vmcs_[F::exit_msr_store_count];
  const uint64_t area = vmcs_[F::exit_msr_store_address];
  for (uint64_t n = 0; n < count; ++n) {
    const MsrEntry e = read_entry(memory_, area, n);
    uint64_t value = 0;
    if (!storable(e) || !processor_.read_msr(e.index, value)) return false;
    memory_.write(Hpa(area + n * sizeof(MsrEntry) + 8), value);
  }
  return true;
}

// MSRs that VM exit has loaded from the host-state area take the list's value in HostState; the
// processor keeps the guest's. All others are shared registers.
bool LogicalProcessor::load_host_msrs() {
  const uint64_t count = vmcs_[F::exit_msr_load_count];
  const uint64_t area = vmcs_[F::exit_msr_load_address];
  for (uint64_t n = 0; n < count; ++n) {
    const MsrEntry e = read_entry(memory_, area, n);
    if (!loadable(e) || e.index == x86::msr::FEATURE_CONTROL) return false;
    if (!(executed() ? processor_.write_msr(e.index, e.value) : wrmsr(e.index, e.value)))
      return false;
  }
  return true;
}

}  // namespace cupel::vtx
