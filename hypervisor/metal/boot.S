// From a boot loader to long mode.
// Source: Multiboot Specification 0.6.96; Xen "x86/HVM direct boot ABI"; Intel SDM vol. 3A,
// "Initializing IA-32e Mode".

#include "hypervisor/metal/limits.h"

  .set MULTIBOOT_HEADER_MAGIC, 0x1badb002
  .set MULTIBOOT_FLAGS, 0x3     // modules on page boundaries; memory information
  .set PVH_MAGIC, 0x336ec578
  .set CR0_PG, 0x80000000
  .set CR0_CD_NW, 0x60000000
  .set CR0_WP, 0x00010000
  .set CR0_NE, 0x20
  .set CR0_MP, 0x2
  .set CR0_EM_TS, 0xc
  .set CR4_PAE, 0x20
  .set CR4_OSFXSR_OSXMMEXCPT, 0x600
  .set MSR_EFER, 0xc0000080
  .set EFER_LME, 0x100
  // User pages, so that tests can run code at CPL 3 on the same tables.
  .set PAGE_PRESENT_WRITABLE_USER, 0x7
  .set PAGE_LARGE, 0x80

  .section .multiboot, "a"
  .balign 4
  .long MULTIBOOT_HEADER_MAGIC
  .long MULTIBOOT_FLAGS
  .long -(MULTIBOOT_HEADER_MAGIC + MULTIBOOT_FLAGS)

// XEN_ELFNOTE_PHYS32_ENTRY: the 32-bit physical entry point.
  .section .note.pvh, "a", @note
  .balign 4
  .long 4                       // name size
  .long 4                       // descriptor size
  .long 18                      // type
  .asciz "Xen"
  .long pvh_start

// Both protocols enter in flat 32-bit protected mode without paging; EBX points at what the
// loader tells. Multiboot has its magic in EAX.
  .section .text.start, "ax"
  .code32
  .globl pvh_start
pvh_start:
  movl $PVH_MAGIC, %eax
  .globl multiboot_start
multiboot_start:
  cli
  cld
  movl $processor_stacks + PROCESSOR_STACK_SIZE, %esp
  movl %ebx, %ebp
  movl %eax, %esi

  // The first 4 GiB, identity-mapped by 2 MiB pages.
  movl $page_directory_pointers + PAGE_PRESENT_WRITABLE_USER, page_map_level4
  movl $page_directories + PAGE_PRESENT_WRITABLE_USER, %eax
  movl $page_directory_pointers, %edi
  movl $4, %ecx
1:
  movl %eax, (%edi)
  addl $4096, %eax
  addl $8, %edi
  loop 1b
  movl $PAGE_PRESENT_WRITABLE_USER + PAGE_LARGE, %eax
  movl $page_directories, %edi
  movl $4 * 512, %ecx
2:
  movl %eax, (%edi)
  addl $0x200000, %eax
  addl $8, %edi
  loop 2b

  movl %cr4, %eax
  orl $CR4_PAE + CR4_OSFXSR_OSXMMEXCPT, %eax
  movl %eax, %cr4
  movl $page_map_level4, %eax
  movl %eax, %cr3
  movl $MSR_EFER, %ecx
  rdmsr
  orl $EFER_LME, %eax
  wrmsr
  movl %cr0, %eax
  andl $~(CR0_CD_NW + CR0_EM_TS), %eax
  orl $CR0_PG + CR0_WP + CR0_NE + CR0_MP, %eax
  movl %eax, %cr0
  lgdt boot_gdt_pointer
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
  movl $processor_stacks + PROCESSOR_STACK_SIZE, %esp
  movl %esi, %edi
  movl %ebp, %esi
  xorl %ebp, %ebp
  call metal_main
3:
  cli
  hlt
  jmp 3b

  .section .rodata
  .balign 8
boot_gdt:
  .quad 0
  .quad 0x00af9b000000ffff      // 64-bit code
  .quad 0x00cf93000000ffff      // data
boot_gdt_end:
boot_gdt_pointer:
  .word boot_gdt_end - boot_gdt - 1
  .long boot_gdt

  .section .bss, "aw", @nobits
  .balign 4096
  .globl page_map_level4
page_map_level4: .skip 4096
page_directory_pointers: .skip 4096
page_directories: .skip 4 * 4096
// One stack a processor, aligned to its size; the lowest word names the processor (trap.h).
  .balign PROCESSOR_STACK_SIZE
  .globl processor_stacks
processor_stacks: .skip PROCESSOR_STACK_SIZE * MOST_PROCESSORS

  .section .note.GNU-stack, "", @progbits
