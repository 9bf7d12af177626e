// Registers of the host that VM entries and exits do not switch, or switch through HostState.
#include "core/x86/msr.h"
#include "hw_models/vtx/logical_processor.h"

namespace cupel::vtx {
namespace {

// The HostState member behind an MSR; nullptr for MSRs that live in the processor.
uint64_t* host_msr(HostState& host, uint32_t index) {
  switch (index) {
    case x86::msr::EFER:
      return &host.efer;
    case x86::msr::PAT:
      return &host.pat;
    case x86::msr::DEBUGCTL:
      return &host.debugctl;
    case x86::msr::SYSENTER_CS:
      return &host.sysenter_cs;
    case x86::msr::SYSENTER_ESP:
      return &host.sysenter_esp;
    case x86::msr::SYSENTER_EIP:
      return &host.sysenter_eip;
    case x86::msr::FS_BASE:
      return &host.fs_base;
    case x86::msr::GS_BASE:
      return &host.gs_base;
    case x86::msr::FEATURE_CONTROL:
      return &host.feature_control;
    default:
      return nullptr;
  }
}

constexpr bool is_capability_msr(uint32_t index) {
  return index >= x86::msr::VMX_BASIC && index <= x86::msr::VMX_EXIT2;
}

}  // namespace

bool LogicalProcessor::rdmsr(uint32_t index, uint64_t& value) {
  if (is_capability_msr(index)) {
    const auto capability = capabilities_.msr(index);
    value = capability.value_or(0);
    return capability.has_value();
  }
  if (index == x86::msr::TSC) {
    value = processor_.host_tsc();
    return true;
  }
  if (index == x86::msr::PAT && pat_in_processor_) return processor_.read_msr(index, value);
  if (const uint64_t* held = host_msr(host_, index)) {
    value = *held;
    return true;
  }
  return processor_.read_msr(index, value);
}

bool LogicalProcessor::wrmsr(uint32_t index, uint64_t value) {
  if (is_capability_msr(index)) return false;
  uint64_t* held = host_msr(host_, index);
  if (held == nullptr) return processor_.write_msr(index, value);
  switch (index) {
    case x86::msr::FEATURE_CONTROL:
      if ((*held & 1) != 0) return false;  // locked
      break;
    case x86::msr::EFER: {
      using namespace x86::efer;
      if ((value & ~(SCE | LME | LMA | NXE)) != 0) return false;
      // LMA is not writable, and LME cannot change while paging is on.
      value = (value & ~(LMA | LME)) | (*held & (LMA | LME));
      guest_.load_again(rules_.load_efer ? 0 : group::control_registers);
      break;
    }
    case x86::msr::PAT:
      if (!pat_types_valid(value)) return false;
      pat_in_processor_ = false;
      guest_.load_again(rules_.load_pat ? 0 : group::pat);
      break;
    default:
      break;
  }
  *held = value;
  controls_changed_ = true;
  return true;
}

HostState& LogicalProcessor::host_state() {
  due_ = checks_.all();
  controls_changed_ = true;
  return host_;
}

void LogicalProcessor::write_cr0(uint64_t value) {
  host_.cr0 = value | x86::cr0::ET;
  controls_changed_ = true;
  guest_.load_again(group::control_registers);
}

// In VMX operation CR4.VMXE cannot be cleared: MOV CR4 would raise #GP(0), which host code cannot
// receive here. SDM vol. 3C, "Restrictions on VMX Operation".
void LogicalProcessor::write_cr4(uint64_t value) {
  host_.cr4 = vmx_root_ ? value | x86::cr4::VMXE : value;
}

uint64_t LogicalProcessor::read_cr2() { return processor_.cr(2); }
void LogicalProcessor::write_cr2(uint64_t value) { processor_.set_cr2(value); }
uint64_t LogicalProcessor::read_dr(unsigned n) { return processor_.dr(n); }
void LogicalProcessor::write_dr(unsigned n, uint64_t value) { processor_.set_dr(n, value); }
void LogicalProcessor::fxsave(uint8_t* area512) { processor_.fxsave(area512); }
void LogicalProcessor::fxrstor(const uint8_t* area512) { processor_.fxrstor(area512); }
uint64_t LogicalProcessor::rdtsc() { return processor_.host_tsc(); }

}  // namespace cupel::vtx
