#include "hw_models/vtx/ept_cache.h"

namespace cupel::vtx {

bool EptCaches::select(const EptMode& mode) {
  Slot* chosen = nullptr;
  std::unique_ptr<Slot>* free = nullptr;
  Slot* oldest = nullptr;
  for (auto& slot : slots_) {
    if (!slot) {
      if (free == nullptr) free = &slot;
      continue;
    }
    if (slot->mode.tag() == mode.tag()) chosen = slot.get();
    if (oldest == nullptr || slot->last_use < oldest->last_use) oldest = slot.get();
  }
  bool same = true;
  if (chosen == nullptr) {
    if (free != nullptr) {
      *free = std::make_unique<Slot>();
      chosen = free->get();
    } else {
      chosen = oldest;
      chosen->cache.clear();
    }
    chosen->mode = mode;
  } else if (!(chosen->mode == mode)) {
    chosen->mode = mode;
    chosen->cache.clear();
    same = false;
  }
  chosen->last_use = ++uses_;
  current_ = &chosen->cache;
  return same;
}

}  // namespace cupel::vtx
