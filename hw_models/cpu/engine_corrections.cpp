// Corrections to libunicorn 2.1.1 by symbol interposition: functions of the same names, found
// first by the dynamic linker. Every one states what the library does wrong and what ours does.
// self_check() proves at start-up that they are in force.

#include <dlfcn.h>

#include <cstdint>

#include "hw_models/cpu/block_counter.h"
#include "hw_models/cpu/engine_abi.h"
#include "hw_models/cpu/self_check.h"
#include "hw_models/cpu/unicorn_processor.h"

namespace cupel::cpu {
namespace {

// The library's own function of this name.
template <class Function>
Function* original(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

UnicornProcessor* running() { return UnicornProcessor::current(); }

}  // namespace
}  // namespace cupel::cpu

using namespace cupel;
using namespace cupel::cpu;

#define CUPEL_INTERPOSE extern "C" __attribute__((visibility("default")))
#define CUPEL_RETURN_TO __builtin_return_address(0)

// RDRAND has no intercept and would return the host's randomness: never deterministic. #UD.
CUPEL_INTERPOSE uint64_t helper_rdrand_x86_64(void* env) {
  cpu_vmexit_x86_64(env, svm::exception + x86::kUD, 0,
                    reinterpret_cast<uintptr_t>(CUPEL_RETURN_TO));
}

// SYSCALL is an empty hook in the library. Ours does what the SDM says.
CUPEL_INTERPOSE void helper_syscall_x86_64(void*, int length) {
  running()->on_syscall(static_cast<uint64_t>(length),
                        reinterpret_cast<uintptr_t>(CUPEL_RETURN_TO));
}

// Blocking by STI and blocking by MOV SS are one bit in the library.
CUPEL_INTERPOSE void helper_sti_x86_64(void* env) {
  static auto* next = original<void(void*)>("helper_sti_x86_64");
  if (running() != nullptr) running()->note_shadow(false);
  next(env);
}
CUPEL_INTERPOSE void helper_load_seg_x86_64(void* env, int number, int selector) {
  static auto* next = original<void(void*, int, int)>("helper_load_seg_x86_64");
  constexpr int ss = 2;
  if (number == ss && running() != nullptr) running()->note_shadow(true);
  next(env, number, selector);
}

// IRET must end blocking by NMI.
CUPEL_INTERPOSE void helper_iret_protected_x86_64(void* env, int shift, int next_eip) {
  static auto* next = original<void(void*, int, int)>("helper_iret_protected_x86_64");
  if (running() != nullptr) running()->on_iret();
  next(env, shift, next_eip);
  if (running() != nullptr) running()->on_iret_done();
}
CUPEL_INTERPOSE void helper_iret_real_x86_64(void* env, int shift) {
  static auto* next = original<void(void*, int)>("helper_iret_real_x86_64");
  if (running() != nullptr) running()->on_iret();
  next(env, shift);
  if (running() != nullptr) running()->on_iret_done();
}

// Guest translation is ours: paging modes, permissions, accessed/dirty, the second dimension.
CUPEL_INTERPOSE bool x86_cpu_tlb_fill_x86_64(void* cpu, uint64_t address, int size, int access,
                                             int mmu_index, bool probe, uintptr_t return_to) {
  static auto* next =
      original<bool(void*, uint64_t, int, int, int, bool, uintptr_t)>("x86_cpu_tlb_fill_x86_64");
  if (note_cpu_object(cpu) || running() == nullptr)
    return next(cpu, address, size, access, mmu_index, probe, return_to);
  return running()->on_tlb_fill(cpu, address, static_cast<unsigned>(size), access, mmu_index, probe,
                                return_to);
}

// Exit checks in mid-block rewind RIP to the start of the block. We only leave from hooks that
// know RIP, so the checks are not needed at all.
CUPEL_INTERPOSE void check_exit_request_x86_64(void*) {}

// The block hook is a call out of every block. Ours is a few instructions in the block itself, and
// the call only at the deadline.
CUPEL_INTERPOSE void tcg_gen_callN_x86_64(void* context, void* function, void* result, int count,
                                          void** args) {
  static auto* next = original<void(void*, void*, void*, int, void**)>("tcg_gen_callN_x86_64");
  auto* cpu = running();
  if (cpu != nullptr && function == UnicornProcessor::block_hook()) {
    emit_block_count(context, function, args, next, cpu->clock_ticks(), cpu->block_watch());
  } else {
    next(context, function, result, count, args);
  }
}
// Every block begins by asking whether to leave translated code, which only hooks of ours want, and
// these leave by themselves.
CUPEL_INTERPOSE void tcg_gen_brcondi_i32_x86_64(void* context, int condition, uintptr_t a,
                                                int32_t value, void* label) {
  static auto* next =
      original<void(void*, int, uintptr_t, int32_t, void*)>("tcg_gen_brcondi_i32_x86_64");
  if (!is_exit_check(condition, value)) next(context, condition, a, value, label);
}
CUPEL_INTERPOSE void tcg_gen_op3_x86_64(void* context, uint32_t opcode, uintptr_t a, uintptr_t b,
                                        uintptr_t c) {
  static auto* next =
      original<void(void*, uint32_t, uintptr_t, uintptr_t, uintptr_t)>("tcg_gen_op3_x86_64");
  note_operation(opcode);
  next(context, opcode, a, b, c);
}

// The library's memory of indirect jumps is too small for a kernel and its programs, and it forgets
// what lies on a page whose translation is dropped, though most pages are data. Ours stands before.
[[gnu::noinline]] static char* look_up_jump(void* env) {
  static auto* next = original<char*(void*)>("helper_lookup_tb_ptr_x86_64");
  char* const code = next(env);
  if (auto* cpu = running(); cpu != nullptr && cpu->is_block(code))
    cpu->jumps.remember(cpu->jump_target(), code);
  return code;
}
CUPEL_INTERPOSE void* helper_lookup_tb_ptr_x86_64(void* env) {
  auto* cpu = running();
  if (cpu == nullptr) [[unlikely]]
    return look_up_jump(env);
  cpu->jumps.enter(cpu->jump_mode());
  char* const code = cpu->jumps.find(cpu->jump_target());
  if (code != nullptr) [[likely]]
    return code;
  return look_up_jump(env);
}
CUPEL_INTERPOSE void tb_flush_jmp_cache_x86_64(void* cpu_object, uint64_t address) {
  static auto* next = original<void(void*, uint64_t)>("tb_flush_jmp_cache_x86_64");
  if (auto* cpu = running(); cpu != nullptr) {
    if (!cpu->may_hold_jump_target(address)) return;
    cpu->jumps.forget_page(address);
  }
  next(cpu_object, address);
}
CUPEL_INTERPOSE void tlb_flush_by_mmuidx_x86_64(void* cpu_object, uint16_t indices) {
  static auto* next = original<void(void*, uint16_t)>("tlb_flush_by_mmuidx_x86_64");
  if (auto* cpu = running(); cpu != nullptr) cpu->jumps.forget();
  next(cpu_object, indices);
}
CUPEL_INTERPOSE void tb_flush_x86_64(void* cpu_object) {
  static auto* next = original<void(void*)>("tb_flush_x86_64");
  if (auto* cpu = running(); cpu != nullptr) cpu->jumps.forget();
  next(cpu_object);
}
CUPEL_INTERPOSE void tb_phys_invalidate_x86_64(void* context, void* block, uint64_t page) {
  static auto* next = original<void(void*, void*, uint64_t)>("tb_phys_invalidate_x86_64");
  if (auto* cpu = running(); cpu != nullptr) cpu->jumps.forget();
  next(context, block, page);
}
CUPEL_INTERPOSE void tb_invalidate_phys_range_x86_64(void* uc, uint64_t start, uint64_t end) {
  static auto* next = original<void(void*, uint64_t, uint64_t)>("tb_invalidate_phys_range_x86_64");
  if (auto* cpu = running(); cpu != nullptr) cpu->jumps.forget();
  next(uc, start, end);
}

// A second write to a page of translated code goes unnoticed: the first one makes the page
// writable for good. Ours keep a page write-watched as long as it holds translations.
CUPEL_INTERPOSE void tlb_protect_code_x86_64(void*, uint64_t ram_address) {
  if (running() != nullptr) running()->set_code_page(ram_address, true);
}
CUPEL_INTERPOSE void tlb_unprotect_code_x86_64(void*, uint64_t ram_address) {
  if (running() != nullptr) running()->set_code_page(ram_address, false);
}
CUPEL_INTERPOSE void tb_invalidate_phys_page_fast_x86_64(void* uc, void* pages, uint64_t start,
                                                         int length, uintptr_t return_to) {
  static auto* next =
      original<void(void*, void*, uint64_t, int, uintptr_t)>("tb_invalidate_phys_page_fast_x86_64");
  auto* cpu = running();
  if (cpu != nullptr) {
    cpu->last_written_ram = start;
    const uint64_t last = start + static_cast<uint64_t>(length) - 1;
    if (!cpu->holds_code(start) && !cpu->holds_code(last)) return;
    cpu->store_hits_code_of_others(start, static_cast<uint64_t>(length));
    if (!cpu->holds_own_code(start) && !cpu->holds_own_code(last)) return;
    return cpu->jumps.forget_if_dropped([&] { next(uc, pages, start, length, return_to); },
                                        [&] { return cpu->blocks_dropped(); });
  }
  next(uc, pages, start, length, return_to);
}
CUPEL_INTERPOSE void tlb_set_dirty_x86_64(void* cpu_object, uint64_t address) {
  static auto* next = original<void(void*, uint64_t)>("tlb_set_dirty_x86_64");
  auto* cpu = running();
  if (cpu != nullptr && cpu->last_written_ram != ~0ull && cpu->holds_code(cpu->last_written_ram))
    return;
  next(cpu_object, address);
}
CUPEL_INTERPOSE void tlb_reset_dirty_by_vaddr_x86_64(void*, uint64_t, uint64_t) {}
