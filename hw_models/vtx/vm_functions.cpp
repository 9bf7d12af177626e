// What a guest may do to its own EPT without a VM exit: VMFUNC, and virtualization exceptions.
// SDM vol. 3C, "VM Functions", "Virtualization Exceptions".
#include "core/probe.h"
#include "core/x86/vmx_controls.h"
#include "hw_models/vtx/logical_processor.h"

namespace cupel::vtx {

using cpu::Trap;
using x86::ExitReason;

bool LogicalProcessor::on_vmfunc(Trap& trap) {
  const auto function = static_cast<uint32_t>(processor_.gpr()[x86::Gpr::rax]);
  if (!proc2(x86::proc2::enable_vmfunc) || function > 63) return raise(x86::kUD);
  // Function 0 is the only one that any profile can enable.
  if ((vmcs_[F::vm_function_controls] >> function & 1) == 0 || !switch_eptp())
    return exit_on(ExitReason::vmfunc, trap);
  trap.completed = true;
  processor_.complete(trap);
  return true;
}

// False: nothing is changed. SDM vol. 3C, "EPTP Switching".
bool LogicalProcessor::switch_eptp() {
  const auto index = static_cast<uint32_t>(processor_.gpr()[x86::Gpr::rcx]);
  if (index >= 512) return false;
  const auto eptp = memory_.read<uint64_t>(Hpa(vmcs_[F::eptp_list_address] + uint64_t{8} * index));
  if (!eptp_valid(eptp, ept_features_)) return false;
  vmcs_[F::ept_pointer] = eptp;
  if (capabilities_.proc2.offers(x86::proc2::ept_violation_ve)) vmcs_[F::eptp_index] = index;
  use_ept({eptp, ept_.mode_based});
  processor_.switch_translations(tag_);
  if (flush_at_entry_) processor_.flush_tlb();
  if (tlb_) tlb_->use(tag_);
  return true;
}

namespace {

// SDM vol. 3C, "Virtualization-Exception Information".
struct VirtualizationExceptionInformation {
  uint32_t exit_reason = 0;
  uint32_t busy = 0;
  uint64_t exit_qualification = 0, linear_address = 0, guest_physical_address = 0;
  uint16_t eptp_index = 0;
};
constexpr size_t kInformationSize = 34;

}  // namespace

// True: the violation has become #VE. SDM vol. 3C, "Convertible EPT Violations".
bool LogicalProcessor::convert_violation(const EptWalk& walk, const cpu::PhysicalAccess& access,
                                         uint64_t qualification) {
  if (!proc2(x86::proc2::ept_violation_ve) || !walk.convertible) return false;
  if ((processor_.cr(0) & x86::cr0::PE) == 0 || processor_.vectoring()) return false;
  const Hpa area(vmcs_[F::ve_information_address]);
  if (memory_.read<uint32_t>(area + 4) != 0) return false;
  CUPEL_PROBE("vtx.virtualization_exception");
  VirtualizationExceptionInformation information;
  information.exit_reason = static_cast<uint32_t>(ExitReason::ept_violation);
  information.busy = ~0u;
  information.exit_qualification = qualification;
  information.linear_address =
      access.linear_valid ? access.linear.value() : vmcs_[F::guest_linear_address];
  information.guest_physical_address = access.gpa.value();
  information.eptp_index = static_cast<uint16_t>(vmcs_[F::eptp_index]);
  if (std::byte* to = memory_.at(area, kInformationSize)) {
    std::memcpy(to, &information, kInformationSize);
    processor_.invalidate_code(area, kInformationSize);
  }
  return raise(x86::kVE);
}

}  // namespace cupel::vtx
