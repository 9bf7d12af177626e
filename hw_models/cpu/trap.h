// What the processor reports before it takes effect, and the interface that decides about it.
#pragma once

#include <cstdint>

#include "core/types.h"
#include "core/x86/exit_qualification.h"
#include "core/x86/registers.h"

namespace cupel::cpu {

enum class TrapKind : uint8_t {
  cpuid,
  rdtsc,
  rdtscp,
  rdpmc,
  hlt,
  invd,
  wbinvd,
  invlpg,
  pause,
  mwait,
  monitor,
  rdmsr,
  wrmsr,
  io,
  cr_access,
  dr_access,
  exception,
  software_interrupt,
  task_switch,
  gdtr_idtr_access,
  ldtr_tr_access,
  vmx_instruction,
  vmcall,
  xsetbv,
  rdrand,
  rdseed,
  invpcid,
  rsm,
  getsec,
  triple_fault
};

// A VMX (or INVEPT, INVVPID) instruction, found when it raises #UD on the engine.
enum class VmxInstruction : uint8_t {
  none,
  vmclear,
  vmlaunch,
  vmptrld,
  vmptrst,
  vmread,
  vmresume,
  vmwrite,
  vmxoff,
  vmxon,
  invept,
  invvpid,
  vmfunc,
  getsec,
  invpcid,
  rdrand,
  rdseed,
  xsaves,
  xrstors
};

// One event, RIP still at the instruction that causes it. Only the members of its kind are set.
struct Trap {
  TrapKind kind = TrapKind::cpuid;
  uint8_t length = 0;  // of the instruction; 0 for events that no instruction causes

  // exception, software_interrupt
  uint8_t vector = 0;
  x86::EventType type = x86::EventType::hardware_exception;
  bool has_error_code = false;
  uint32_t error_code = 0;
  uint64_t address = 0;       // #PF: linear address (CR2); invlpg, monitor: operand
  uint64_t debug_status = 0;  // #DB: bits for DR6

  x86::CrAccess cr;        // cr_access; lmsw source filled
  x86::DrAccess dr;        // dr_access
  x86::IoAccess io;        // io
  uint64_t io_linear = 0;  // io string: linear address of the operand
  x86::Seg io_segment = x86::Seg::ds;
  uint8_t io_address_size = 8;  // 2, 4, 8
  uint32_t msr = 0;             // rdmsr, wrmsr: ECX
  uint64_t value = 0;           // mov to CR: new value, wrmsr: EDX:EAX; the monitor may change it
  bool reject = false;          // set by the monitor: the value is not allowed here, raise #GP(0)
  // Set by a monitor that says true: it has executed the instruction, or its operand has faulted,
  // and the guest goes on.
  bool completed = false;
  VmxInstruction vmx = VmxInstruction::none;
  uint32_t instruction_info = 0;  // VM-exit instruction-information field of the instruction
  uint64_t displacement = 0;      // of its memory operand (exit qualification)
};

enum class Access : uint8_t { read = 0, write = 1, fetch = 2 };

// One guest-physical access of the page walk, for the second dimension.
struct PhysicalAccess {
  Gpa gpa;
  Access access = Access::read;
  bool paging_structure = false;  // a guest paging-structure entry, not the final page
  bool linear_valid = true;
  Gva linear;
  // What guest paging says of the final page; without paging it is a user page, writable and
  // executable. Mode-based execute control and the advanced information of EPT violations look at
  // these. SDM vol. 3C, "Exit Qualification for EPT Violations".
  bool user = false, writable_page = true, no_execute_page = false;
  bool dry = false;  // a question: no flag is set, and nothing remembered is used for the answer
};

// Where guest-physical memory lies. `page_mask` = page size - 1 of the leaf. ok = false: `fault`
// has been recorded by the implementer (EPT violation or misconfiguration).
struct PhysicalTranslation {
  bool ok = false;
  Hpa hpa;                // of the access itself, offset included
  bool writable = false;  // may later writes go through without asking again (dirty flag set)
  bool executable = false;
  bool readable = true;  // EPT knows pages that can be executed and not read
};

// Decides what becomes of an event. The VT-x model implements it for VMX non-root operation; the
// processor without VT-x runs with the default, which lets everything take effect natively.
class Monitor {
 public:
  virtual ~Monitor() = default;

  // True: this is a VM exit; the processor parks with nothing of the event done, and run()
  // returns (not so when trap.completed is set). False: it takes effect as the architecture says
  // (with trap.value as changed here).
  virtual bool on_trap(Trap& trap) {
    (void)trap;
    return false;
  }
  // The second dimension of the walk. The default is identity on physical memory.
  virtual PhysicalTranslation translate(const PhysicalAccess& access) = 0;
  // A translation that translate() refused was needed by an instruction (not by a probe): the
  // processor is about to park. Always a VM exit.
  virtual void on_translation_fault(const PhysicalAccess& access) { (void)access; }
  // Virtual time has reached the processor's deadline, or poll() was asked for, and the guest is
  // between instructions. True: VM exit (preemption timer, external interrupt, window).
  virtual bool on_boundary() { return false; }
  // See Processor::stop_after_instruction(). True: VM exit.
  virtual bool on_step() { return false; }
  // Guest-visible value of a control register read (masks and shadows applied).
  virtual uint64_t visible_cr(unsigned number, uint64_t real) {
    (void)number;
    return real;
  }
  // MSRs that the processor does not hold; false: #GP(0).
  virtual bool read_msr(uint32_t index, uint64_t& value) {
    (void)index;
    (void)value;
    return false;
  }
  // TSC as RDTSC and RDMSR show it.
  virtual uint64_t visible_tsc(uint64_t host_tsc) { return host_tsc; }
};

}  // namespace cupel::cpu
