#include "hypervisor/kvm/virtual_machine.h"

#include <array>
#include <vector>

#include "core/x86/msr.h"

namespace cupel::kvm {
namespace {

// KVM on VMX keeps four pages of its own inside guest-physical space, for processors that cannot
// execute real mode: below the flash at the top of 4 GiB.
constexpr uint64_t kIdentityMapAddress = 0xfffbc000;
constexpr uint64_t kTssAddress = 0xfffbd000;
constexpr uint32_t kRamSlot = 0;

// MSRs of the platform that KVM would otherwise answer itself.
struct MsrRange {
  uint32_t first, count;
};
constexpr MsrRange kPlatformMsrs[] = {
    {x86::msr::APIC_BASE, 1},     {x86::msr::MTRRCAP, 1},      {x86::msr::MTRR_PHYSBASE0, 0x70},
    {x86::msr::MTRR_DEF_TYPE, 1}, {x86::msr::TSC_DEADLINE, 1},
};

}  // namespace

Result<std::unique_ptr<VirtualMachine>> VirtualMachine::create(GuestMemory& memory) {
  auto system = open_system();
  if (!system.ok()) return std::move(system).failure();
  std::unique_ptr<VirtualMachine> vm(new VirtualMachine(std::move(system).value(), memory));
  CUPEL_TRY(vm->create_machine());
  if (vm->system_.has_user_space_msrs) CUPEL_TRY(vm->hand_out_msrs());
  CUPEL_TRY(vm->set_memory(false));
  CUPEL_TRY(vm->create_vcpu());
  return vm;
}

Result<void> VirtualMachine::create_machine() {
  machine_ = FileDescriptor(system_.device.call(KVM_CREATE_VM, 0));
  if (!machine_.valid()) {
    return fail(ErrorKind::environment,
                std::string("KVM_CREATE_VM failed: ") + std::strerror(errno),
                "another hypervisor may hold the processor's virtualization");
  }
  uint64_t identity_map = kIdentityMapAddress;
  CUPEL_TRY(
      machine_.control(KVM_SET_IDENTITY_MAP_ADDR, "KVM_SET_IDENTITY_MAP_ADDR", &identity_map));
  return machine_.control(KVM_SET_TSS_ADDR, "KVM_SET_TSS_ADDR", kTssAddress);
}

Result<void> VirtualMachine::hand_out_msrs() {
  kvm_enable_cap capability{};
  capability.cap = KVM_CAP_X86_USER_SPACE_MSR;
  capability.args[0] =
      KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_FILTER;
  CUPEL_TRY(machine_.control(KVM_ENABLE_CAP, "KVM_CAP_X86_USER_SPACE_MSR", &capability));
  // A clear bit denies the MSR to KVM, which then asks us.
  std::array<uint8_t, 16> deny{};
  kvm_msr_filter filter{};
  filter.flags = KVM_MSR_FILTER_DEFAULT_ALLOW;
  size_t i = 0;
  for (const MsrRange& range : kPlatformMsrs) {
    filter.ranges[i++] = {.flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE,
                          .nmsrs = range.count,
                          .base = range.first,
                          .bitmap = deny.data()};
  }
  return machine_.control(KVM_X86_SET_MSR_FILTER, "KVM_X86_SET_MSR_FILTER", &filter);
}

Result<void> VirtualMachine::set_memory(bool log_dirty) {
  kvm_userspace_memory_region region{};
  region.slot = kRamSlot;
  region.flags = log_dirty ? KVM_MEM_LOG_DIRTY_PAGES : 0;
  region.memory_size = memory_.size();
  region.userspace_addr =
      reinterpret_cast<uint64_t>(memory_.host().data() + memory_.base().value());
  return machine_.control(KVM_SET_USER_MEMORY_REGION, "KVM_SET_USER_MEMORY_REGION", &region);
}

Result<void> VirtualMachine::create_vcpu() {
  vcpu_ = FileDescriptor(machine_.call(KVM_CREATE_VCPU, 0));
  if (!vcpu_.valid()) {
    return fail(ErrorKind::environment,
                std::string("KVM_CREATE_VCPU failed: ") + std::strerror(errno));
  }
  void* const run =
      mmap(nullptr, system_.run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu_.get(), 0);
  if (run == MAP_FAILED) {
    return fail(ErrorKind::environment,
                std::string("cannot map the run structure: ") + std::strerror(errno));
  }
  run_ = Mapping(run, system_.run_size);
  const int tsc_khz = vcpu_.call(KVM_GET_TSC_KHZ, 0);
  system_.tsc_khz = tsc_khz > 0 ? static_cast<uint32_t>(tsc_khz) : 0;
  return {};
}

Result<void> VirtualMachine::log_dirty_pages(bool on) { return set_memory(on); }

Result<void> VirtualMachine::collect_dirty() {
  const uint64_t pages = memory_.size() / kPageSize;
  std::vector<uint64_t> bitmap((pages + 63) / 64);
  kvm_dirty_log log{};
  log.slot = kRamSlot;
  log.dirty_bitmap = bitmap.data();
  CUPEL_TRY(machine_.control(KVM_GET_DIRTY_LOG, "KVM_GET_DIRTY_LOG", &log));
  for (uint64_t page = 0; page < pages; ++page) {
    if ((bitmap[page / 64] >> (page % 64) & 1) != 0) {
      memory_.mark_dirty(Gpa(page * kPageSize), kPageSize);
    }
  }
  return {};
}

}  // namespace cupel::kvm
