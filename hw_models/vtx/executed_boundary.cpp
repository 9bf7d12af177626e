// Between instructions of code that the processor executes, in root mode and as a guest: slices,
// interrupts from the board, INIT and start-up messages.
#include <algorithm>
#include <utility>

#include "hw_models/vtx/logical_processor.h"

namespace cupel::vtx {

bool LogicalProcessor::interrupt_waits() const {
  return executed() ? intr_ : external_interrupt_.has_value();
}

uint8_t LogicalProcessor::take_interrupt() {
  return executed() ? bus_->acknowledge_interrupt()
                    : *std::exchange(external_interrupt_, std::nullopt);
}

void LogicalProcessor::set_slice_end(Nanoseconds end) {
  slice_end_ = end;
  arm_deadline();
}

void LogicalProcessor::set_interrupt_pin(bool asserted) {
  if (asserted == intr_) return;
  intr_ = asserted;
  watch_windows();
  if (asserted) processor_.request_boundary();
}

void LogicalProcessor::receive_init() {
  init_ = true;
  processor_.request_boundary();
}

// Lost unless the processor waits for it.
void LogicalProcessor::receive_startup(uint8_t vector) {
  if (processor_.activity() != x86::Activity::wait_for_sipi) return;
  if (in_guest_) {
    startup_ = vector;
  } else {
    x86::Segment cs = processor_.segment(x86::Seg::cs);
    cs.selector = static_cast<uint16_t>(vector << 8);
    cs.base = uint64_t{vector} << 12;
    processor_.set_segment(x86::Seg::cs, cs);
    processor_.set_rip(0);
    processor_.set_activity(x86::Activity::active);
  }
  processor_.request_boundary();
}

// True: an event goes to root-mode code, or the processor's state was replaced.
bool LogicalProcessor::at_root_boundary() {
  if (init_ && !vmx_root_) {  // blocked in VMX root operation, not lost
    init_ = false;
    x86::CpuState state = x86::CpuState::after_reset();
    const x86::CpuState before = processor_.state();
    state.fxsave = before.fxsave;
    state.cr0 |= before.cr0 & (x86::cr0::CD | x86::cr0::NW);
    state.pat = before.pat;
    state.gpr[x86::Gpr::rdx] = processor_.profile().table.get(1, 0).eax;
    state.activity = x86::Activity::wait_for_sipi;
    processor_.set_state(state);
    if (init_sink_) init_sink_();
    return true;
  }
  const auto activity = processor_.activity();
  if (activity == x86::Activity::wait_for_sipi || activity == x86::Activity::shutdown) return false;
  if (nmi_ && nmis_open()) {
    nmi_ = false;
    processor_.inject({x86::kNMI, x86::EventType::nmi, false, 0, 0});
    return true;
  }
  if (interrupt_waits() && interrupts_open()) {
    processor_.inject({take_interrupt(), x86::EventType::external_interrupt, false, 0, 0});
    return true;
  }
  return false;
}

// True: the slice is over.
bool LogicalProcessor::on_executed_boundary() {
  if (in_guest_) {
    if (exited_ || reinject_ || at_guest_boundary()) take_effect();
  } else {
    (void)at_root_boundary();
  }
  watch_windows();
  arm_deadline();
  return processor_.now() >= slice_end_;
}

}  // namespace cupel::vtx
