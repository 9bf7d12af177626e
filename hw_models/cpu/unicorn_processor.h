// The processor on Unicorn: TCG's SVM intercepts as trap facility, our semantics behind them.
//
// One VMRUN at creation puts the engine into SVM guest mode with every intercept set; it never
// leaves its loop again. Each trap arrives in the interrupt hook, on the engine's own fiber, with
// RIP at the instruction; a VM exit parks the fiber there, run() resumes it.
#pragma once

#include <sys/mman.h>
#include <unicorn/unicorn.h>

#include <array>
#include <bitset>
#include <memory>
#include <optional>
#include <vector>

#include "core/x86/platform_msrs.h"
#include "hw_models/cpu/block_counter.h"
#include "hw_models/cpu/breakpoints.h"
#include "hw_models/cpu/decoder.h"
#include "hw_models/cpu/engine_abi.h"
#include "hw_models/cpu/fiber.h"
#include "hw_models/cpu/jump_cache.h"
#include "hw_models/cpu/page_walk.h"
#include "hw_models/cpu/processor.h"
#include "hw_models/cpu/processor_group.h"
#include "hw_models/cpu/state_bank.h"
#include "hw_models/cpu/translation_contexts.h"
#include "hw_models/cpu/translation_memory.h"

namespace cupel::cpu {

// Identity second dimension over physical memory: what a processor without a monitor uses.
class IdentityMonitor final : public Monitor {
 public:
  explicit IdentityMonitor(PhysicalMemory& memory) : memory_(memory) {}
  PhysicalTranslation translate(const PhysicalAccess& access) override {
    const bool inside = memory_.contains(Hpa(access.gpa.value()), 1);
    return {inside, Hpa(access.gpa.value()), true, true};
  }

 private:
  PhysicalMemory& memory_;
};

class UnicornProcessor final : public Processor {
 public:
  UnicornProcessor(PhysicalMemory& memory, VirtualClock& clock, ProcessorConfig config);
  ~UnicornProcessor() override;
  Result<void> start();

  void set_monitor(Monitor* monitor) override;
  Park run() override;
  void stay_in_loop() override { park_on_exit_ = false; }

  x86::GprFile& gpr() override { return *reinterpret_cast<x86::GprFile*>(engine_->gpr); }
  uint64_t rip() const override { return engine_->eip; }
  void set_rip(uint64_t rip) override { engine_->eip = rip; }
  uint64_t rflags() override;
  void set_rflags(uint64_t value) override;
  x86::Segment segment(x86::Seg s) const override;
  void set_segment(x86::Seg s, const x86::Segment& value) override;
  x86::DescriptorTable gdtr() const override;
  x86::DescriptorTable idtr() const override;
  void set_gdtr(const x86::DescriptorTable& t) override;
  void set_idtr(const x86::DescriptorTable& t) override;
  uint64_t cr(unsigned n) const override;
  void set_control_registers(uint64_t cr0, uint64_t cr3, uint64_t cr4, uint64_t efer) override;
  void set_cr2(uint64_t value) override { cr2_ = value; }
  void set_cr8(uint64_t value) override;
  uint64_t efer() const override { return paging_.efer; }
  uint64_t dr(unsigned n) const override { return dr_[n]; }
  void set_dr(unsigned n, uint64_t value) override;
  std::array<uint64_t, 4> pdptes() const override { return paging_.pdptes; }
  void set_pdptes(const std::array<uint64_t, 4>& values) override;
  bool read_msr(uint32_t index, uint64_t& value) override;
  bool write_msr(uint32_t index, uint64_t value) override;
  void fxsave(uint8_t* area512) override;
  void fxrstor(const uint8_t* area512) override;
  uint32_t interruptibility() const override;
  void set_interruptibility(uint32_t bits) override;
  bool iret_unblocked_nmi() const override { return iret_unblocked_nmi_; }
  uint64_t pending_debug() const override { return pending_debug_; }
  void set_pending_debug(uint64_t value) override { pending_debug_ = value; }
  x86::Activity activity() const override { return activity_; }
  void set_activity(x86::Activity a) override { activity_ = a; }

