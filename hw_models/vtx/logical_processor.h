// One logical processor with VT-x: VMX root operation for a hypervisor that calls it, VMX non-root
// operation for the guest that a cpu::Processor executes.
// SDM vol. 3C, ch. "Introduction to Virtual Machine Extensions" to "VM Exits".
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/x86/exit_reason.h"
#include "core/x86/vmx_cpu.h"
#include "hw_models/cpu/processor.h"
#include "hw_models/vtx/capabilities.h"
#include "hw_models/vtx/entry_checks.h"
#include "hw_models/vtx/ept.h"
#include "hw_models/vtx/ept_cache.h"
#include "hw_models/vtx/guest_state.h"
#include "hw_models/vtx/host_state.h"
#include "hw_models/vtx/vmcs.h"
#include "hw_models/vtx/vmx_error.h"

namespace cupel::vtx {

// The processor is borrowed, must outlive this object and has no other monitor. Its physical
// memory is the host-physical memory.
//
// Two layers: the execute_* functions are the instructions with resolved operands, faults included
// (an executor of root-mode code drives these); the VmxCpu functions adapt them for a hypervisor
// that is host code: a fault becomes VMfailInvalid, and VMLAUNCH and VMRESUME return after the VM
// exit. Guest state stays in the processor between exits and is synchronized with the VMCS when
// VMREAD and VMWRITE ask for it.
//
// A guest that can never go on (HLT with nothing armed that wakes it) leaves with an
// external-interrupt exit without vector, as the next tick of a real host would make it.
class LogicalProcessor final : public x86::VmxCpu, public cpu::Monitor {
 public:
  explicit LogicalProcessor(cpu::Processor& processor,
                            CapabilityProfile capabilities = server_capabilities());
  ~LogicalProcessor() override;
  LogicalProcessor(const LogicalProcessor&) = delete;
  LogicalProcessor& operator=(const LogicalProcessor&) = delete;

  // --- The VMX instructions, operands resolved ---------------------------------------------------
  Outcome execute_vmxon(Hpa region);
  Outcome execute_vmxoff();
  Outcome execute_vmclear(Hpa vmcs);
  Outcome execute_vmptrld(Hpa vmcs);
  Outcome execute_vmptrst(Hpa& vmcs);  // stores ~0 when there is no current VMCS
  Outcome execute_vmread(uint32_t encoding, uint64_t& value);
  Outcome execute_vmwrite(uint32_t encoding, uint64_t value);
  Outcome execute_invept(uint64_t type, const x86::InveptDescriptor& descriptor);
  Outcome execute_invvpid(uint64_t type, const x86::InvvpidDescriptor& descriptor);
  Outcome execute_vmcall();
  // Up to and including the loading of guest state: succeed = the processor is in VMX non-root
  // operation (or in VM exit because of an entry failure: then in_guest() is false).
  Outcome execute_entry(bool launch);
  bool in_guest() const { return in_guest_; }

  // --- VmxCpu: hosted use ------------------------------------------------------------------------
  [[nodiscard]] x86::VmxStatus vmxon(Hpa region) override;
  [[nodiscard]] x86::VmxStatus vmxoff() override;
  [[nodiscard]] x86::VmxStatus vmclear(Hpa vmcs) override;
  [[nodiscard]] x86::VmxStatus vmptrld(Hpa vmcs) override;
  [[nodiscard]] x86::VmxStatus vmptrst(Hpa& vmcs) override;
  [[nodiscard]] x86::VmxStatus vmread(uint32_t encoding, uint64_t& value) override;
  [[nodiscard]] x86::VmxStatus vmwrite(uint32_t encoding, uint64_t value) override;
  [[nodiscard]] x86::VmxStatus invept(uint64_t type, const x86::InveptDescriptor& d) override;
  [[nodiscard]] x86::VmxStatus invvpid(uint64_t type, const x86::InvvpidDescriptor& d) override;
  [[nodiscard]] x86::VmxStatus vmlaunch(x86::GprFile& regs) override;
  [[nodiscard]] x86::VmxStatus vmresume(x86::GprFile& regs) override;
  [[nodiscard]] x86::VmxStatus vmcall();
  [[nodiscard]] bool rdmsr(uint32_t index, uint64_t& value) override;
  [[nodiscard]] bool wrmsr(uint32_t index, uint64_t value) override;
  uint64_t read_cr0() override { return host_.cr0; }
  uint64_t read_cr3() override { return host_.cr3; }
  uint64_t read_cr4() override { return host_.cr4; }
  void write_cr0(uint64_t value) override;
  void write_cr4(uint64_t value) override;
  uint64_t read_cr2() override;
  void write_cr2(uint64_t value) override;
  uint64_t read_dr(unsigned n) override;
  void write_dr(unsigned n, uint64_t value) override;
  void fxsave(uint8_t* area512) override;
  void fxrstor(const uint8_t* area512) override;
  uint64_t rdtsc() override;

