#include "hypervisor/metal/guest_run.h"

#include <array>

#include "core/x86/msr.h"
#include "hypervisor/metal/console.h"
#include "hypervisor/metal/guest_loader.h"
#include "hypervisor/metal/instructions.h"
#include "hypervisor/vmx/guest_state.h"
#include "hypervisor/vmx/vcpu_core.h"

namespace cupel::metal {
namespace {

using namespace x86;

constexpr uint64_t kRamBase = 64_MiB, kRamSize = 64_MiB;
constexpr uint64_t kTscHz = 1'000'000'000;  // one TSC tick is taken for a nanosecond
constexpr Nanoseconds kSlice = 100_ms;

std::array<uint64_t, GuestRam::words_for(kRamSize)> dirty_bitmap;

// The processor, with the clock set to its TSC at every exit.
class TimedVmx final : public MetalVmx {
 public:
  explicit TimedVmx(VirtualClock& clock) : clock_(clock), start_(metal::rdtsc()) {}
  VmxStatus vmlaunch(GprFile& regs) override { return timed(MetalVmx::vmlaunch(regs)); }
  VmxStatus vmresume(GprFile& regs) override { return timed(MetalVmx::vmresume(regs)); }

 private:
  VmxStatus timed(VmxStatus status) {
    clock_.set(Nanoseconds(static_cast<int64_t>(metal::rdtsc() - start_)));
    return status;
  }
  VirtualClock& clock_;
  uint64_t start_;
};

// Serial output, the debug exit, and CPUID without VMX.
class Platform final : public vm::GuestPlatform {
 public:
  uint32_t port_in(uint16_t port, unsigned size) override {
    if (port == kCom1 + 5) return 0x60;  // both transmitter registers empty
    return size == 4 ? ~0u : (1u << size * 8) - 1;
  }
  void port_out(uint16_t port, unsigned, uint32_t value) override {
    const bool divisor = (line_control_ & 0x80) != 0;
    if (port == kCom1 && !divisor) print(static_cast<char>(value));
    if (port == kCom1 + 3) line_control_ = static_cast<uint8_t>(value);
    if (port == kDebugExit) {
      exit_value = static_cast<uint8_t>(value);
      stop_ = true;
    }
  }
  uint64_t mmio_read(Gpa, unsigned size) override { return vmx::mask_of(size); }
  void mmio_write(Gpa, unsigned, uint64_t) override {}
  bool read_msr(uint32_t index, uint64_t& value) override {
    value = 0xfee00100;  // boot processor; the local APIC is off
    return index == msr::APIC_BASE;
  }
  bool write_msr(uint32_t, uint64_t) override { return false; }
  CpuidLeaf cpuid(uint32_t leaf, uint32_t subleaf) override {
    const Cpuid own = metal::cpuid(leaf, subleaf);
    CpuidLeaf value{own.eax, own.ebx, own.ecx, own.edx};
    if (leaf == 1) {
      value.ecx &= ~(1u << 5 | 1u << 21);  // VMX, x2APIC
      value.edx &= ~(1u << 9);             // local APIC
    }
    return value;
  }
  bool interrupt_pending() override { return false; }
  uint8_t acknowledge_interrupt() override { return 0xff; }
  bool take_nmi() override { return false; }
  void advance(Nanoseconds) override {}
  Nanoseconds next_deadline() override { return Nanoseconds::max(); }
  bool stop_requested() const override { return stop_; }

  uint8_t exit_value = 0xff;

 private:
  static constexpr uint16_t kCom1 = 0x3f8, kDebugExit = 0xf4;
  uint8_t line_control_ = 0;
  bool stop_ = false;
};

bool tell(const vmx::Fault& fault) {
  print_line("# guest fault kind=", uint32_t{static_cast<uint8_t>(fault.kind)},
             " number=", Hex{fault.number}, " reason=", Hex{fault.reason},
             " qualification=", Hex{fault.qualification}, " rip=", Hex{fault.rip});
  return false;
}

void tell_exits(const std::array<uint64_t, kExitReasonCount>& by_reason) {
  for (unsigned n = 0; n < by_reason.size(); ++n) {
    if (by_reason[n] == 0) continue;
    print_line("# guest exits ", to_string(static_cast<ExitReason>(n)), "=", by_reason[n]);
  }
}

bool run_core(vmx::VcpuCore& core, const Platform& platform, VirtualClock& clock) {
  for (;;) {
    switch (core.run(clock.now() + kSlice)) {
      case vmx::RunStop::deadline:
        continue;
      case vmx::RunStop::stop_request:
        print_line("# guest debug exit ", uint32_t{platform.exit_value});
        return platform.exit_value == 0;
      case vmx::RunStop::halted:
        print_line("# guest halted, and nothing can wake it");
        return false;
      case vmx::RunStop::triple_fault:
      case vmx::RunStop::fault:
        return tell(core.fault());
    }
  }
}

bool run_loaded(Lab& lab, GuestRam& ram, const CpuState& state) {
  lab.off();
  VirtualClock clock;
  TimedVmx cpu(clock);
  Platform platform;
  vmx::VcpuConfig config;
  config.tsc_hz = kTscHz;
  config.host = host_state();
  config.host.rip = MetalVmx::exit_address();
  auto controls = vmx::choose_controls(lab.caps, config.unrestricted);
  if (!controls.ok()) return tell(controls.error());
  auto frames = vmx::VcpuFrames::allocate(lab.frames, lab.caps.revision());
  if (!frames.ok()) return tell(frames.error());
  auto ept = vmx::map_ram(lab.caps, lab.frames, ram, config);
  if (!ept.ok()) return tell(ept.error());
  if (auto on = vmx::enter_vmx_operation(cpu, lab.caps, *frames); !on.ok()) {
    return tell(on.error());
  }
  const vmx::VcpuContext context(cpu, vmx::RamMap(ram, {}), platform, clock, lab.caps, *controls,
                                 *ept, config.vpid, lab.physical_bits);
  uint64_t total = 0;
  std::array<uint64_t, kExitReasonCount> by_reason{};
  vmx::VcpuCore core(context, std::move(*frames), config, {total, by_reason});
  if (auto done = core.configure(config.host); !done.ok()) return tell(done.error());
  if (auto done = vmx::write_state(core.context(), state); !done.ok()) return tell(done.error());
  const bool good = run_core(core, platform, clock);
  tell_exits(by_reason);
  return good;
}

}  // namespace

bool run_guest(Lab& lab, const BootInfo& boot) {
  if (boot.module.empty()) {
    print_line("# guest: the boot loader gave no module");
    return false;
  }
  const auto begin = reinterpret_cast<uint64_t>(boot.module.data());
  if (begin < kRamBase + kRamSize && kRamBase < begin + boot.module.size()) {
    print_line("# guest: the module lies where the guest's RAM goes");
    return false;
  }
  auto* bytes = reinterpret_cast<std::byte*>(kRamBase);
  std::memset(bytes, 0, kRamSize);
  GuestRam ram(bytes, Hpa(kRamBase), kRamSize, dirty_bitmap);
  auto state = load_guest(boot.module, boot.module_command_line, ram);
  if (!state.ok()) {
    print_line("# guest: ", to_string(state.error()));
    return false;
  }
  return run_loaded(lab, ram, *state);
}

}  // namespace cupel::metal