  void inject(const Event& event) override { injected_ = event; }
  std::optional<Event> vectoring() const override { return vectoring_; }
  void set_deadline(Nanoseconds when) override;
  void request_boundary() override;
  void watch_windows(bool interrupts, bool nmis) override;
  void stop_after_instruction(bool on) override {
    monitor_step_ = on;
    monitor_step_due_ = false;
  }
  void stop_before_instruction() override { monitor_step_due_ = true; }

  void flush_tlb() override;
  void flush_tlb_page(Gva linear) override;
  void use_translations(const TranslationTag& tag) override;
  void switch_translations(const TranslationTag& tag) override;
  void drop_translations_of_vpid(uint16_t vpid) override;
  void drop_translations_of_ept(uint64_t ept) override;
  void drop_all_translations() override;
  void drop_page_of_vpid(uint16_t vpid, Gva linear) override;
  void set_translation_memory(TranslationMemory* translations) override;
  bool read_operand(uint64_t linear, void* data, unsigned size, x86::Seg segment) override;
  bool write_operand(uint64_t linear, const void* data, unsigned size, x86::Seg segment) override;
  void complete(const Trap& trap) override { advance(trap.length); }
  unsigned privilege_level() const override { return cpl(); }
  bool code_is_64bit() const override { return (engine_->hflags & hf::cs64) != 0; }
  void flush_non_global();  // what MOV to CR3 invalidates
  void invalidate_code(Hpa start, uint64_t length) override;

  Nanoseconds now() const override { return clock_.now(); }
  uint64_t host_tsc() const override;
  uint64_t tsc_hz() const override { return config_.tsc_hz; }
  const CpuidProfile& profile() const override { return config_.profile; }
  const ProcessorStats& stats() const override { return stats_; }
  PhysicalMemory& memory() override { return memory_; }
  void store_bank(unsigned bank) override;
  void load_bank(unsigned bank) override;
  void look_at_bank(unsigned bank) override;
  void look_back() override { take_from(looked_from_); }
  uint64_t bank_cr0(unsigned bank) const override { return banks_[bank].paging.cr0; }
  uint64_t bank_efer(unsigned bank) const override { return banks_[bank].paging.efer; }
  void set_status_flags(uint64_t flags) override {
    engine_->cc_src = flags;
    engine_->cc_op = kCcOpEflags;
  }
  x86::CpuState state() override;
  void set_state(const x86::CpuState& state) override;
  ProcessorSnapshot snapshot() override;
  void restore(const ProcessorSnapshot& snapshot) override;

