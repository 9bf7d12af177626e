#include "hypervisor/kvm/state_archive.h"

#include <vector>

#include "hypervisor/kvm/kvm_lists.h"
#include "hypervisor/kvm/msr_set.h"

namespace cupel::kvm {
namespace {

constexpr std::string_view kTag = "kvm-vcpu-state";
constexpr uint32_t kVersion = 1;

// The order is the one in which KVM must be given them.
struct Image {
  kvm_sregs sregs;
  kvm_regs regs;
  kvm_xcrs xcrs;
  XsaveArea xsave;
  kvm_fpu fpu;
  kvm_debugregs debug;
  kvm_vcpu_events events;
};

Result<void> read_image(const VirtualMachine& vm, Image& image) {
  const FileDescriptor& vcpu = vm.vcpu();
  CUPEL_TRY(vcpu.control(KVM_GET_SREGS, "KVM_GET_SREGS", &image.sregs));
  CUPEL_TRY(vcpu.control(KVM_GET_REGS, "KVM_GET_REGS", &image.regs));
  if (vm.system().has_xcrs) CUPEL_TRY(vcpu.control(KVM_GET_XCRS, "KVM_GET_XCRS", &image.xcrs));
  if (vm.system().has_xsave) {
    CUPEL_TRY(vcpu.control(request::get_xsave, "KVM_GET_XSAVE", image.xsave.data()));
  } else {
    CUPEL_TRY(vcpu.control(KVM_GET_FPU, "KVM_GET_FPU", &image.fpu));
  }
  CUPEL_TRY(vcpu.control(KVM_GET_DEBUGREGS, "KVM_GET_DEBUGREGS", &image.debug));
  return vcpu.control(KVM_GET_VCPU_EVENTS, "KVM_GET_VCPU_EVENTS", &image.events);
}

Result<void> write_image(const VirtualMachine& vm, Image& image) {
  const FileDescriptor& vcpu = vm.vcpu();
  CUPEL_TRY(vcpu.control(KVM_SET_SREGS, "KVM_SET_SREGS", &image.sregs));
  CUPEL_TRY(vcpu.control(KVM_SET_REGS, "KVM_SET_REGS", &image.regs));
  if (vm.system().has_xcrs) CUPEL_TRY(vcpu.control(KVM_SET_XCRS, "KVM_SET_XCRS", &image.xcrs));
  if (vm.system().has_xsave) {
    CUPEL_TRY(vcpu.control(request::set_xsave, "KVM_SET_XSAVE", image.xsave.data()));
  } else {
    CUPEL_TRY(vcpu.control(KVM_SET_FPU, "KVM_SET_FPU", &image.fpu));
  }
  CUPEL_TRY(vcpu.control(KVM_SET_DEBUGREGS, "KVM_SET_DEBUGREGS", &image.debug));
  image.events.flags |= KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
  return vcpu.control(KVM_SET_VCPU_EVENTS, "KVM_SET_VCPU_EVENTS", &image.events);
}

}  // namespace

Result<void> save_vcpu(VirtualMachine& vm, ArchiveWriter& out) {
  Image image{};
  std::vector<MsrValue> msrs;
  auto result = read_image(vm, image);
  if (auto indexes = saved_msrs(vm.system()); indexes.ok()) {
    msrs = read_msrs(vm.vcpu(), indexes.value());
  } else if (result.ok()) {
    result = std::move(indexes).failure();
  }
  out.section(kTag, kVersion);
  out.put(image);
  out.put(static_cast<uint32_t>(msrs.size()));
  for (const MsrValue& msr : msrs) {
    out.put(msr.index);
    out.put(msr.value);
  }
  return result;
}

Result<void> restore_vcpu(VirtualMachine& vm, ArchiveReader& in) {
  constexpr uint32_t kMostMsrs = 4096;
  in.section(kTag, kVersion);
  auto image = in.get<Image>();
  const auto count = in.get<uint32_t>();
  if (count > kMostMsrs) in.note("too many MSRs");
  std::vector<MsrValue> msrs;
  for (uint32_t i = 0; i < count && in.ok(); ++i) {
    const auto index = in.get<uint32_t>();
    msrs.push_back({index, in.get<uint64_t>()});
  }
  CUPEL_TRY(in.finish());
  CUPEL_TRY(write_image(vm, image));
  CUPEL_TRY(write_msrs(vm.vcpu(), msrs));
  vm.run()->cr8 = image.sregs.cr8;
  return {};
}

}  // namespace cupel::kvm
