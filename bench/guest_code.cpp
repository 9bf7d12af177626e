#include "bench/guest_code.h"

// R15 starts at the largest number, so that the loops end in no run of this world's length.
asm(R"(
  .pushsection .rodata
  .globl bench_cpuid, bench_io_in, bench_io_out, bench_msr_read, bench_mmio, bench_hlt, bench_tlb
  .globl bench_code_end
bench_cpuid:
  mov $1, %eax
  cpuid
  dec %r15
  jnz bench_cpuid
bench_io_in:
  mov $0x3ff, %edx
1:
  in (%dx), %al
  dec %r15
  jnz 1b
bench_io_out:
  mov $0x3ff, %edx
1:
  out %al, (%dx)
  dec %r15
  jnz 1b
bench_msr_read:
  mov $0xfe, %ecx
1:
  rdmsr
  dec %r15
  jnz 1b
bench_mmio:
  mov $0xe0000004, %ebx
1:
  mov (%rbx), %eax
  dec %r15
  jnz 1b
bench_hlt:
  mov $0x7000, %esp
  sti
  hlt
  jmp bench_hlt
bench_tlb:
  mov %cr3, %rax
  mov %rax, %cr3
  mov $0x200000, %ebx
  mov $128, %ecx
1:
  mov (%rbx), %eax
  add $4096, %ebx
  dec %ecx
  jnz 1b
  jmp bench_tlb
bench_code_end:
  .popsection
)");

extern "C" const std::byte bench_cpuid[], bench_io_in[], bench_io_out[], bench_msr_read[],
    bench_mmio[], bench_hlt[], bench_tlb[], bench_code_end[];

namespace cupel::bench {

std::span<const std::byte> guest_code(LoopKind kind) {
  switch (kind) {
    case LoopKind::cpuid:
      return {bench_cpuid, bench_io_in};
    case LoopKind::io_in:
      return {bench_io_in, bench_io_out};
    case LoopKind::io_out:
      return {bench_io_out, bench_msr_read};
    case LoopKind::msr_read:
      return {bench_msr_read, bench_mmio};
    case LoopKind::mmio:
      return {bench_mmio, bench_hlt};
    case LoopKind::hlt:
      return {bench_hlt, bench_tlb};
    case LoopKind::tlb:
      return {bench_tlb, bench_code_end};
  }
  return {};
}

}  // namespace cupel::bench