  // --- called by the engine's hooks and corrections (engine_corrections.cpp) ---
  static UnicornProcessor* current() { return current_; }
  void on_interrupt_hook(uint32_t number);
  // direct_traps.cpp: a trap inside of a block, RIP at the instruction.
  void on_direct_trap(uint32_t code, uint32_t information);
  void on_direct_cpuid();
  bool in_trap_mode() const { return parked_once_; }
  bool rdtsc_permitted() const { return (paging_.cr4 & x86::cr4::TSD) == 0 || cpl() == 0; }
  void restore_rip(uintptr_t return_to) { cpu_restore_state_x86_64(cpu_object_, return_to, 1); }
  void on_block_deadline(uintptr_t return_to);
  static void* block_hook();
  BlockWatch* block_watch() { return &watch_; }
  uint64_t* clock_ticks() { return clock_.ticks_address(); }
  bool on_tlb_fill(void* cpu_object, uint64_t address, unsigned size, int access, int mmu_index,
                   bool probe, uintptr_t return_to);
  // Can the engine remember an indirect jump into this page? True more often than it is so.
  bool may_hold_jump_target(uint64_t linear) { return context().executable[page_slot(linear)]; }
  JumpCache jumps;
  uint64_t jump_target() const { return engine_->seg[1].base + engine_->eip; }
  // What the engine chooses a block by. The flags outside of hflags: TF, IOPL, RF, VM, AC.
  JumpCache::Mode jump_mode() const {
    using namespace x86::rflags;
    const auto flags = static_cast<uint32_t>(engine_->eflags & (TF | IOPL | RF | VM | AC));
    return {engine_->seg[1].base, engine_->hflags | flags};
  }
  bool is_block(const char* code);  // or the way out of translated code?
  uint64_t blocks_dropped() const;
  void on_syscall(uint64_t length, uintptr_t return_to);
  // IRET ends blocking by NMI even when it faults. SDM vol. 3C, "Changes to Instruction Behavior in
  // VMX Non-Root Operation".
  void on_iret() { iret_unblocked_nmi_ = std::exchange(nmi_blocked_, false); }
  void on_iret_done() { iret_unblocked_nmi_ = false; }
  void note_shadow(bool by_mov_ss) { shadow_is_mov_ss_ = by_mov_ss; }
  // Does this processor, or another one of its group, have translated code there?
  bool holds_code(uint64_t ram_address) const { return group_->holds_code(ram_address); }
  bool holds_own_code(uint64_t ram_address) const {
    const uint64_t page = ram_address / kPageSize;
    return page < code_pages_.size() && code_pages_[page];
  }
  void set_code_page(uint64_t ram_address, bool on);
  void watch_code_page(uint64_t page);  // stores to it must come through the watch again
  void drop_own_code(uint64_t start, uint64_t length);
  void store_hits_code_of_others(uint64_t start, uint64_t length) {
    group_->drop_code(start, length, this);
  }
  uint64_t bus_read(uint64_t at, unsigned size);
  void bus_write(uint64_t at, unsigned size, uint64_t value);
  EngineState* engine() { return engine_; }
  uint64_t last_written_ram = ~0ull;  // between a store to a watched page and its set-dirty

 private:
  friend class EngineProbe;

  // unicorn_processor.cpp: life of the engine
  Result<void> open_engine();
  void prepare_vmcb();
  void engine_loop();
  // Leaves the engine's fiber; returns when run() is called again.
  void park(Park why) {
    park_reason_ = why;
    ++stats_.exits;
    fiber_->suspend();
    vectoring_.reset();
  }
  void leave() {  // the monitor has taken the event
    iret_unblocked_nmi_ = false;
    completion_due_ = false;
    if (park_on_exit_) return park(Park::exit);
    ++stats_.exits;
    vectoring_.reset();
  }
  void quit();
  void settle();
  void boundary();
  bool debug_trap_pending();
  bool interrupts_open() const;
  bool watched_window_open() const;
  void update_deadline();

  // traps.cpp: SVM exit code -> Trap -> monitor -> native effect
  void dispatch(uint32_t code);
  bool exits(Trap& trap);  // asks the monitor; parks when it says exit
  void trap_exception(uint32_t vector);
  void trap_page_fault();
  bool through_stack_segment(uint64_t address);
  void trap_undefined();
  void trap_software_interrupt();
  void trap_int1();
  void trap_simple(TrapKind kind);
  void trap_cpuid();
  void trap_rdtsc(TrapKind kind);
  void trap_hlt();
  void trap_cache();
  void trap_table();
  bool store_table(const Instruction& i);
  bool load_table(const Instruction& i);
  void trap_io();
  void trap_msr();
  void trap_cr(uint32_t code);
  void trap_dr(uint32_t code);
  Trap debug_register_trap(const Instruction& i) const;
  bool exits_before_privilege_fault();
  void trap_invlpg();
  void native_cr(Trap& trap, const Instruction& i);
  void native_io(const Trap& trap, const Instruction& i);
  void native_string_io(const Trap& trap, const Instruction& i);
  uint32_t port_in(uint16_t port, unsigned size);
  bool io_permitted(uint16_t port, unsigned size);
  bool valid_cr0(uint64_t value) const;
  bool valid_cr4(uint64_t value) const;
  void write_cr(unsigned n, uint64_t value, unsigned length);
  void advance(unsigned length);
  const Instruction* decode_current();  // nullptr: no instruction
  unsigned fetch_current(uint8_t* bytes15);
  uint8_t trapped_length(uint8_t opcode);
  uint64_t linear_rip() const;
  const std::byte* code_page(uint64_t linear);
  uint64_t effective_address(const Instruction& i) const;
  uint64_t linear_address(const Instruction& i) const;

