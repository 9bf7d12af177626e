// From the PVH entry point to long mode, and the interrupt entry stubs.
// Source: Xen "x86/HVM direct boot ABI"; Intel SDM vol. 3A, "Initializing IA-32e Mode".

  .set CR0_PG, 0x80000000
  .set CR0_WP, 0x00010000
  .set CR0_NE, 0x20
  .set CR4_PAE, 0x20
  .set MSR_EFER, 0xc0000080
  .set EFER_LME, 0x100
  .set PAGE_PRESENT_WRITABLE, 0x3
  .set PAGE_LARGE, 0x80

// XEN_ELFNOTE_PHYS32_ENTRY: the 32-bit physical entry point.
  .section .note.pvh, "a", @note
  .balign 4
  .long 4                       // name size
  .long 8                       // descriptor size
  .long 18                      // type
  .asciz "Xen"
  .quad pvh_start

// Entered in flat 32-bit protected mode without paging, EBX = hvm_start_info.
  .section .text.start, "ax"
  .code32
  .globl pvh_start
pvh_start:
  cli
  cld
  movl $stack_top, %esp
  movl %ebx, %ebp

  // The first 4 GiB, identity-mapped by 2 MiB pages.
  movl $page_directory_pointers, %eax
  orl $PAGE_PRESENT_WRITABLE, %eax
  movl %eax, page_map_level4
  movl $page_directories + PAGE_PRESENT_WRITABLE, %eax
  movl $page_directory_pointers, %edi
  movl $4, %ecx
1:
  movl %eax, (%edi)
  addl $4096, %eax
  addl $8, %edi
  loop 1b
  movl $PAGE_PRESENT_WRITABLE + PAGE_LARGE, %eax
  movl $page_directories, %edi
  movl $4 * 512, %ecx
2:
  movl %eax, (%edi)
  addl $0x200000, %eax
  addl $8, %edi
  loop 2b

  movl %cr4, %eax
  orl $CR4_PAE, %eax
  movl %eax, %cr4
  movl $page_map_level4, %eax
  movl %eax, %cr3
  movl $MSR_EFER, %ecx
  rdmsr
  orl $EFER_LME, %eax
  wrmsr
  movl %cr0, %eax
  orl $CR0_PG + CR0_WP + CR0_NE, %eax
  movl %eax, %cr0
  lgdt gdt_pointer
  ljmp $0x08, $long_start

  .code64
long_start:
  movl $0x10, %eax
  movl %eax, %ds
  movl %eax, %es
  movl %eax, %ss
  xorl %eax, %eax
  movl %eax, %fs
  movl %eax, %gs
  lldt %ax
  movl $stack_top, %esp
  movl %ebp, %edi
  xorl %ebp, %ebp
  call workload_main
3:
  cli
  hlt
  jmp 3b

// One stub a vector: pushes an error code where the processor does not, then the vector.
  .macro stub vector, has_code
  .balign 16
  .if \has_code == 0
  pushq $0
  .endif
  pushq $\vector
  jmp interrupt_common
  .endm

  .section .text
  .balign 16
  .globl interrupt_stubs
interrupt_stubs:
  .altmacro
  .set v, 0
  .rept 48
  .if v == 8 || (v >= 10 && v <= 14) || v == 17 || v == 21
  stub %v, 1
  .else
  stub %v, 0
  .endif
  .set v, v + 1
  .endr
  .noaltmacro

interrupt_common:
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
  // 5 frame words + error code + vector + 9 registers: realign for the C++ side.
  pushq %rbp
  movq %rsp, %rbp
  andq $-16, %rsp
  call interrupt_entry
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

  .section .rodata
  .balign 8
gdt:
  .quad 0
  .quad 0x00af9b000000ffff      // 64-bit code
  .quad 0x00cf93000000ffff      // data
gdt_end:
gdt_pointer:
  .word gdt_end - gdt - 1
  .long gdt

  .section .bss, "aw", @nobits
  .balign 4096
page_map_level4: .skip 4096
page_directory_pointers: .skip 4096
page_directories: .skip 4 * 4096
  .skip 32768
stack_top:
