// What VM entries and exits exchange, in the engine's own form: copying it is all that a switch
// between a host and a guest costs when nobody has written their areas of the VMCS.
#pragma once

#include <array>
#include <cstdint>

#include "core/x86/cpu_state.h"
#include "hw_models/cpu/engine_abi.h"
#include "hw_models/cpu/page_walk.h"

namespace cupel::cpu {

// RIP, RFLAGS, segments, descriptor tables, CR0, CR3, CR4, EFER, PDPTEs, DR7, IA32_DEBUGCTL,
// SYSENTER MSRs and non-register state. Not the general registers, nor IA32_PAT.
struct StateBank {
  struct Core {  // as in EngineState from `eip` on
    uint64_t eip, eflags, cc_dst, cc_src, cc_src2;
    uint32_t cc_op;
    int32_t df;
    uint32_t hflags, hflags2;
    EngineSegment seg[6];
    EngineSegment ldt, tr, gdt, idt;
    uint64_t cr[5];
  } core{};
  uint64_t efer = 0, sysenter_cs = 0, sysenter_esp = 0, sysenter_eip = 0;  // the engine's
  PagingState paging;
  uint64_t dr7 = 0x400, debugctl = 0, pending_debug = 0;
  x86::Activity activity = x86::Activity::active;
  bool nmi_blocked = false, shadow_is_mov_ss = false;
};
static_assert(sizeof(StateBank::Core) == sizeof(EngineState) - sizeof(EngineState::gpr));

}  // namespace cupel::cpu
