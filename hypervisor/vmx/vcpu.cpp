#include "hypervisor/vmx/vcpu.h"

#include "hypervisor/vmx/fault_text.h"
#include "hypervisor/vmx/guest_state.h"
#include "hypervisor/vmx/state_archive.h"

namespace cupel::vmx {
namespace {

Failure<Error> as_error(const Fault& fault) { return Failure(to_error(fault)); }

// MAXPHYADDR as the guest is told. SDM vol. 2A, "CPUID", leaf 80000008H; 36 where it is absent.
uint8_t physical_bits(vm::GuestPlatform& platform) {
  const uint32_t bits = platform.cpuid(0x80000008, 0).eax & 0xff;
  return static_cast<uint8_t>(bits >= 32 && bits <= 52 ? bits : 36);
}

vm::StopReason reason_of(RunStop stop) {
  switch (stop) {
    case RunStop::deadline:
      return vm::StopReason::deadline;
    case RunStop::halted:
      return vm::StopReason::halted;
    case RunStop::stop_request:
      return vm::StopReason::stop_request;
    case RunStop::triple_fault:
      return vm::StopReason::triple_fault;
    case RunStop::fault:
      return vm::StopReason::error;
  }
  return vm::StopReason::error;
}

constexpr std::string_view kSection = "vmx-vcpu";
constexpr uint32_t kVersion = 1;

}  // namespace

Result<std::unique_ptr<VmxVcpu>> VmxVcpu::create(x86::VmxCpu& cpu, GuestMemory& memory,
                                                 vm::GuestPlatform& platform, VirtualClock& clock,
                                                 FrameAllocator& frames, VmxVcpuConfig config) {
  auto caps = VmxCapabilities::read(cpu);
  if (!caps.ok()) return as_error(caps.error());
  auto controls = choose_controls(*caps, config.unrestricted);
  if (!controls.ok()) return as_error(controls.error());
  auto own = VcpuFrames::allocate(frames, caps->revision());
  if (!own.ok()) return as_error(own.error());
  auto ept = map_ram(*caps, frames, memory, config);
  if (!ept.ok()) return as_error(ept.error());
  if (auto entered = enter_vmx_operation(cpu, *caps, *own); !entered.ok()) {
    ept->release();
    return as_error(entered.error());
  }
  const VcpuContext context(cpu, RamMap(memory, config.holes), platform, clock, *caps, *controls,
                            *ept, config.vpid, physical_bits(platform));
  config.holes = {};
  const bool reset = config.unrestricted;
  // From here on the destructor leaves VMX operation and gives the frames back.
  std::unique_ptr<VmxVcpu> vcpu(new VmxVcpu(context, std::move(*own), std::move(config)));
  if (auto done = vcpu->core_.configure(vcpu->config_.host); !done.ok()) {
    return as_error(done.error());
  }
  if (reset) CUPEL_TRY(vcpu->set_state(x86::CpuState::after_reset()));
  return vcpu;
}

vm::Stop VmxVcpu::run(Nanoseconds until) {
  const RunStop stop = core_.run(until);
  vm::Stop out;
  out.reason = reason_of(stop);
  if (stop == RunStop::fault || stop == RunStop::triple_fault) out.error = to_error(core_.fault());
  return out;
}

Result<x86::CpuState> VmxVcpu::state() {
  x86::CpuState state = read_state(core_.context());
  CUPEL_TRY(check_vmcs());
  return state;
}

Result<void> VmxVcpu::set_state(const x86::CpuState& state) {
  if (auto done = write_state(core_.context(), state); !done.ok()) return as_error(done.error());
  return check_vmcs();
}

Result<void> VmxVcpu::check_vmcs() {
  if (const Fault fault = core_.vmcs_fault(); fault.kind != FaultKind::none) {
    return as_error(fault);
  }
  return {};
}

void VmxVcpu::save(ArchiveWriter& out) {
  VcpuContext& v = core_.context();
  out.section(kSection, kVersion);
  put(out, read_state(v));
  out.put(read_pdptes(v));
  out.put(v.vmcs.get(x86::FieldN::guest_pending_debug_exceptions));
  out.put(v.tsc_adjust);
  put(out, v.events.waiting());
  out.put<uint8_t>(v.events.nmi_pending() ? 1 : 0);
}

Result<void> VmxVcpu::restore(ArchiveReader& in) {
  in.section(kSection, kVersion);
  const x86::CpuState state = get_cpu_state(in);
  const auto pdptes = in.get<std::array<uint64_t, 4>>();
  const auto pending_debug = in.get<uint64_t>();
  const auto tsc_adjust = in.get<uint64_t>();
  const Event event = get_event(in);
  const bool nmi = in.get<uint8_t>() != 0;
  if (!in.ok()) return in.finish();
  CUPEL_TRY(set_state(state));
  VcpuContext& v = core_.context();
  write_pdptes(v, pdptes);
  v.vmcs.set(x86::FieldN::guest_pending_debug_exceptions, pending_debug);
  v.tsc_adjust = tsc_adjust;
  v.events.restore(event, nmi);
  // The tables may have come back from a memory snapshot together with the guest's RAM.
  if (!v.flush_guest_physical()) return as_error(v.fault);
  return check_vmcs();
}

void VmxVcpu::memory_changed(Gpa at, uint64_t length) {
  if (config_.memory_changed) config_.memory_changed(at, length);
}

Result<void> VmxVcpu::harvest_dirty() {
  if (!core_.harvest_dirty()) return as_error(core_.fault());
  return {};
}

}  // namespace cupel::vmx
