// The image: `cupel-metal.elf`, bootable by Multiboot 1 (GRUB) and PVH. It prints TAP on COM1 and
// ends through the debug-exit port.
#include <array>
#include <cstddef>
#include <cstdint>

#include "core/x86/msr.h"
#include "hypervisor/metal/bench.h"
#include "hypervisor/metal/boot_info.h"
#include "hypervisor/metal/console.h"
#include "hypervisor/metal/guest_run.h"
#include "hypervisor/metal/lab.h"
#include "hypervisor/metal/options.h"
#include "hypervisor/metal/processors.h"
#include "hypervisor/metal/selftest/search.h"
#include "hypervisor/metal/selftest/smp.h"
#include "hypervisor/metal/selftest/suites.h"
#include "hypervisor/metal/trap.h"

namespace cupel::metal {
namespace {

// Frames for VMXON regions, VMCSs, bitmaps and EPT tables.
alignas(4096) std::array<std::byte, 4_MiB> frame_memory;

bool run_tests(const Options& options, Lab& lab) {
  Tap tap(options.test, options.skip);
  test_instructions(tap, lab);
  test_instructions_cpl3(tap, lab);
  test_vmcs_access(tap, lab);
  test_entry_instructions(tap, lab);
  test_exits_basic(tap, lab);
  test_exits_vmx(tap, lab);
  test_exits_io(tap, lab);
  test_exits_registers(tap, lab);
  test_ept_rights(tap, lab);
  test_vmfunc(tap, lab);
  test_shadowing(tap, lab);
  test_guest_time(tap, lab);
  test_exits_exceptions(tap, lab);
  test_injection(tap, lab);
  test_windows(tap, lab);
  test_ept(tap, lab);
  test_apic(tap, lab);
  test_state(tap, lab);
  test_checks_controls(tap, lab);
  test_checks_host(tap, lab);
  test_checks_guest(tap, lab);
  test_checks_segments(tap, lab);
  test_apic_virtualization(tap, lab);
  test_smp(tap, lab,
           options.cpus != 0 ? static_cast<unsigned>(options.cpus) : firmware_processor_count());
  return tap.finish();
}

// What a capability profile is made of. SDM vol. 3D, appendix "VMX Capability Reporting Facility".
void dump_capabilities(Lab& lab) {
  for (uint32_t index = x86::msr::VMX_BASIC; index <= x86::msr::VMX_EXIT2; ++index) {
    uint64_t value = 0;
    if (lab.cpu.rdmsr(index, value)) print_line("# msr ", Hex{index}, " ", Hex{value});
  }
}

}  // namespace
}  // namespace cupel::metal

extern "C" [[noreturn]] void metal_main(uint32_t magic, uint64_t information) {
  using namespace cupel;
  using namespace cupel::metal;
  console_init();
  traps_init();
  const BootInfo boot(magic, information);
  Options options;
  const char* bad = "";
  if (!parse_options(boot.command_line, options, bad)) {
    print_line("# bad value for ", bad, "=");
    leave(Exit::usage);
  }
  auto frames = vmx::FrameAllocator::create(frame_memory.data(),
                                            Hpa(reinterpret_cast<uint64_t>(frame_memory.data())),
                                            frame_memory.size());
  if (!frames.ok()) bail_out("no frames");
  Lab lab(frames.value());
  bool good = true;
  if (options.run_tests) good = run_tests(options, lab);
  if (options.dump) dump_capabilities(lab);
  if ((options.states | options.sequences | options.epts) != 0) {
    good = run_search(lab, options, boot.module);
  }
  if (options.guest) good = run_guest(lab, boot);
  if (options.bench) good = run_benchmarks(lab, options.iterations, options.bench_name);
  lab.off();
  leave(good ? Exit::ok : Exit::failed);
}
