// Posted-interrupt processing. SDM vol. 3C, "Posted-Interrupt Processing".
#include <algorithm>
#include <bit>

#include "core/probe.h"
#include "core/x86/msr.h"
#include "hw_models/vtx/logical_processor.h"

namespace cupel::vtx {
namespace {

// Posted-interrupt descriptor, 64 bytes: bits 255:0 PIR, 256 ON. One processor runs at a time, so
// that plain accesses are atomic.
constexpr uint64_t kPirWords = 8, kControlOffset = 32;
constexpr uint32_t kOutstanding = 1;

}  // namespace

// An interrupt for a guest whose VMCS says "process posted interrupts": acknowledged, and either
// the reason of an exit (true) or a notification.
bool LogicalProcessor::on_interrupt_with_posting() {
  const uint8_t vector = take_interrupt();
  if (vector != vmcs_[F::posted_interrupt_vector]) {
    record_exit(x86::ExitReason::external_interrupt, 0, 0);
    record_event({vector, x86::EventType::external_interrupt, false, false, true}, 0);
    return true;
  }
  CUPEL_PROBE("vtx.posted_interrupt");
  process_posted_interrupts();
  // Another interrupt may have waited behind the notification. Where no time has passed since the
  // last one, a line that never falls would hold the processor here for ever.
  if (interrupt_waits() && processor_.now() != last_notification_) processor_.request_boundary();
  last_notification_ = processor_.now();
  return false;
}

// Steps 3 to 7.
void LogicalProcessor::process_posted_interrupts() {
  const Hpa descriptor(vmcs_[F::posted_interrupt_descriptor]);
  const Hpa control = descriptor + kControlOffset;
  memory_.write(control, memory_.read<uint32_t>(control) & ~kOutstanding);
  dismiss_interrupt();
  VirtualApicPage page = virtual_apic();
  InterruptStatus status = interrupt_status();
  for (uint32_t n = 0; n < kPirWords; ++n) {
    const Hpa at = descriptor + n * 4;
    const auto posted = memory_.read<uint32_t>(at);
    if (posted == 0) continue;
    memory_.write(at, uint32_t{0});
    const uint32_t request = apic::irr + n * 16;
    page.write(request, page.read(request) | posted);
    const auto highest = static_cast<uint8_t>(n * 32 + std::bit_width(posted) - 1);
    status.requesting = std::max(status.requesting, highest);
  }
  set_interrupt_status(status);
  evaluate_virtual_interrupts();
}

// Writes 0 to the EOI register of the processor's local APIC. A hosted hypervisor's interrupt is
// gone when it is acknowledged.
void LogicalProcessor::dismiss_interrupt() {
  constexpr uint64_t x2apic_mode = 1 << 10, page = 0x000ffffffffff000ull;
  constexpr uint32_t eoi_msr = x86::msr::X2APIC_FIRST + apic::eoi / 16;
  uint64_t base = 0;
  if (!executed() || bus_->read_msr(x86::msr::APIC_BASE, base) != cpu::SystemBus::MsrOutcome::done)
    return;
  if ((base & x2apic_mode) != 0) {
    (void)bus_->write_msr(eoi_msr, 0);
  } else {
    bus_->write(Hpa((base & page) + apic::eoi), 4, 0);
  }
}

}  // namespace cupel::vtx
