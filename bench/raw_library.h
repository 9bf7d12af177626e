// The engine library as it is, without Cupel's processor around it: what a trap costs there.
#pragma once

#include <unicorn/unicorn.h>

#include <cstdint>
#include <memory>

#include "core/error.h"
#include "hw_models/cpu/fiber.h"

namespace cupel::bench {

// An endless loop of CPUID in 64-bit mode, behind the library's SVM intercepts. Two ways to take
// the trap: inside of the library's hook, which steps RIP through the API; and by switching from
// the hook to a fiber that does it, as a VMRESUME that returns at the exit would.
class RawLibrary {
 public:
  // Errors: environment.
  static Result<std::unique_ptr<RawLibrary>> create();
  ~RawLibrary();

  // Processor nanoseconds each of `count` traps.
  Result<double> trap_cost(unsigned count);
  Result<double> fiber_trip_cost(unsigned count);

 private:
  RawLibrary() = default;
  Result<void> open();
  void prepare();
  void step();
  static void on_trap(uc_engine* uc, uint32_t number, void* self);

  uc_engine* uc_ = nullptr;
  std::byte* memory_ = nullptr;
  std::unique_ptr<cpu::Fiber> fiber_;
  uint64_t left_ = 0;  // traps to take inside of the hook
  bool switching_ = false, quitting_ = false, failed_ = false;
};

}  // namespace cupel::bench