  // --- Executed use ------------------------------------------------------------------------------
  // The hypervisor, too, is code that the processor executes: VMX instructions work on its
  // registers, VM entries and exits replace its state. The VmxCpu functions are not to be used
  // afterwards. `bus`: whose INTR pin the processor has; borrowed.
  void execute_root_mode(cpu::SystemBus& bus);
  bool executed() const { return bus_ != nullptr; }
  bool in_vmx_operation() const { return vmx_root_; }
  // run() of the processor returns at `end`, as deadline.
  void set_slice_end(Nanoseconds end);
  // Earliest virtual time at which a processor that waits goes on by itself.
  Nanoseconds wakes_at() const;
  // The level of INTR: whether the bus has an interrupt for this processor.
  void set_interrupt_pin(bool asserted);
  // May a processor that waits go on if it is run now?
  bool has_event() const { return intr_ || nmi_ || init_ || startup_.has_value(); }
  // Called when INIT has reset the processor.
  void set_init_sink(std::function<void()> sink) { init_sink_ = std::move(sink); }
  // An inter-processor INIT or start-up message. SDM vol. 3A, "Multiple-Processor (MP)
  // Initialization"; vol. 3C, "Restrictions on VMX Operation".
  void receive_init();
  void receive_startup(uint8_t vector);

  // --- Pins of the processor ---------------------------------------------------------------------
  // The interrupt stays asserted until an exit acknowledges it ("acknowledge interrupt on exit"),
  // the guest takes it (external-interrupt exiting 0), or the host calls acknowledge.
  void raise_external_interrupt(uint8_t vector);
  std::optional<uint8_t> acknowledge_external_interrupt();
  void raise_nmi();
  void raise_init();

  // --- What a developer asks
  // ----------------------------------------------------------------------- Every check the last VM
  // entry failed; empty after one that succeeded.
  const std::vector<CheckFailure>& entry_failures() const { return failures_; }
  std::string describe_entry_failures() const { return describe(failures_); }
  VmxAbort abort() const { return abort_; }  // a processor in VMX abort executes nothing more
  VmxError last_error() const;               // VM-instruction error of the current VMCS
  HostState& host_state();                   // changes are seen by the next entry's checks
  const CapabilityProfile& capabilities() const { return capabilities_; }

  // --- cpu::Monitor: VMX non-root operation
  // --------------------------------------------------------
  bool on_trap(cpu::Trap& trap) override;
  cpu::PhysicalTranslation translate(const cpu::PhysicalAccess& access) override;
  void on_translation_fault(const cpu::PhysicalAccess& access) override;
  bool on_boundary() override;
  bool on_step() override;
  uint64_t visible_cr(unsigned number, uint64_t real) override;
  uint64_t visible_tsc(uint64_t host_tsc) override;
  bool read_msr(uint32_t index, uint64_t& value) override;

 private:
  static constexpr uint64_t kNoVmcs = ~0ull;

  // root_operation.cpp
  bool on_root_trap(cpu::Trap& trap);
  bool execute_instruction(const cpu::Trap& trap);
  bool execute_pointer_operand(const cpu::Trap& trap);
  bool execute_vmread_operands(const cpu::Trap& trap);
  bool execute_vmwrite_operands(const cpu::Trap& trap);
  bool execute_invalidation(const cpu::Trap& trap);
  bool execute_entry_here(const cpu::Trap& trap, bool launch);
  bool fault(uint8_t vector);
  void conclude(const cpu::Trap& trap, Outcome outcome);
  void take_host_registers();
  void take_effect();
  void put_host_into_processor();
  void build_host_state();
  void take_shared_registers();
  void load_host_segments();
  bool blocking_by_nmi_after_exit();

  // executed_boundary.cpp
  bool on_executed_boundary();
  bool at_root_boundary();
  void arm_deadline();
  bool interrupt_waits() const;
  uint8_t take_interrupt();

  // instructions.cpp
  bool vmxon_permitted() const;
  Outcome fail(VmxError error);
  bool valid_region(Hpa region) const;
  bool read_whole(uint32_t encoding, uint64_t& value);
  uint64_t read_field(const FieldInfo& info);
  void retire_current();  // writes the current VMCS back to its region
  void written(F field);
  bool has_current() const { return current_ != kNoVmcs; }

  // entry.cpp
  x86::VmxStatus enter(bool launch, x86::GprFile& regs);
  void run_guest();
  std::optional<CheckStage> check_entry();
  void fail_entry(x86::ExitReason reason, uint64_t qualification);
  Outcome check_launch_state(bool launch);
  void decode_controls();
  void take_host_values();
  bool inject_event();
  void load_pdptes_from_memory();
  EntryState entry_state();

