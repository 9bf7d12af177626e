// Start-up check of the engine library: is it the one whose inside we rely on?
#pragma once

#include "core/error.h"
#include "hw_models/cpu/engine_abi.h"

namespace cupel::cpu {

// Runs once a process; later calls return the first result. Verifies the library's version, that
// each correction is in force, and the layout of its state; finds the offsets of EngineLayout.
// Errors: environment, naming what differs.
Result<void> self_check();
const EngineLayout& engine_layout();

// Called by the corrections: while the check (or a processor's creation) runs native code, they
// learn where the engine keeps its state from the arguments they are given. Both return true while
// such a probe is under way, that is when the library's own behaviour is wanted.
bool note_environment(void* env);
bool note_cpu_object(void* cpu);

// Finds the state block of one fresh engine by running `in al, dx` on it. `scratch` is a mapped
// executable page at guest-physical `at`. Returns nullptr when the correction was not reached.
struct EngineLocation {
  EngineState* state = nullptr;
  void* cpu_object = nullptr;
};
EngineLocation locate_engine(uc_engine* uc, void* scratch, uint64_t at);

}  // namespace cupel::cpu
