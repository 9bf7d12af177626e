// A logical x86-64 processor in software: Unicorn executes, everything a hypervisor can observe is
// ours (paging, exceptions, interrupt delivery, MSRs, CPUID, time).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "core/archive.h"
#include "core/clock.h"
#include "core/error.h"
#include "core/physical_memory.h"
#include "core/x86/cpu_state.h"
#include "hw_models/cpu/cpuid.h"
#include "hw_models/cpu/system_bus.h"
#include "hw_models/cpu/trap.h"

namespace cupel::cpu {

// An event to deliver through the guest's IDT before its next instruction.
struct Event {
  uint8_t vector = 0;
  x86::EventType type = x86::EventType::external_interrupt;
  bool has_error_code = false;
  uint32_t error_code = 0;
  uint8_t instruction_length = 0;  // software events: RIP pushed = RIP + length
};

// Processors over one memory: code that one of them writes is code that the others may have
// translated. They run one at a time.
class ProcessorGroup;
class TranslationMemory;
std::shared_ptr<ProcessorGroup> make_processor_group();

struct ProcessorConfig {
  CpuidProfile profile;             // what CPUID and the feature MSRs say
  uint64_t tsc_hz = 1'000'000'000;  // virtual TSC frequency
  uint32_t apic_id = 0;
  // What is not RAM, borrowed. Without it ports float and memory ends where it ends.
  SystemBus* bus = nullptr;
  std::shared_ptr<ProcessorGroup> group = nullptr;  // nullptr: alone on its memory
};

// The address space that a translation belongs to. SDM vol. 3C, "Information That May Be Cached".
struct TranslationTag {
  static constexpr uint64_t kNoEpt = ~0ull;
  uint16_t vpid = 0;
  uint64_t ept = kNoEpt;  // bits 51:12 of the EPT pointer, in place
  bool operator==(const TranslationTag&) const = default;
};

// Everything that run() depends on, between two calls of it.
struct ProcessorSnapshot {
  x86::CpuState state;
  std::array<uint64_t, 4> pdptes{};
  uint64_t misc_enable = 0, feature_control = 0, pending_debug = 0, last_tsc = 0;
  std::optional<Event> injected;
  std::vector<std::byte> platform_msrs;
};

// Counters that figures and traces need; never read on a decision path.
struct ProcessorStats {
  uint64_t traps = 0, exits = 0, tlb_fills = 0, page_faults = 0, interrupts = 0;
};

// Not thread-safe; one at a time runs. Memory and clock are borrowed and must outlive it.
class Processor {
 public:
  // Runs the start-up self-check of the engine library once a process.
  // Errors: environment when the library is not the one this build knows.
  static Result<std::unique_ptr<Processor>> create(PhysicalMemory& memory, VirtualClock& clock,
                                                   ProcessorConfig config);
  virtual ~Processor() = default;

  // The monitor decides about events; nullptr = none (native operation, identity memory).
  virtual void set_monitor(Monitor* monitor) = 0;

  // Executes guest instructions on the engine's fiber until the monitor says exit (or, without a
  // monitor, until the deadline, HLT or a triple fault). Afterwards RIP and all state are exact.
  enum class Park : uint8_t { exit, deadline, halted, shutdown };
  virtual Park run() = 0;
  // After it, an event that the monitor takes (on_trap() is true) does not park: the monitor has
  // put what follows into the processor, as a VM exit to root-mode code does. on_boundary() still
  // parks when it returns true, as deadline.
  virtual void stay_in_loop() = 0;

  // Between runs, and inside monitor calls: architectural state. Setters have the side effects
  // hardware has inside (modes, TLB), but make no checks: the caller is VM entry, reset, restore.
  virtual x86::GprFile& gpr() = 0;
  virtual uint64_t rip() const = 0;
  virtual void set_rip(uint64_t rip) = 0;
  virtual uint64_t rflags() = 0;
  virtual void set_rflags(uint64_t value) = 0;
  virtual x86::Segment segment(x86::Seg s) const = 0;
  virtual void set_segment(x86::Seg s, const x86::Segment& value) = 0;
  virtual x86::DescriptorTable gdtr() const = 0;
  virtual x86::DescriptorTable idtr() const = 0;
  virtual void set_gdtr(const x86::DescriptorTable& t) = 0;
  virtual void set_idtr(const x86::DescriptorTable& t) = 0;
  virtual uint64_t cr(unsigned n) const = 0;  // 0, 2, 3, 4, 8
  // Sets all three and EFER as one transition; flushes translations when paging changed.
  virtual void set_control_registers(uint64_t cr0, uint64_t cr3, uint64_t cr4, uint64_t efer) = 0;
  virtual void set_cr2(uint64_t value) = 0;
  virtual void set_cr8(uint64_t value) = 0;
  virtual uint64_t efer() const = 0;
  virtual uint64_t dr(unsigned n) const = 0;  // 0-3, 6, 7
  virtual void set_dr(unsigned n, uint64_t value) = 0;
  // PDPTEs of PAE paging, loaded by MOV CR3 or by VM entry.
  virtual std::array<uint64_t, 4> pdptes() const = 0;
  virtual void set_pdptes(const std::array<uint64_t, 4>& values) = 0;
  // Raw access to the processor's MSRs; false where RDMSR/WRMSR raise #GP(0).
  virtual bool read_msr(uint32_t index, uint64_t& value) = 0;
  virtual bool write_msr(uint32_t index, uint64_t value) = 0;
  virtual void fxsave(uint8_t* area512) = 0;
  virtual void fxrstor(const uint8_t* area512) = 0;
  // Blocking by STI, MOV SS, NMI: bits of x86::interruptibility.
  virtual uint32_t interruptibility() const = 0;
  virtual void set_interruptibility(uint32_t bits) = 0;
  // The instruction that faults is an IRET, and has ended blocking by NMI.
  virtual bool iret_unblocked_nmi() const { return false; }
  virtual uint64_t pending_debug() const = 0;  // VMCS pending-debug-exceptions format
  virtual void set_pending_debug(uint64_t value) = 0;
  virtual x86::Activity activity() const = 0;
  virtual void set_activity(x86::Activity a) = 0;

