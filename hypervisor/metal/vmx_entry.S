// VM entry with the exchange of general registers, and where VM exits come back.
// SDM vol. 3C, "VMLAUNCH/VMRESUME", "Loading Host RIP, RSP, and RFLAGS".

  .set HOST_RSP, 0x6c14

  .macro caught instruction:vararg
771: \instruction
772:
  .pushsection .fixups, "a", @progbits
  .quad 771b, 772b
  .popsection
  .endm

// uint32_t metal_vmx_enter(x86::GprFile* regs, uint32_t launch)
// Returns 0 after a VM exit; else bit 0 = CF, bit 8 = ZF, bit 16 always. Registers of GprFile
// stand in the order of their numbers; RSP is a VMCS field and skipped.
  .section .text
  .globl metal_vmx_enter
metal_vmx_enter:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  pushq %rdi
  movl $HOST_RSP, %eax
  // Without a current VMCS this fails, and so does the entry, which is the one to report.
  caught vmwrite %rsp, %rax
  testl %esi, %esi
  movq 0(%rdi), %rax
  movq 8(%rdi), %rcx
  movq 16(%rdi), %rdx
  movq 24(%rdi), %rbx
  movq 40(%rdi), %rbp
  movq 48(%rdi), %rsi
  movq 64(%rdi), %r8
  movq 72(%rdi), %r9
  movq 80(%rdi), %r10
  movq 88(%rdi), %r11
  movq 96(%rdi), %r12
  movq 104(%rdi), %r13
  movq 112(%rdi), %r14
  movq 120(%rdi), %r15
  movq 56(%rdi), %rdi
  jnz 1f
  caught vmresume
  jmp 2f
1:
  caught vmlaunch
2:
  movl $0x10000, %eax
  setc %al
  setz %ah
  popq %rdi
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret

  .globl metal_vmx_exit
metal_vmx_exit:
  pushq %rdi
  movq 8(%rsp), %rdi
  movq %rax, 0(%rdi)
  movq %rcx, 8(%rdi)
  movq %rdx, 16(%rdi)
  movq %rbx, 24(%rdi)
  movq %rbp, 40(%rdi)
  movq %rsi, 48(%rdi)
  movq %r8, 64(%rdi)
  movq %r9, 72(%rdi)
  movq %r10, 80(%rdi)
  movq %r11, 88(%rdi)
  movq %r12, 96(%rdi)
  movq %r13, 104(%rdi)
  movq %r14, 112(%rdi)
  movq %r15, 120(%rdi)
  popq 56(%rdi)
  popq %rdi
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  xorl %eax, %eax
  ret

  .section .note.GNU-stack, "", @progbits
