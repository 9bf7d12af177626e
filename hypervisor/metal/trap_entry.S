// Interrupt entry stubs, and the way to CPL 3 and back.
#include "hypervisor/metal/limits.h"

// One stub a processor and vector: pushes an error code where the processor does not, then
// processor * 256 + vector. The stub is how a handler knows its processor: a guest's stack, TR and
// GS say nothing, and reading the APIC may exit.
  .macro stub vector, has_code
  .balign 16
  .if \has_code == 0
  pushq $0
  .endif
  pushq $\vector
  jmp trap_common
  .endm

  .section .text
  .balign 16
  .globl trap_stubs
trap_stubs:
  .altmacro
  .set v, 0
  .set n, 0
  .rept 256 * MOST_PROCESSORS
  .set n, v & 255
  .if n == 8 || (n >= 10 && n <= 14) || n == 17 || n == 21
  stub %v, 1
  .else
  stub %v, 0
  .endif
  .set v, v + 1
  .endr
  .noaltmacro

// Layout known to struct Frame in trap.cpp.
trap_common:
  pushq %rax
  pushq %rcx
  pushq %rdx
  pushq %rsi
  pushq %rdi
  pushq %r8
  pushq %r9
  pushq %r10
  pushq %r11
  movq %rsp, %rdi
  cld
  pushq %rbp
  movq %rsp, %rbp
  andq $-16, %rsp
  call trap_entry
  movq %rbp, %rsp
  popq %rbp
  popq %r11
  popq %r10
  popq %r9
  popq %r8
  popq %rdi
  popq %rsi
  popq %rdx
  popq %rcx
  popq %rax
  addq $16, %rsp
  iretq

// void metal_run_user(const void* code): the stack pointer to come back to is kept in a variable;
// trap.cpp makes the frame of INT 30H return to user_return.
  .globl metal_run_user
metal_run_user:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, user_return_rsp
  pushq $0x23                   // SS: user data
  leaq user_stack_top, %rax
  pushq %rax
  pushq $0x3002                 // RFLAGS with IOPL 3
  pushq $0x1b                   // CS: user code
  pushq %rdi
  iretq
  .globl user_return
user_return:
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret

  .section .bss, "aw", @nobits
  .balign 16
  .globl user_return_rsp
user_return_rsp: .skip 8
  .balign 16
  .skip 4096
user_stack_top:

  .section .note.GNU-stack, "", @progbits