  // Delivers `event` at the start of the next run(), before any instruction. Faults met on the way
  // go through the monitor with vectoring() set.
  virtual void inject(const Event& event) = 0;
  // The event whose delivery was under way when the last exit happened, if any.
  virtual std::optional<Event> vectoring() const = 0;

  // The guest is interrupted at the first instruction boundary (start of a code block) at or after
  // `when`; on_boundary() is then called. Nanoseconds::max() = never.
  virtual void set_deadline(Nanoseconds when) = 0;
  // For a monitor that executes a trapped instruction by itself: operands in memory, with the
  // current privilege, and the step to the next instruction. False: a fault has been raised instead
  // (or the access has caused a VM exit), and the instruction is over.
  virtual bool read_operand(uint64_t linear, void* data, unsigned size, x86::Seg segment) = 0;
  virtual bool write_operand(uint64_t linear, const void* data, unsigned size,
                             x86::Seg segment) = 0;
  virtual void complete(const Trap& trap) = 0;
  virtual unsigned privilege_level() const = 0;  // CPL
  virtual bool code_is_64bit() const = 0;

  // Calls on_boundary() at the next instruction boundary (windows: RFLAGS.IF or blocking changed).
  virtual void request_boundary() = 0;
  // on_boundary() is called at each boundary where the guest could take a maskable interrupt, or
  // an NMI. Exact after STI, IRET, POPF: the first boundary at which it can be taken.
  virtual void watch_windows(bool interrupts, bool nmis) = 0;

  // While on, on_step() is called after each instruction, iteration of a repeated string
  // instruction, or event delivery of the guest. SDM vol. 3C, "Monitor Trap Flag".
  virtual void stop_after_instruction(bool on) = 0;
  virtual void stop_before_instruction() = 0;  // once, before anything else

  virtual void flush_tlb() = 0;
  virtual void flush_tlb_page(Gva linear) = 0;
  // Translations made from now on belong to `tag`, and those of others are not used; they stay for
  // when their tag comes back. flush_tlb() and flush_tlb_page() are about the current tag.
  virtual void use_translations(const TranslationTag& tag) = 0;
  // The same for code that goes on with its paging in another address space (EPTP switching).
  virtual void switch_translations(const TranslationTag& tag) { use_translations(tag); }
  // Drops the translations of every tag with this VPID (EPT pointer), or all.
  virtual void drop_translations_of_vpid(uint16_t vpid) = 0;
  virtual void drop_translations_of_ept(uint64_t ept) = 0;
  virtual void drop_all_translations() = 0;
  // The translations of one page, under every tag with this VPID; may drop more.
  virtual void drop_page_of_vpid(uint16_t vpid, Gva linear) = 0;
  // Borrowed, until another one or nullptr (which is the default). Drops all translations.
  virtual void set_translation_memory(TranslationMemory* translations) { (void)translations; }
  // Memory that may hold translated code was written from outside the processor.
  virtual void invalidate_code(Hpa start, uint64_t length) = 0;

  virtual Nanoseconds now() const = 0;    // virtual time
  virtual uint64_t host_tsc() const = 0;  // virtual time * tsc_hz
  virtual uint64_t tsc_hz() const = 0;
  virtual const CpuidProfile& profile() const = 0;
  virtual const ProcessorStats& stats() const = 0;
  virtual PhysicalMemory& memory() = 0;

  // The state that VM entries and exits exchange (see StateBank) may stand aside while other state
  // is in force. Banks are numbered; each holds what was last stored in it, at first nothing
  // useful.
  static constexpr unsigned kBanks = 2;
  virtual void store_bank(unsigned bank) = 0;
  // Loads it; translations are those of the tag in force, which is selected before.
  virtual void load_bank(unsigned bank) = 0;
  // Shows a banked state to the getters of this class, with no effect on anything else, until
  // look_back().
  virtual void look_at_bank(unsigned bank) = 0;
  virtual void look_back() = 0;
  // What a banked state would show.
  virtual uint64_t bank_cr0(unsigned bank) const = 0;
  virtual uint64_t bank_efer(unsigned bank) const = 0;

  // CF, PF, AF, ZF, SF, OF, all at once.
  virtual void set_status_flags(uint64_t flags) = 0;

  // Whole state, for snapshots and for tests.
  virtual x86::CpuState state() = 0;
  virtual void set_state(const x86::CpuState& state) = 0;
  virtual ProcessorSnapshot snapshot() = 0;
  virtual void restore(const ProcessorSnapshot& snapshot) = 0;
};

}  // namespace cupel::cpu
