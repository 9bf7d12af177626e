// Where another processor begins: copied to TRAMPOLINE, entered in real mode by a start-up message.
// SDM vol. 3A, "Multiple-Processor (MP) Initialization", "Initializing IA-32e Mode".
#include "hypervisor/metal/limits.h"

  .set CR0_PE, 1
  .set CR0_PG_WP_NE_MP, 0x80010022
  .set CR0_CD_NW_EM_TS, 0x6000000c
  .set CR4_PAE_OSFXSR_OSXMMEXCPT, 0x620
  .set MSR_EFER, 0xc0000080
  .set EFER_LME, 0x100
  .set SELECTOR_CODE64, 0x08
  .set SELECTOR_DATA, 0x10
  .set SELECTOR_CODE32, 0x28

  .section .text
  .balign 16
  .globl trampoline_begin, trampoline_end, trampoline_found
trampoline_begin:
  .code16
  cli
  cld
  movw %cs, %ax
  movw %ax, %ds
  movw %ax, trampoline_found - trampoline_begin + 0
  movw %sp, trampoline_found - trampoline_begin + 2
  movl %edx, trampoline_found - trampoline_begin + 4
  movl %cr0, %eax
  movl %eax, trampoline_found - trampoline_begin + 8
  lgdtl trampoline_gdt - trampoline_begin
  andl $~CR0_CD_NW_EM_TS, %eax
  orl $CR0_PE, %eax
  movl %eax, %cr0
  ljmpl $SELECTOR_CODE32, $(TRAMPOLINE + trampoline_protected - trampoline_begin)
  .code32
trampoline_protected:
  movl $SELECTOR_DATA, %eax
  movl %eax, %ds
  movl %eax, %es
  movl %eax, %ss
  xorl %eax, %eax
  movl %eax, %fs
  movl %eax, %gs
  movl %cr4, %eax
  orl $CR4_PAE_OSFXSR_OSXMMEXCPT, %eax
  movl %eax, %cr4
  movl $page_map_level4, %eax
  movl %eax, %cr3
  movl $MSR_EFER, %ecx
  rdmsr
  orl $EFER_LME, %eax
  wrmsr
  movl %cr0, %eax
  orl $CR0_PG_WP_NE_MP, %eax
  movl %eax, %cr0
  ljmp $SELECTOR_CODE64, $processor_long_start
  .balign 8
trampoline_gdt:
  .globl trampoline_gdt
  .word 0                       // filled in by processors.cpp: limit and base
  .long 0
  .balign 4
// CS, SP, EDX and CR0 as the start-up message left them: struct StartRegisters.
trampoline_found:
  .skip 12
trampoline_end:

  .code64
processor_long_start:
  movl starting_processor, %edi
  leal 1(%rdi), %eax
  shll $16, %eax
  leaq processor_stacks(%rax), %rsp
  xorl %ebp, %ebp
  call processor_main
1:
  cli
  hlt
  jmp 1b

  .section .note.GNU-stack, "", @progbits
