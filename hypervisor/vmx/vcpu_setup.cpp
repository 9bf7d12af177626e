#include "hypervisor/vmx/vcpu_setup.h"

#include <algorithm>
#include <cstring>

#include "core/x86/msr.h"

namespace cupel::vmx {

using namespace x86;

namespace {

Fault fault_of(FaultKind kind, uint32_t number = 0) {
  Fault fault;
  fault.kind = kind;
  fault.number = number;
  return fault;
}

// MSRs whose reads and writes do not exit: VMX switches them, or they are the guest's alone.
constexpr uint32_t kDirectMsrs[] = {
    msr::SYSENTER_CS, msr::SYSENTER_ESP,   msr::SYSENTER_EIP, msr::PAT,   msr::EFER,
    msr::STAR,        msr::LSTAR,          msr::CSTAR,        msr::FMASK, msr::FS_BASE,
    msr::GS_BASE,     msr::KERNEL_GS_BASE, msr::TSC_AUX};

// Four bitmaps of 1 KiB: reads low, reads high, writes low, writes high; a zero bit does not
// exit. SDM vol. 3C, "MSR-Bitmap Address".
void fill_msr_bitmap(std::byte* bitmap, bool rdtscp) {
  std::memset(bitmap, 0xff, kPageSize);
  for (const uint32_t index : kDirectMsrs) {
    if (index == msr::TSC_AUX && !rdtscp) continue;
    const uint32_t half = index >= 0xc0000000 ? 1024 : 0;
    const uint32_t bit = index & 0x1fff;
    const auto mask = ~static_cast<std::byte>(1u << (bit % 8));
    bitmap[half + bit / 8] &= mask;
    bitmap[2048 + half + bit / 8] &= mask;
  }
}

Result<void, Fault> check(VmxCpu& cpu, VmxInstruction instruction, VmxStatus status) {
  if (status == VmxStatus::succeed) return {};
  Fault fault = fault_of(FaultKind::vmx_instruction);
  fault.code = static_cast<uint8_t>(instruction);
  uint32_t number = 0;
  if (status == VmxStatus::fail_valid &&
      cpu.read(Field32::vm_instruction_error, number) == VmxStatus::succeed) {
    fault.number = number;
  }
  return Failure(fault);
}

// SDM vol. 3C, "Enabling and Entering VMX Operation".
Result<void, Fault> open_feature_control(VmxCpu& cpu) {
  constexpr uint64_t lock = 1, outside_smx = 4;
  uint64_t value = 0;
  if (!cpu.rdmsr(msr::FEATURE_CONTROL, value)) {
    return Failure(fault_of(FaultKind::capability_missing, msr::FEATURE_CONTROL));
  }
  if ((value & (lock | outside_smx)) == (lock | outside_smx)) return {};
  if ((value & lock) != 0 || !cpu.wrmsr(msr::FEATURE_CONTROL, value | lock | outside_smx)) {
    return Failure(fault_of(FaultKind::vmx_disabled));
  }
  return {};
}

Result<void, Fault> write_host_state(VcpuContext& vcpu, const HostState& host) {
  Vmcs& v = vcpu.vmcs;
  uint64_t efer = 0, pat = 0;
  if (!vcpu.cpu.rdmsr(msr::EFER, efer)) {
    return Failure(fault_of(FaultKind::capability_missing, msr::EFER));
  }
  if (!vcpu.cpu.rdmsr(msr::PAT, pat)) {
    return Failure(fault_of(FaultKind::capability_missing, msr::PAT));
  }
  v.set(FieldN::host_cr0, vcpu.cpu.read_cr0());
  v.set(FieldN::host_cr3, vcpu.cpu.read_cr3());
  v.set(FieldN::host_cr4, vcpu.cpu.read_cr4());
  v.set(Field64::host_efer, efer);
  v.set(Field64::host_pat, pat);
  v.set(Field16::host_cs_selector, host.cs);
  v.set(Field16::host_ss_selector, host.ss);
  v.set(Field16::host_ds_selector, host.ds);
  v.set(Field16::host_es_selector, host.es);
  v.set(Field16::host_fs_selector, host.fs);
  v.set(Field16::host_gs_selector, host.gs);
  v.set(Field16::host_tr_selector, host.tr);
  v.set(FieldN::host_fs_base, host.fs_base);
  v.set(FieldN::host_gs_base, host.gs_base);
  v.set(FieldN::host_tr_base, host.tr_base);
  v.set(FieldN::host_gdtr_base, host.gdtr_base);
  v.set(FieldN::host_idtr_base, host.idtr_base);
  v.set(Field32::host_sysenter_cs, 0);
  v.set(FieldN::host_sysenter_esp, 0);
  v.set(FieldN::host_sysenter_eip, 0);
  v.set(FieldN::host_rip, host.rip);
  v.set(FieldN::host_rsp, host.rsp);
  return {};
}

void write_controls(VcpuContext& vcpu, const VcpuFrames& frames) {
  Vmcs& v = vcpu.vmcs;
  const ControlSet& c = vcpu.controls;
  fill_msr_bitmap(frames.msr_bitmap_bytes(), (c.secondary & proc2::enable_rdtscp) != 0);
  v.set(Field32::pin_based_controls, c.pin);
  v.set(Field32::primary_processor_controls, c.primary);
  v.set(Field32::secondary_processor_controls, c.secondary);
  v.set(Field32::exit_controls, c.exit);
  v.set(Field32::entry_controls, c.entry);
  v.set(Field64::io_bitmap_a, frames.io_bitmap_a.value());
  v.set(Field64::io_bitmap_b, frames.io_bitmap_b.value());
  v.set(Field64::msr_bitmap, frames.msr_bitmap.value());
  v.set(Field64::ept_pointer, vcpu.ept.pointer());
  if (c.vpid()) v.set(Field16::vpid, vcpu.vpid);
  // No exception exits: the guest handles its own.
  v.set(Field32::exception_bitmap, 0);
  v.set(Field32::page_fault_error_code_mask, 0);
  v.set(Field32::page_fault_error_code_match, 0);
  v.set(Field32::cr3_target_count, 0);
  v.set(Field32::exit_msr_store_count, 0);
  v.set(Field32::exit_msr_load_count, 0);
  v.set(Field32::entry_msr_load_count, 0);
  v.set(Field32::entry_interruption_info, 0);
  v.set(FieldN::cr0_guest_host_mask, vcpu.policy.cr0.mask);
  v.set(FieldN::cr4_guest_host_mask, vcpu.policy.cr4.mask);
  v.set(Field64::vmcs_link_pointer, ~0ull);
}

}  // namespace

Result<VcpuFrames, Fault> VcpuFrames::allocate(FrameAllocator& frames, uint32_t revision) {
  VcpuFrames out(frames);
  for (; out.count_ < out.owned_.size(); ++out.count_) {
    auto frame = frames.allocate();
    if (!frame.ok()) return Failure(fault_of(FaultKind::out_of_frames));
    out.owned_[out.count_] = *frame;
  }
  out.vmxon = out.owned_[0];
  out.vmcs = out.owned_[1];
  out.io_bitmap_a = out.owned_[2];
  out.io_bitmap_b = out.owned_[3];
  out.msr_bitmap = out.owned_[4];
  std::memcpy(frames.data(out.vmxon), &revision, sizeof revision);
  std::memcpy(frames.data(out.vmcs), &revision, sizeof revision);
  std::memset(frames.data(out.io_bitmap_a), 0xff, kPageSize);
  std::memset(frames.data(out.io_bitmap_b), 0xff, kPageSize);
  return out;
}

VcpuFrames::VcpuFrames(VcpuFrames&& o) noexcept
    : vmxon(o.vmxon),
      vmcs(o.vmcs),
      io_bitmap_a(o.io_bitmap_a),
      io_bitmap_b(o.io_bitmap_b),
      msr_bitmap(o.msr_bitmap),
      frames_(o.frames_),
      owned_(o.owned_),
      count_(o.count_) {
  o.count_ = 0;
}

VcpuFrames::~VcpuFrames() {
  for (unsigned n = 0; n < count_; ++n) frames_->release(owned_[n]);
}

Result<void, Fault> enter_vmx_operation(VmxCpu& cpu, const VmxCapabilities& caps,
                                        const VcpuFrames& frames) {
  CUPEL_TRY(open_feature_control(cpu));
  cpu.write_cr0((cpu.read_cr0() | caps.cr0_fixed0) & caps.cr0_fixed1);
  cpu.write_cr4((cpu.read_cr4() | caps.cr4_fixed0 | cr4::VMXE) & caps.cr4_fixed1);
  CUPEL_TRY(check(cpu, VmxInstruction::vmxon, cpu.vmxon(frames.vmxon)));
  auto made = check(cpu, VmxInstruction::vmclear, cpu.vmclear(frames.vmcs));
  if (made.ok()) made = check(cpu, VmxInstruction::vmptrld, cpu.vmptrld(frames.vmcs));
  // Leaving can fail only outside VMX operation, where we are not.
  if (!made.ok()) (void)cpu.vmxoff();
  return made;
}

Result<EptBuilder, Fault> map_ram(const VmxCapabilities& caps, FrameAllocator& frames,
                                  const GuestRam& memory, const VcpuConfig& config) {
  if (config.holes.size() > RamMap::kMaxHoles) {
    return Failure(fault_of(FaultKind::bad_memory_range));
  }
  if (!caps.ept_walk4() || !caps.ept_write_back()) {
    return Failure(fault_of(FaultKind::ept_unsupported));
  }
  EptOptions options = EptOptions::from(caps);
  if (!config.large_pages) options.large_2m = options.large_1g = false;
  auto made = EptBuilder::create(frames, options);
  if (!made.ok()) return Failure(fault_of(FaultKind::out_of_frames));
  EptBuilder& builder = *made;
  const auto map = [&](uint64_t from, uint64_t to) -> Result<void, Fault> {
    if (from >= to) return {};
    auto mapped = builder.map(Gpa(from), memory.to_host(Gpa(from)), to - from);
    if (mapped.ok()) return {};
    return Failure(fault_of(mapped.error() == EptError::full ? FaultKind::out_of_frames
                                                             : FaultKind::bad_memory_range));
  };
  uint64_t from = 0;
  Result<void, Fault> done;
  for (const GpaRange& hole : config.holes) {
    done = map(from, std::min(hole.at.value(), memory.size()));
    if (!done.ok()) break;
    from = hole.at.value() + hole.size;
  }
  if (done.ok()) done = map(from, memory.size());
  if (!done.ok()) {
    builder.release();
    return std::move(done).failure();
  }
  return builder;
}

Result<void, Fault> configure_vmcs(VcpuContext& vcpu, const VcpuFrames& frames,
                                   const HostState& host) {
  write_controls(vcpu, frames);
  CUPEL_TRY(write_host_state(vcpu, host));
  if (!vcpu.vmcs.failed()) return {};
  Fault fault = fault_of(FaultKind::vmcs_access, vcpu.vmcs.failed_field());
  fault.code = vcpu.vmcs.failed_write() ? 1 : 0;
  return Failure(fault);
}

}  // namespace cupel::vmx