  // delivery.cpp: exceptions and interrupts through the IDT
  void raise(uint8_t vector, std::optional<uint32_t> error_code = {}, uint64_t debug_status = 0);
  void raise_page_fault(uint64_t address, uint32_t error_code);
  void deliver(const Event& event);
  bool deliver_real(const Event& event);
  bool deliver_protected(const Event& event);
  bool deliver_long(const Event& event);
  bool delivery_fault(uint8_t vector, std::optional<uint32_t> error_code);
  bool next_fault(Event& event);
  bool check_target(const Event& event, uint16_t selector, x86::Segment& cs, bool& inner);
  bool inner_stack(const Event& event, unsigned level, x86::Segment& ss, uint64_t& sp);
  void finish_delivery(const x86::Segment& cs, bool interrupt_gate);
  void triple_fault();
  enum class Copy : uint8_t { ok, page_fault, parked };
  Copy copy_linear(uint64_t linear, void* data, unsigned size, Access access, bool user,
                   bool probe = false);
  bool operand_address_valid(uint64_t linear, unsigned size, x86::Seg segment);
  bool read_system(uint64_t linear, void* data, unsigned size);
  bool write_stack(uint64_t linear, const void* data, unsigned size, bool user);
  bool load_descriptor(uint16_t selector, uint64_t& low, bool& in_table);

  // state.cpp
  void recompute_hflags();
  void flush_what_paging_changes();
  void hold_context_to_paging();
  void drop_page(uint64_t linear);
  WalkResult translate(const WalkRequest& request) {
    if (translations_ != nullptr) [[unlikely]]
      return translate_by_memory(request);
    return walk(memory_, monitor(), paging_, request);
  }
  WalkResult translate_by_memory(const WalkRequest& request);
  void expire_other_contexts();
  void put_into(StateBank& to) const;
  void take_from(const StateBank& from);
  uint64_t tsc() { return group_->observe_tsc(host_tsc()) + tsc_adjust_; }
  unsigned cpl() const { return engine_->hflags & hf::cpl; }
  uint64_t& env64(size_t offset) const {
    return *reinterpret_cast<uint64_t*>(reinterpret_cast<char*>(engine_) + offset);
  }
  Monitor& monitor() { return *monitor_; }
  uint32_t engine_error_code() const;
  void set_engine_error_code(uint32_t value);

  // Read at every indirect jump of the guest: without a call, in the Python module too.
  [[gnu::tls_model("initial-exec")]] static thread_local UnicornProcessor* current_;

  PhysicalMemory& memory_;
  VirtualClock& clock_;
  ProcessorConfig config_;
  uint64_t tsc_mhz_;
  IdentityMonitor identity_;
  Monitor* monitor_;
  bool monitored_ = false;

  uc_engine* uc_ = nullptr;
  EngineState* engine_ = nullptr;
  void* cpu_object_ = nullptr;
  std::byte* control_ = nullptr;  // VMCB and helpers, a page range of the engine's own
  std::unique_ptr<Fiber> fiber_;
  bool quitting_ = false;
  bool parked_once_ = false;
  bool park_on_exit_ = true;
  Park park_reason_ = Park::exit;

