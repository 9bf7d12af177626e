#include "hypervisor/kvm/exit_counting.h"

#include <linux/kvm.h>

namespace cupel::kvm {
namespace {

struct Row {
  uint32_t kvm_reason;
  const char* name;
  std::optional<x86::ExitReason> basic;
};

constexpr Row kRows[] = {
    {KVM_EXIT_UNKNOWN, "KVM_EXIT_UNKNOWN", {}},
    {KVM_EXIT_EXCEPTION, "KVM_EXIT_EXCEPTION", x86::ExitReason::exception_or_nmi},
    {KVM_EXIT_IO, "KVM_EXIT_IO", x86::ExitReason::io_instruction},
    {KVM_EXIT_HYPERCALL, "KVM_EXIT_HYPERCALL", x86::ExitReason::vmcall},
    {KVM_EXIT_DEBUG, "KVM_EXIT_DEBUG", x86::ExitReason::exception_or_nmi},
    {KVM_EXIT_HLT, "KVM_EXIT_HLT", x86::ExitReason::hlt},
    {KVM_EXIT_MMIO, "KVM_EXIT_MMIO", x86::ExitReason::ept_violation},
    {KVM_EXIT_IRQ_WINDOW_OPEN, "KVM_EXIT_IRQ_WINDOW_OPEN", x86::ExitReason::interrupt_window},
    {KVM_EXIT_SHUTDOWN, "KVM_EXIT_SHUTDOWN", x86::ExitReason::triple_fault},
    {KVM_EXIT_FAIL_ENTRY, "KVM_EXIT_FAIL_ENTRY", x86::ExitReason::entry_failure_guest_state},
    {KVM_EXIT_INTR, "KVM_EXIT_INTR", x86::ExitReason::external_interrupt},
    {KVM_EXIT_SET_TPR, "KVM_EXIT_SET_TPR", x86::ExitReason::cr_access},
    {KVM_EXIT_TPR_ACCESS, "KVM_EXIT_TPR_ACCESS", x86::ExitReason::apic_access},
    {KVM_EXIT_NMI, "KVM_EXIT_NMI", x86::ExitReason::exception_or_nmi},
    {KVM_EXIT_INTERNAL_ERROR, "KVM_EXIT_INTERNAL_ERROR", {}},
    {KVM_EXIT_SYSTEM_EVENT, "KVM_EXIT_SYSTEM_EVENT", {}},
    {KVM_EXIT_IOAPIC_EOI, "KVM_EXIT_IOAPIC_EOI", x86::ExitReason::virtualized_eoi},
    {KVM_EXIT_X86_RDMSR, "KVM_EXIT_X86_RDMSR", x86::ExitReason::rdmsr},
    {KVM_EXIT_X86_WRMSR, "KVM_EXIT_X86_WRMSR", x86::ExitReason::wrmsr},
    {KVM_EXIT_X86_BUS_LOCK, "KVM_EXIT_X86_BUS_LOCK", x86::ExitReason::bus_lock},
};

const Row* find(uint32_t reason) {
  for (const Row& row : kRows) {
    if (row.kvm_reason == reason) return &row;
  }
  return nullptr;
}

}  // namespace

std::optional<x86::ExitReason> basic_exit_reason(uint32_t kvm_exit_reason) {
  const Row* const row = find(kvm_exit_reason);
  return row == nullptr ? std::nullopt : row->basic;
}

const char* kvm_exit_name(uint32_t kvm_exit_reason) {
  const Row* const row = find(kvm_exit_reason);
  return row == nullptr ? "an exit this backend does not know" : row->name;
}

}  // namespace cupel::kvm
