// The traps that hypervisors live on, without the library's way to its interrupt hook.
//
// The library raises an exception by longjmp out of translated code, through its main loop, into
// the hook, and looks for the next block afterwards: some 60 ns. Each of these instructions is a
// call from translated code to a helper, with RIP and flags already stored. Ours handles the trap
// right there, on the same stack, and then goes on in the block of whatever RIP is next, as
// translated code itself does at an indirect jump. The block that was left is never returned to,
// so everything may change in between: the processor's state, the fiber, the translations.

#include <dlfcn.h>

#include <cstdint>

#include "hw_models/cpu/engine_abi.h"
#include "hw_models/cpu/self_check.h"
#include "hw_models/cpu/unicorn_processor.h"

using namespace cupel;
using namespace cupel::cpu;

extern "C" void* helper_lookup_tb_ptr_x86_64(void* env);

namespace {

template <class Function>
Function* original(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

// The processor that can take a trap directly; nullptr while an engine is started or examined.
UnicornProcessor* ready() {
  auto* cpu = UnicornProcessor::current();
  return cpu != nullptr && cpu->in_trap_mode() ? cpu : nullptr;
}

void* handle(UnicornProcessor& cpu, uint32_t code, uint32_t information = 0) {
  cpu.on_direct_trap(code, information);
  return helper_lookup_tb_ptr_x86_64(cpu.engine());
}

}  // namespace

// Called by the helpers below. The result is the code to go on in; nullptr: return to the block.
#define CUPEL_HANDLER extern "C" __attribute__((visibility("hidden"), used)) void*

CUPEL_HANDLER cupel_direct_cpuid(void* env) {
  static auto* next = original<void(void*)>("helper_cpuid_x86_64");
  if (auto* cpu = ready()) {
    cpu->on_direct_cpuid();
    return helper_lookup_tb_ptr_x86_64(cpu->engine());
  }
  next(env);
  return nullptr;
}

CUPEL_HANDLER cupel_direct_rdtsc(void* env) {
  static auto* next = original<void(void*)>("helper_rdtsc_x86_64");
  auto* cpu = ready();
  if (cpu != nullptr && cpu->rdtsc_permitted()) return handle(*cpu, svm::rdtsc);
  next(env);
  return nullptr;
}

// The library's RDTSCP calls its RDTSC, from where there is no way into another block.
CUPEL_HANDLER cupel_direct_rdtscp(void* env) {
  static auto* next = original<void(void*)>("helper_rdtscp_x86_64");
  auto* cpu = ready();
  if (cpu == nullptr) {
    next(env);
    return nullptr;
  }
  if (cpu->rdtsc_permitted()) return handle(*cpu, svm::rdtscp);
  cpu_vmexit_x86_64(env, svm::exception + x86::kGP, 0, 0);
}

CUPEL_HANDLER cupel_direct_rdmsr(void* env) {
  static auto* next = original<void(void*)>("helper_rdmsr_x86_64");
  if (auto* cpu = ready()) return handle(*cpu, svm::msr, 0);
  next(env);
  return nullptr;
}

CUPEL_HANDLER cupel_direct_wrmsr(void* env) {
  static auto* next = original<void(void*)>("helper_wrmsr_x86_64");
  if (auto* cpu = ready()) return handle(*cpu, svm::msr, 1);
  next(env);
  return nullptr;
}

// The VMX instructions among the undefined ones; and any other exception that an instruction is.
CUPEL_HANDLER cupel_direct_exception(void* env, int vector) {
  static auto* next = original<void(void*, int)>("helper_raise_exception_x86_64");
  auto* cpu = ready();
  if (cpu != nullptr && vector == x86::kUD) return handle(*cpu, svm::exception + x86::kUD);
  next(env, vector);
  return nullptr;
}

// IN and OUT never reach the SVM I/O intercept, and RIP is not stored before them.
CUPEL_HANDLER cupel_direct_io(void* env, uint32_t port, uint32_t size_and_direction,
                              uintptr_t return_to) {
  if (note_environment(env)) return nullptr;
  const uint32_t information = (port & 0xffff) << 16 | size_and_direction;
  auto* cpu = ready();
  if (cpu == nullptr) cpu_vmexit_x86_64(env, svm::io, information, return_to);
  cpu->restore_rip(return_to);
  return handle(*cpu, svm::io, information);
}

// At entry the return address into the block is on top of the stack, 8 bytes off its alignment.
#define CUPEL_DIRECT(helper, prepare, handler)                                                   \
  asm(".text\n .globl " helper "\n .type " helper ", @function\n" helper                         \
      ":\n .cfi_startproc\n" prepare " subq $8, %rsp\n .cfi_adjust_cfa_offset 8\n call " handler \
      "\n addq $8, %rsp\n .cfi_adjust_cfa_offset -8\n testq %rax, %rax\n jz 1f\n"                \
      " addq $8, %rsp\n jmp *%rax\n1: ret\n .cfi_endproc\n .size " helper ", . - " helper "\n")

// Second argument: the port. For OUT the third is the value, which is in the registers as well.
#define CUPEL_DIRECT_IO(helper, size_and_direction)                                 \
  CUPEL_DIRECT(helper, " movq (%rsp), %rcx\n movl $" size_and_direction ", %edx\n", \
               "cupel_direct_io")

CUPEL_DIRECT("helper_cpuid_x86_64", "", "cupel_direct_cpuid");
CUPEL_DIRECT("helper_rdtsc_x86_64", "", "cupel_direct_rdtsc");
CUPEL_DIRECT("helper_rdtscp_x86_64", "", "cupel_direct_rdtscp");
CUPEL_DIRECT("helper_rdmsr_x86_64", "", "cupel_direct_rdmsr");
CUPEL_DIRECT("helper_wrmsr_x86_64", "", "cupel_direct_wrmsr");
CUPEL_DIRECT("helper_raise_exception_x86_64", "", "cupel_direct_exception");
CUPEL_DIRECT_IO("helper_outb_x86_64", "0x10");
CUPEL_DIRECT_IO("helper_outw_x86_64", "0x20");
CUPEL_DIRECT_IO("helper_outl_x86_64", "0x40");
CUPEL_DIRECT_IO("helper_inb_x86_64", "0x11");
CUPEL_DIRECT_IO("helper_inw_x86_64", "0x21");
CUPEL_DIRECT_IO("helper_inl_x86_64", "0x41");
