// The round trip of one CPUID exit: 13 instructions in root operation, of them 3 VMREAD,
// 1 VMWRITE and VMRESUME; the guest runs CPUID and a jump.

  .set EXIT_REASON, 0x4402
  .set EXIT_INSTRUCTION_LENGTH, 0x440c
  .set GUEST_RIP, 0x681e
  .set HOST_RSP, 0x6c14
  .set REASON_CPUID, 10

  .section .text
  .globl metal_bench_guest
metal_bench_guest:
  cpuid
  jmp metal_bench_guest

// uint64_t metal_bench_trips(uint64_t count): launches the current VMCS, whose host RIP is
// metal_bench_exit, and handles `count` exits. Returns how many were left when something failed.
  .globl metal_bench_trips
metal_bench_trips:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rdi, %r15
  movl $HOST_RSP, %eax
  vmwrite %rsp, %rax
  vmlaunch
  jmp bench_done

  .balign 64
  .globl metal_bench_exit
metal_bench_exit:
  movl $EXIT_REASON, %edx
  vmread %rdx, %rax
  cmpl $REASON_CPUID, %eax
  jne bench_done
  movl $GUEST_RIP, %edx
  vmread %rdx, %rcx
  movl $EXIT_INSTRUCTION_LENGTH, %ebx
  vmread %rbx, %rax
  addq %rax, %rcx
  vmwrite %rcx, %rdx
  decq %r15
  jz bench_done
  vmresume
bench_done:
  movq %r15, %rax
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret

  .section .note.GNU-stack, "", @progbits