  // Architectural state that the engine does not hold or holds only for itself.
  PagingState paging_;
  std::array<StateBank, kBanks> banks_;
  StateBank looked_from_;
  uint64_t cr2_ = 0, cr8_ = 0;
  bool step_completed_ = false;  // RFLAGS.TF was set when an emulated instruction completed
  std::array<uint64_t, 8> dr_{0, 0, 0, 0, 0, 0, 0xffff0ff0, 0x400};
  uint64_t pat_ = 0x0007040600070406ull, debugctl_ = 0, tsc_adjust_ = 0, tsc_aux_ = 0,
           misc_enable_ = 1, feature_control_ = 0, apic_base_ = 0xfee00900, xss_ = 0;
  // MSRs without effect, where the processor stands on a board.
  std::optional<x86::PlatformMsrs> platform_msrs_;
  bool nmi_blocked_ = false;
  bool iret_unblocked_nmi_ = false;  // by the instruction under way
  bool shadow_is_mov_ss_ = false;
  uint64_t pending_debug_ = 0;
  x86::Activity activity_ = x86::Activity::active;

  // Time and boundaries.
  Nanoseconds deadline_ = Nanoseconds::max();
  const char* way_out_ = nullptr;
  BlockWatch watch_;  // its deadline is 0 while a boundary or window is watched
  bool boundary_requested_ = false;
  bool interrupt_window_watched_ = false;
  bool nmi_window_watched_ = false;

  // Breakpoints. Accesses to a page that holds one always come through the TLB fill. An instruction
  // that touches watched data is stepped over, and #DB raised behind it; code on a page with an
  // instruction breakpoint is executed step by step. The step is the engine's TF, hidden from the
  // guest.
  Breakpoints breakpoints_;
  bool stepping_ = false;
  bool monitor_step_ = false;      // the monitor wants to be asked after the next instruction
  bool monitor_step_due_ = false;  // that instruction has completed, or an event was delivered
  bool guest_single_steps_ = false;
  bool step_pushes_flags_ = false;
  uint64_t step_hits_ = 0;
  bool check_breakpoints(uint64_t address, unsigned size, Access access);
  // A write that the monitor virtualizes: the instruction is stepped over in the same way, and
  // on_completion() called behind it.
  bool completion_due_ = false;
  Hpa virtualized_at_;  // where such a write of translated code went
  bool complete_virtualized(uint64_t debug_status);
  void step_over(uint64_t hits);
  void end_step();
  void hide_step_in_pushed_flags();
  uint64_t unstepped(uint64_t flags) const {
    return stepping_ && !guest_single_steps_ ? flags & ~x86::rflags::TF : flags;
  }

  // Delivery under way.
  std::optional<Event> injected_;
  std::optional<Event> vectoring_;
  struct NestedFault {
    Event event;
    uint64_t address = 0;  // #PF
  };
  std::optional<NestedFault> nested_;
  bool parked_in_delivery_ = false;

  // A fault found by the TLB fill, carried over the engine's longjmp to the hook.
  struct FillFault {
    enum class Kind : uint8_t {
      none,
      page_fault,
      physical,
      non_canonical,
      code_page_watched,
      data_breakpoint,
      virtualized_write,
      fetch_from_device
    } kind = Kind::none;
    uint64_t address = 0;
    uint32_t error_code = 0;
    PhysicalAccess refused;
  } fill_fault_;

  static constexpr size_t kMostTracked = 96;  // of TranslationContext::non_global, or all go
  std::optional<TranslationContexts> contexts_;
  TranslationContext& context() { return contexts_->current(); }
  TranslationMemory* translations_ = nullptr;
  std::vector<bool> code_pages_;
  std::shared_ptr<ProcessorGroup> group_;
  static size_t page_slot(uint64_t linear) {
    constexpr size_t slots = TranslationContext::kPageSlots;
    return (linear / kPageSize ^ linear / kPageSize / slots) % slots;
  }
  Decoder decoder_;
  ProcessorStats stats_;
};

}  // namespace cupel::cpu
