#include "hw_models/cpu/block_counter.h"

#include <utility>

#include "hw_models/cpu/engine_abi.h"

// The library's code generator. A "variable" is a temporary's distance from the context.
extern "C" {
void* tcg_temp_new_internal_x86_64(void* context, int type, bool local);
uintptr_t tcg_const_i64_x86_64(void* context, int64_t value);
void tcg_gen_addi_i64_x86_64(void* context, uintptr_t result, uintptr_t a, int64_t value);
void tcg_gen_extu_i32_i64_x86_64(void* context, uintptr_t result, uintptr_t a);
void tcg_gen_brcond_i64_x86_64(void* context, int condition, uintptr_t a, uintptr_t b, void* label);
void* gen_new_label_x86_64(void* context);
void tcg_gen_op1_x86_64(void* context, uint32_t opcode, uintptr_t a);
void tcg_gen_op3_x86_64(void* context, uint32_t opcode, uintptr_t a, uintptr_t b, uintptr_t c);
}

namespace cupel::cpu {
namespace {

constexpr int kTypeI64 = 1;
constexpr int kConditionLessUnsigned = 4;
constexpr uint32_t kOpSetLabel = 1;

thread_local uint32_t last_operation = 0;
thread_local bool exit_check_follows = false;

// One emission in one translation context.
class Emitter {
 public:
  explicit Emitter(void* context) : context_(context), add_(addition(context)) {}

  uintptr_t temporary() {
    return variable(tcg_temp_new_internal_x86_64(context_, kTypeI64, false));
  }
  uintptr_t variable(void* temp) const {
    return reinterpret_cast<uintptr_t>(temp) - reinterpret_cast<uintptr_t>(context_);
  }
  uintptr_t constant(int64_t value) { return tcg_const_i64_x86_64(context_, value); }
  uintptr_t address(const void* p) { return constant(reinterpret_cast<int64_t>(p)); }
  void load(uintptr_t to, uintptr_t base, intptr_t offset) { op(add_ - 5, to, base, offset); }
  void store(uintptr_t from, uintptr_t base, intptr_t offset) { op(add_ - 1, from, base, offset); }
  void add(uintptr_t to, uintptr_t a, uintptr_t b) {
    tcg_gen_op3_x86_64(context_, add_, argument(to), argument(a), argument(b));
  }
  void* temp(uintptr_t v) const { return reinterpret_cast<void*>(argument(v)); }

 private:
  void op(uint32_t opcode, uintptr_t value, uintptr_t base, intptr_t offset) {
    tcg_gen_op3_x86_64(context_, opcode, argument(value), argument(base),
                       static_cast<uintptr_t>(offset));
  }
  uintptr_t argument(uintptr_t v) const { return v + reinterpret_cast<uintptr_t>(context_); }

  // The operations around an addition in tcg-opc.h: ..., ld, st8, st16, st32, st, add. The first
  // block tells its number.
  static uint32_t addition(void* context) {
    static const uint32_t number = [context] {
      void* sum = tcg_temp_new_internal_x86_64(context, kTypeI64, false);
      tcg_gen_addi_i64_x86_64(
          context, reinterpret_cast<uintptr_t>(sum) - reinterpret_cast<uintptr_t>(context),
          tcg_const_i64_x86_64(context, 0), 1);
      return last_operation;
    }();
    return number;
  }

  void* context_;
  const uint32_t add_;
};

}  // namespace

BlockPlace block_at(void* context, uintptr_t return_to) {
  // The head of the library's TranslationBlock.
  struct Block {
    uint64_t address, code_base;
    uint32_t flags;
    uint16_t size;
  };
  const auto* block = static_cast<const Block*>(tcg_tb_lookup_x86_64(context, return_to));
  return block == nullptr ? BlockPlace{} : BlockPlace{block->address, block->size};
}

bool is_exit_check(int condition, int32_t value) {
  constexpr int kConditionLess = 2;
  const bool first = std::exchange(exit_check_follows, false);
  return first && condition == kConditionLess && value == 0;
}

void note_operation(uint32_t opcode) { last_operation = opcode; }

void emit_block_count(void* context, void* function, void** args, EmitCall call, uint64_t* ticks,
                      BlockWatch* watch) {
  Emitter e(context);
  watch->context = context;
  const uintptr_t clock = e.address(ticks);
  const uintptr_t now = e.temporary(), size = e.temporary(), deadline = e.temporary();
  e.load(now, clock, 0);
  tcg_gen_extu_i32_i64_x86_64(context, size, e.variable(args[2]));
  e.add(now, now, size);
  e.store(now, clock, 0);
  // Never by its distance from the clock where that is short: how many operations a block has must
  // not depend on where things lie, for the library ends blocks by that number, and time with them.
  e.load(deadline, e.address(&watch->deadline_ticks), 0);
  void* label = gen_new_label_x86_64(context);
  tcg_gen_brcond_i64_x86_64(context, kConditionLessUnsigned, now, deadline, label);
  // Temporaries end at the branch; the hook finds its block by where it returns to.
  void* slow[4] = {e.temp(e.constant(0)), e.temp(e.constant(0)), e.temp(e.constant(0)),
                   e.temp(e.constant(0))};
  call(context, function, nullptr, 4, slow);
  exit_check_follows = true;
  *static_cast<uint32_t*>(label) |= 1;  // TCGLabel.present
  tcg_gen_op1_x86_64(context, kOpSetLabel, reinterpret_cast<uintptr_t>(label));
}

}  // namespace cupel::cpu
