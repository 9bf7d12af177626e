// A memory of translations that stands before the page walk, for a model that wants to decide by
// itself how long they live.
#pragma once

#include "hw_models/cpu/page_walk.h"

namespace cupel::cpu {

// Asked whenever the engine lacks a translation. What is about the current address space is about
// that of the code being executed.
class TranslationMemory {
 public:
  virtual ~TranslationMemory() = default;
  // True: `result` is what the processor uses, in place of a walk.
  virtual bool find(const WalkRequest& request, const PagingState& paging, WalkResult& result) = 0;
  // A walk has ended well; paging is on.
  virtual void remember(const WalkRequest& request, const WalkResult& result) = 0;
  // INVLPG, and page faults.
  virtual void page_invalidated(Gva linear) = 0;
  // MOV to CR0, CR3 or CR4 (`number`), before it takes effect.
  virtual void control_register_written(unsigned number, const PagingState& before,
                                        const PagingState& after) = 0;
  // Reset, or another state altogether.
  virtual void forget_everything() = 0;
};

}  // namespace cupel::cpu
