// Accesses to the APIC-access page: exits, virtualized reads and writes, and what follows a write.
// SDM vol. 3C, "Virtualizing Memory-Mapped APIC Accesses".
//
// Accesses by physical address that no EPT translated (guest paging structures without EPT) reach
// memory, which the architecture leaves open. Event delivery accesses its frame at once: the offset
// in the exit qualification is that of the frame's lowest byte on the page.
#include <utility>

#include "core/probe.h"
#include "hw_models/vtx/logical_processor.h"

namespace cupel::vtx {

using x86::ExitReason;

// Called by VM entry when a control was written.
void LogicalProcessor::decode_apic_controls() {
  using namespace x86;
  apic_ = {};
  apic_.controls.tpr_shadow = proc(proc::tpr_shadow);
  apic_.controls.registers = proc2(proc2::apic_register_virtualization);
  apic_.controls.interrupt_delivery = proc2(proc2::virtual_interrupt_delivery);
  apic_.tpr_threshold = apic_.controls.tpr_shadow && !apic_.controls.interrupt_delivery;
  if (proc2(proc2::virtualize_apic_accesses)) {
    apic_.access_page = vmcs_[F::apic_access_address];
    apic_.tpr_exit_at_entry = apic_.tpr_threshold;
  }
  virtual_interrupt_recognized_ = tpr_exit_due_ = false;
}

// The translation of an access has led to the APIC-access page. An access through guest-physical
// addresses (a guest paging structure with EPT) is never virtualized. SDM vol. 3C, "Guest-Physical
// Accesses to the APIC-Access Page".
cpu::PhysicalTranslation LogicalProcessor::translate_apic_access(
    const cpu::PhysicalAccess& access, const cpu::PhysicalTranslation& found) {
  if (access.paging_structure) return rules_.ept ? cpu::PhysicalTranslation{} : found;
  const auto offset = static_cast<uint32_t>(found.hpa.offset_in(kPageSize));
  const bool write_before = completion_ == Completion::apic_write;
  switch (access.access) {
    case cpu::Access::fetch:
      return {};
    case cpu::Access::read:
      if (write_before || !read_virtualized(apic_.controls, offset, access.size)) return {};
      break;
    case cpu::Access::write: {
      const ApicWrite write{offset, access.size};
      if (write_before && write != apic_write_) return {};
      if (!write_virtualized(apic_.controls, offset, access.size)) return {};
      break;
    }
  }
  return {true, virtual_apic().at(offset), access.access == cpu::Access::write, false, true, true};
}

// SDM vol. 3C, "Exit Qualification for APIC-Access VM Exits from Linear Accesses and Guest-Physical
// Accesses". The offset is undefined for guest-physical accesses.
void LogicalProcessor::record_apic_access(const cpu::PhysicalAccess& access) {
  using Type = x86::ApicAccess::Type;
  const bool delivering = processor_.vectoring().has_value();
  x86::ApicAccess q;
  if (access.paging_structure) {
    q.type = delivering ? Type::physical_in_delivery : Type::physical;
  } else {
    q.offset = static_cast<uint16_t>(access.gpa.offset_in(kPageSize));
    q.type = delivering                            ? Type::event_delivery
             : access.access == cpu::Access::read  ? Type::data_read
             : access.access == cpu::Access::write ? Type::data_write
                                                   : Type::fetch;
  }
  record_exit(ExitReason::apic_access, q.encode(), 0);
}

void LogicalProcessor::on_virtualized_write(const cpu::PhysicalAccess& access) {
  completion_ = Completion::apic_write;
  apic_write_ = {static_cast<uint32_t>(access.gpa.offset_in(kPageSize)), access.size};
}

// True: VM exit. The instruction that was virtualized has completed.
bool LogicalProcessor::on_completion() {
  switch (std::exchange(completion_, Completion::none)) {
    case Completion::none:
      return false;
    case Completion::tpr:
      virtualize_tpr();
      break;
    case Completion::eoi:
      virtualize_eoi();
      break;
    case Completion::self_ipi:
      virtualize_self_ipi_msr();
      break;
    case Completion::apic_write:
      emulate_apic_write();
      break;
  }
  if (!exited_) return false;
  if (executed()) take_effect();
  return true;
}

// SDM vol. 3C, "APIC-Write Emulation".
void LogicalProcessor::emulate_apic_write() {
  VirtualApicPage page = virtual_apic();
  const uint32_t offset = apic_write_.offset;
  if (offset == apic::tpr) {
    page.write(apic::tpr, page.read(apic::tpr) & 0xff);
    return virtualize_tpr();
  }
  if (offset == apic::eoi && apic_.controls.interrupt_delivery) {
    page.write(apic::eoi, 0);
    return virtualize_eoi();
  }
  if (offset == apic::icr_low && apic_.controls.interrupt_delivery) {
    const uint32_t command = page.read(apic::icr_low);
    if (is_self_ipi(command)) return virtualize_self_ipi(static_cast<uint8_t>(command));
  }
  if (offset >= apic::icr_high && offset < apic::icr_high + 4) {
    page.write(apic::icr_high, page.read(apic::icr_high) & 0xff000000);
    return;
  }
  CUPEL_PROBE("vtx.apic_write");
  record_exit(ExitReason::apic_write, offset, 0);
}

}  // namespace cupel::vtx
