// The inside of the engine library (libunicorn 2.1.1, x86-64 target) as far as Cupel relies on it.
//
// Nothing here is promised by the library's authors. Every offset is discovered or verified by
// self_check() before the first use; a library that differs is refused.
#pragma once

#include <unicorn/unicorn.h>

#include <cstddef>
#include <cstdint>

namespace cupel::cpu {

// Start of the engine's CPU state block, as self_check() verifies it.
struct EngineSegment {
  uint32_t selector;
  uint32_t pad;
  uint64_t base;
  uint32_t limit;
  uint32_t flags;  // second descriptor word: type in 11:8, S 12, DPL 14:13, P 15, ..., G 23
};

struct EngineState {
  uint64_t gpr[16];
  uint64_t eip;
  uint64_t eflags;  // without CF, PF, AF, ZF, SF, OF (lazy, see cc_*) and DF
  uint64_t cc_dst, cc_src, cc_src2;
  uint32_t cc_op;
  int32_t df;  // +1 or -1
  uint32_t hflags;
  uint32_t hflags2;
  EngineSegment seg[6];
  EngineSegment ldt, tr, gdt, idt;
  uint64_t cr[5];
};

// Bits of hflags: mode summary from which translated blocks are chosen.
namespace hf {
inline constexpr uint32_t cpl = 3, inhibit_irq = 1u << 3, cs32 = 1u << 4, ss32 = 1u << 5,
                          addseg = 1u << 6, pe = 1u << 7, lma = 1u << 14, cs64 = 1u << 15,
                          svme = 1u << 20, guest = 1u << 21;
// Left free by the library (its last is bit 26), and part of what a block is chosen by.
inline constexpr uint32_t context1 = 1u << 27, context = 7 * context1;
}  // namespace hf

inline constexpr uint32_t kCcOpEflags = 1;  // cc_src holds the flags themselves

// SVM exit codes, as intno = 0x100 + code. AMD APM vol. 2, appendix "SVM Intercept Exit Codes".
namespace svm {
inline constexpr uint32_t read_cr0 = 0x00, write_cr0 = 0x10, read_dr0 = 0x20, write_dr0 = 0x30,
                          exception = 0x40, intr = 0x60, idtr_read = 0x66, gdtr_read = 0x67,
                          ldtr_read = 0x68, tr_read = 0x69, idtr_write = 0x6a, gdtr_write = 0x6b,
                          ldtr_write = 0x6c, tr_write = 0x6d, rdtsc = 0x6e, rdpmc = 0x6f,
                          cpuid = 0x72, rsm = 0x73, software_interrupt = 0x75, invd = 0x76,
                          pause = 0x77, hlt = 0x78, invlpg = 0x79, invlpga = 0x7a, io = 0x7b,
                          msr = 0x7c, task_switch = 0x7d, shutdown = 0x7f, vmrun = 0x80,
                          vmmcall = 0x81, vmload = 0x82, vmsave = 0x83, stgi = 0x84, clgi = 0x85,
                          skinit = 0x86, rdtscp = 0x87, icebp = 0x88, wbinvd = 0x89, monitor = 0x8a,
                          mwait = 0x8b;
}
inline constexpr uint32_t kVmexitBase = 0x100;

// Offsets, in bytes from EngineState, of what lies behind its verified start.
struct EngineLayout {
  size_t error_code = 0;
  size_t efer = 0, star = 0, lstar = 0, cstar = 0, fmask = 0, kernel_gs_base = 0;
  size_t sysenter_cs = 0, sysenter_esp = 0, sysenter_eip = 0;
};

}  // namespace cupel::cpu

// Exported by the library. `env` is EngineState*, `cpu` the object around it.
extern "C" {
[[noreturn]] void cpu_vmexit_x86_64(void* env, uint32_t code, uint64_t info, uintptr_t return_to);
uint64_t helper_cc_compute_all_x86_64(uint64_t dst, uint64_t src1, uint64_t src2, int op);
int cpu_restore_state_x86_64(void* cpu, uintptr_t return_to, int will_exit);
void cpu_x86_update_cr0_x86_64(void* env, uint32_t value);
void cpu_x86_update_cr4_x86_64(void* env, uint32_t value);
void tlb_flush_x86_64(void* cpu);
void tlb_flush_page_x86_64(void* cpu, uint64_t address);
void tlb_set_page_x86_64(void* cpu, uint64_t va, uint64_t pa, int prot, int mmu_index,
                         uint64_t size);
void tlb_reset_dirty_x86_64(void* cpu, uint64_t start, uint64_t length);
void* tcg_tb_lookup_x86_64(void* context, uintptr_t code);
size_t tcg_tb_phys_invalidate_count_x86_64(void* context);
void tb_flush_x86_64(void* cpu);  // drops all translated code
void tb_invalidate_phys_range_x86_64(void* uc, uint64_t start, uint64_t end);
}
