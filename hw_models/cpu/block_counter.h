// Counting virtual time inside translated code: at the start of every block a few instructions add
// its bytes to the clock and compare with the deadline, instead of a call out of the code.
#pragma once

#include <cstdint>

namespace cupel::cpu {

// What a block count needs of its processor; translated code reads the deadline by its address.
struct BlockWatch {
  uint64_t deadline_ticks = UINT64_MAX;  // the block hook is called when the clock reaches it
  void* context = nullptr;               // the library's translation context
};

// A block of translated code: its linear address and its bytes.
struct BlockPlace {
  uint64_t address = 0, size = 0;
};
// The block that the code at host address `return_to` belongs to; it has just begun, and the clock
// already counts its bytes.
BlockPlace block_at(void* context, uintptr_t return_to);

// Emits the count in front of a call of the block hook, which `args` (engine, linear address, size,
// user data) are for; `call` emits the call itself. `context` is the library's translation context.
// Opcode numbers are learnt from what the library emits for an addition; their order is that of
// QEMU 5's tcg-opc.h, which self_check() has tied to this library.
using EmitCall = void (*)(void* context, void* function, void* result, int count, void** args);
void emit_block_count(void* context, void* function, void** args, EmitCall call, uint64_t* ticks,
                      BlockWatch* watch);
// Asked for every comparison of 32 bits with a value that the library emits: is it the first behind
// a block count, the question whether someone wants translated code to be left?
bool is_exit_check(int condition, int32_t value);
// Called for every three-operand operation the library emits.
void note_operation(uint32_t opcode);

}  // namespace cupel::cpu
