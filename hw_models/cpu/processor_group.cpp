#include "hw_models/cpu/processor_group.h"

#include <algorithm>

#include "hw_models/cpu/unicorn_processor.h"

namespace cupel::cpu {

std::shared_ptr<ProcessorGroup> make_processor_group() {
  return std::make_shared<ProcessorGroup>();
}

void ProcessorGroup::leave(UnicornProcessor& processor) {
  members_.erase(std::remove(members_.begin(), members_.end(), &processor), members_.end());
}

bool ProcessorGroup::holds_code(uint64_t ram_address) const {
  return std::any_of(members_.begin(), members_.end(),
                     [&](const UnicornProcessor* p) { return p->holds_own_code(ram_address); });
}

void ProcessorGroup::watch_page(uint64_t page) const {
  for (UnicornProcessor* p : members_) p->watch_code_page(page);
}

void ProcessorGroup::drop_code(uint64_t start, uint64_t length,
                               const UnicornProcessor* writer) const {
  for (UnicornProcessor* p : members_)
    if (p != writer) p->drop_own_code(start, length);
}

}  // namespace cupel::cpu
