// One logical processor with VT-x: VMX root operation for a hypervisor that calls it, VMX non-root
// operation for the guest that a cpu::Processor executes.
// SDM vol. 3C, ch. "Introduction to Virtual Machine Extensions" to "VM Exits".
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/x86/exit_reason.h"
#include "core/x86/vmx_cpu.h"
#include "hw_models/cpu/processor.h"
#include "hw_models/vtx/capabilities.h"
#include "hw_models/vtx/coverage.h"
#include "hw_models/vtx/entry_checks.h"
#include "hw_models/vtx/ept.h"
#include "hw_models/vtx/ept_cache.h"
#include "hw_models/vtx/exit_ring.h"
#include "hw_models/vtx/guest_state.h"
#include "hw_models/vtx/host_state.h"
#include "hw_models/vtx/tagged_tlb.h"
#include "hw_models/vtx/virtual_apic.h"
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

  // Executed use, between two runs of the processor. What the doctor has found is not part of it.
  struct Snapshot {
    HostState host;
    Vmcs vmcs;
    uint64_t current = ~0ull;
    Hpa vmxon_region;
    uint32_t vmxon_epoch = 0;
    bool vmx_root = false, in_guest = false, nmi = false, init = false, timer_armed = false;
    uint64_t timer_deadline_tsc = 0;
    std::optional<uint8_t> startup;
    VmxAbort abort = VmxAbort::none;
    cpu::ProcessorSnapshot processor;
  };
  Snapshot snapshot();
  void restore(const Snapshot& snapshot);

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
  // Since the start; fields only of executed code.
  const Coverage& coverage() const { return coverage_; }
  // The last exits of executed code, oldest first.
  const ExitRing& last_exits() const { return ring_; }
  // The current VMCS, guest state taken out of the processor; nullptr: there is none. Guest state
  // is what the last exit saved, except while the guest runs.
  const Vmcs* current_vmcs() {
    if (!has_current()) return nullptr;
    guest_.pull_all();
    return &vmcs_;
  }
  VmxAbort abort() const { return abort_; }  // a processor in VMX abort executes nothing more
  VmxError last_error() const;               // VM-instruction error of the current VMCS
  HostState& host_state();                   // changes are seen by the next entry's checks
  const CapabilityProfile& capabilities() const { return capabilities_; }

  // Adversarial mode: translations stay in use as long as the architecture allows, and the use of
  // one that the tables no longer give is reported. Slow; deterministic. Switching it on or off
  // drops all translations.
  void keep_translations(bool keep);
  TaggedTlb* kept_translations() { return tlb_.get(); }  // nullptr: the mode is off

  // --- cpu::Monitor: VMX non-root operation
  // --------------------------------------------------------
  bool on_trap(cpu::Trap& trap) override;
  cpu::PhysicalTranslation translate(const cpu::PhysicalAccess& access) override;
  void on_translation_fault(const cpu::PhysicalAccess& access) override;
  void on_virtualized_write(const cpu::PhysicalAccess& access) override;
  bool on_completion() override;
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
  bool vmread_destination(const cpu::Trap& trap, uint64_t value);
  bool vmwrite_source(const cpu::Trap& trap, uint64_t& value);
  bool execute_vmwrite_operands(const cpu::Trap& trap);
  bool execute_invalidation(const cpu::Trap& trap);
  bool execute_entry_here(const cpu::Trap& trap, bool launch);
  bool fault(uint8_t vector);
  void conclude(const cpu::Trap& trap, Outcome outcome);
  void take_host_registers();
  void take_effect();
  void put_host_into_processor();
  [[nodiscard]] bool load_pdptes(uint64_t cr3);
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
  // F::none: no such field, or no such half.
  FieldInfo field_of_profile(uint32_t encoding) const {
    if (!lookup_covers(encoding)) return {};
    const FieldInfo& info = fields_[lookup_slot(encoding)];
    const bool half = x86::is_high_access(encoding);
    return half && info.width != x86::FieldWidth::bits64 ? FieldInfo{} : info;
  }
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
  bool on_msr(cpu::Trap& trap, bool write);
  bool on_cr(cpu::Trap& trap);
  bool on_cr0_or_cr4_value(cpu::Trap& trap, uint64_t value);
  bool on_vmx_instruction(cpu::Trap& trap);
  bool msr_bitmap_exits(uint32_t index, bool write) const;
  bool io_bitmap_exits(uint16_t port, unsigned size) const;
  cpu::PhysicalTranslation translate_by_ept(const cpu::PhysicalAccess& access);
  bool record_refusal(const cpu::PhysicalAccess& access, const EptWalk& walk);

  // guest_physical.cpp
  void use_ept(const EptMode& mode);
  cpu::PhysicalTranslation translate_adversarially(const cpu::PhysicalAccess& access);
  void invalidate_kept(uint64_t type, const x86::InvvpidDescriptor& descriptor);
  void change_kept_space(const cpu::TranslationTag& tag);
  bool set_ept_flags(Gpa gpa, const EptWalk& walk);

  // vm_functions.cpp
  bool on_vmfunc(cpu::Trap& trap);
  bool switch_eptp();
  bool convert_violation(const EptWalk& walk, const cpu::PhysicalAccess& access,
                         uint64_t qualification);

  // shadowing.cpp
  bool vmcs_access_exits(const cpu::Trap& trap);
  bool on_shadow_access(cpu::Trap& trap);
  Outcome shadow_vmread(Hpa region, uint32_t encoding, uint64_t& value);
  Outcome shadow_vmwrite(Hpa region, uint32_t encoding, uint64_t value);

  // guest_time.cpp
  bool on_pause(const cpu::Trap& trap);

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
  void deliver_event();

  // apic_access.cpp
  void decode_apic_controls();
  cpu::PhysicalTranslation translate_apic_access(const cpu::PhysicalAccess& access,
                                                 const cpu::PhysicalTranslation& found);
  void record_apic_access(const cpu::PhysicalAccess& access);
  void emulate_apic_write();

  // virtual_interrupts.cpp
  VirtualApicPage virtual_apic() {
    return VirtualApicPage(memory_, Hpa(vmcs_[F::virtual_apic_address]));
  }
  InterruptStatus interrupt_status() const;
  void set_interrupt_status(InterruptStatus status);
  bool tpr_below_threshold();
  void enter_virtual_apic();
  void virtualize_tpr();
  void virtualize_eoi();
  void virtualize_self_ipi(uint8_t vector);
  void virtualize_self_ipi_msr();
  void evaluate_virtual_interrupts();
  bool virtual_interrupt_due();
  bool deliver_virtual_interrupt();
  void virtualize_cr8(cpu::Trap& trap);
  void virtualize_x2apic_read(cpu::Trap& trap);
  void virtualize_x2apic_write(cpu::Trap& trap);

  // posted_interrupts.cpp
  bool on_interrupt_with_posting();
  void process_posted_interrupts();
  void dismiss_interrupt();

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
  EptCaches ept_caches_;
  std::unique_ptr<TaggedTlb> tlb_;  // adversarial mode
  uint8_t physical_bits_, linear_bits_;
  const CheckTable& checks_ = CheckTable::instance();
  std::array<FieldInfo, kLookupSize> fields_{};  // of this profile

  bool vmx_root_ = false;
  uint32_t vmxon_epoch_ = 0;
  Hpa vmxon_region_;
  uint64_t current_ = kNoVmcs;  // address of the current VMCS
  bool current_is_shadow_ = false;
  Vmcs vmcs_;  // its data
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
  EptMode ept_;                         // in force, with EPT
  struct PauseLoop {
    bool known = false;  // a PAUSE at CPL 0 since VM entry
    uint64_t first = 0, last = 0;
  } pause_loop_;
  cpu::TranslationTag tag_;  // of the guest's translations
  VmxAbort abort_ = VmxAbort::none;
  Coverage coverage_;
  ExitRing ring_;

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

  // APIC virtualization. Decoded from the controls:
  struct ApicSetup {
    static constexpr uint64_t kNoPage = 1;
    ApicControls controls;
    uint64_t access_page = kNoPage;  // the APIC-access page
    bool tpr_threshold = false;      // TPR virtualization compares with the threshold
    bool tpr_exit_at_entry = false;  // and VM entry does
  } apic_;
  // What follows the instruction under way.
  enum class Completion : uint8_t { none, tpr, eoi, self_ipi, apic_write };
  Completion completion_ = Completion::none;
  struct ApicWrite {
    uint32_t offset = 0;
    unsigned size = 0;
    bool operator==(const ApicWrite&) const = default;
  } apic_write_;
  bool tpr_exit_due_ = false;  // VM entry found VTPR below the threshold
  bool virtual_interrupt_recognized_ = false;
  Nanoseconds last_notification_{-1};

  bool deadline_set_ = false, watching_interrupts_ = false, watching_nmis_ = false;
};

}  // namespace cupel::vtx