  // msr_areas.cpp
  bool load_guest_msrs(uint64_t& failed_entry);
  bool store_guest_msrs();
  bool load_host_msrs();

  // exit.cpp
  void record_exit(x86::ExitReason reason, uint64_t qualification, unsigned length,
                   uint32_t instruction_info = 0);
  void record_event(x86::InterruptionInfo info, uint32_t error_code);
  void record_vectoring();
  void leave_guest();
  void load_host_state(bool guest_loaded);
  void abort_vmx(VmxAbort reason);

  // intercepts.cpp: each returns true when the guest must park (an exit, or a fault to inject)
  bool on_guest_trap(cpu::Trap& trap);
  bool exit_on(x86::ExitReason reason, const cpu::Trap& trap, uint64_t qualification = 0);
  bool raise(uint8_t vector, std::optional<uint32_t> error_code = {});
  bool on_exception(const cpu::Trap& trap);
  bool on_io(const cpu::Trap& trap);
  bool on_msr(const cpu::Trap& trap, bool write);
  bool on_cr(cpu::Trap& trap);
  bool on_cr0_or_cr4_value(cpu::Trap& trap, uint64_t value);
  bool on_vmx_instruction(const cpu::Trap& trap);
  bool msr_bitmap_exits(uint32_t index, bool write) const;
  bool io_bitmap_exits(uint16_t port, unsigned size) const;

  // boundary.cpp
  bool interrupts_open();
  bool nmis_open();
  bool timer_expired() const;
  void arm_boundaries(bool injected);
  void watch_windows();
  void start_preemption_timer();
  uint64_t remaining_timer() const;
  bool boundary_due() const;
  bool at_guest_boundary();
  bool exit_at_boundary(x86::ExitReason reason);
  bool on_external_interrupt();
  bool on_nmi();

  bool pin(uint32_t bit) const { return (vmcs_[F::pin_based_controls] & bit) != 0; }
  bool proc(uint32_t bit) const { return (vmcs_[F::primary_processor_controls] & bit) != 0; }
  bool proc2(uint32_t bit) const { return (proc2_ & bit) != 0; }
  bool exit_control(uint32_t bit) const { return (vmcs_[F::exit_controls] & bit) != 0; }
  bool entry_control(uint32_t bit) const { return (vmcs_[F::entry_controls] & bit) != 0; }

  cpu::Processor& processor_;
  PhysicalMemory& memory_;
  CapabilityProfile capabilities_;
  HostState host_;
  EptFeatures ept_features_;
  EptCache ept_cache_;
  uint8_t physical_bits_, linear_bits_;
  const CheckTable& checks_ = CheckTable::instance();
  std::array<FieldInfo, kLookupSize> fields_{};  // of this profile

  bool vmx_root_ = false;
  uint32_t vmxon_epoch_ = 0;
  Hpa vmxon_region_;
  uint64_t current_ = kNoVmcs;  // address of the current VMCS
  Vmcs vmcs_;                   // its data
  GuestState guest_{processor_, vmcs_};
  RowSet due_;          // checks whose fields were written since they last held
  RowSet memory_rows_;  // checks that depend on memory as well
  std::vector<CheckFailure> failures_;

  // Decoded at entry after a control was written.
  bool controls_changed_ = true;
  uint32_t proc2_ = 0;  // 0 when secondary controls are not active
  SwitchRules rules_;
  bool flush_at_entry_ = true;  // VPID 0: every entry drops the linear translations

  bool in_guest_ = false;
  bool exited_ = false;                 // this entry has had its VM exit
  bool save_rf_ = false;                // the exit is fault-like: RFLAGS.RF is saved as 1
  std::optional<cpu::Event> reinject_;  // the guest parked only to take this event
  bool pat_in_processor_ = false;       // the host's PAT is what the guest left
  uint64_t cached_eptp_ = ~0ull;        // whose mappings ept_cache_ holds
  cpu::TranslationTag tag_;             // of the guest's translations
  VmxAbort abort_ = VmxAbort::none;

  cpu::SystemBus* bus_ = nullptr;  // set: executed use
  bool host_bank_good_ = false;    // the bank holds what the VMCS says of the host
  bool intr_ = false;
  std::function<void()> init_sink_;
  Nanoseconds slice_end_ = Nanoseconds::max();
  std::optional<uint8_t> startup_;  // a start-up message for a guest that waits for it
  std::optional<uint8_t> external_interrupt_;
  bool nmi_ = false, init_ = false;
  bool timer_armed_ = false;
  uint64_t timer_deadline_tsc_ = 0;
  bool deadline_set_ = false, watching_interrupts_ = false, watching_nmis_ = false;
};

}  // namespace cupel::vtx
