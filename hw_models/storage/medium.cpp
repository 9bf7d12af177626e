#include "hw_models/storage/medium.h"

#include <algorithm>
#include <cassert>

#include "core/probe.h"

namespace cupel::storage {
namespace {

constexpr uint64_t kSectorsPerPage = kPageSize / kSectorSize;

// What becomes of one unflushed write at a power cut.
enum class Fate { lost, kept, torn };

Fate draw_fate(RandomStream& outcome) {
  switch (outcome.uniform(0, 2)) {
    case 0:
      return Fate::lost;
    case 1:
      return Fate::kept;
    default:
      return Fate::torn;
  }
}

bool sector_survives(Fate fate, RandomStream& outcome) {
  return fate == Fate::kept || (fate == Fate::torn && outcome.chance(0.5));
}

}  // namespace

Medium::Medium(uint64_t sectors, CachePolicy policy, uint64_t cache_sectors)
    : sectors_(sectors), policy_(policy), cache_sectors_(cache_sectors) {}

void Medium::load(uint64_t sector, std::span<std::byte> out) const {
  const auto page = pages_.find(sector / kSectorsPerPage);
  if (page == pages_.end()) {
    std::fill(out.begin(), out.end(), std::byte{0});
    return;
  }
  const auto* from = page->second->data() + sector % kSectorsPerPage * kSectorSize;
  std::copy_n(from, kSectorSize, out.begin());
}

void Medium::store(uint64_t sector, std::span<const std::byte> data) {
  auto& page = pages_[sector / kSectorsPerPage];
  if (!page) page = std::make_unique<Page>();
  std::copy_n(data.begin(), kSectorSize, page->data() + sector % kSectorsPerPage * kSectorSize);
}

void Medium::read(Lba first, std::span<std::byte> out) const {
  assert(out.size() % kSectorSize == 0 && contains(first, out.size() / kSectorSize));
  for (uint64_t i = 0; i < out.size() / kSectorSize; ++i) {
    const uint64_t sector = first.value() + i;
    const auto to = out.subspan(i * kSectorSize, kSectorSize);
    const auto cached = cache_.find(sector);
    if (cached == cache_.end()) {
      load(sector, to);
    } else {
      std::ranges::copy(cached->second.back().data, to.begin());
    }
  }
}

void Medium::read_durable(Lba first, std::span<std::byte> out) const {
  assert(out.size() % kSectorSize == 0 && contains(first, out.size() / kSectorSize));
  for (uint64_t i = 0; i < out.size() / kSectorSize; ++i) {
    load(first.value() + i, out.subspan(i * kSectorSize, kSectorSize));
  }
}

void Medium::write(Lba first, std::span<const std::byte> data, bool force_unit_access) {
  assert(data.size() % kSectorSize == 0 && contains(first, data.size() / kSectorSize));
  ++writes_;
  for (uint64_t i = 0; i < data.size() / kSectorSize; ++i) {
    const uint64_t sector = first.value() + i;
    const auto from = data.subspan(i * kSectorSize, kSectorSize);
    if (force_unit_access || policy_ == CachePolicy::stable_cache) {
      store(sector, from);
      cache_.erase(sector);
    } else {
      Version version{writes_, {}};
      std::ranges::copy(from, version.data.begin());
      cache_[sector].push_back(version);
    }
  }
  if (cache_.size() > cache_sectors_) flush();
}

void Medium::flush() {
  for (const auto& [sector, versions] : cache_) store(sector, versions.back().data);
  cache_.clear();
}

void Medium::power_cut(RandomStream& outcome) {
  std::map<uint64_t, Fate> fates;
  for (const auto& [sector, versions] : cache_) {
    for (const auto& version : versions) {
      auto [fate, first_seen] = fates.try_emplace(version.write, Fate::lost);
      if (first_seen) fate->second = draw_fate(outcome);
      if (fate->second == Fate::torn) CUPEL_PROBE("disk.torn_write");
      if (sector_survives(fate->second, outcome)) store(sector, version.data);
    }
  }
  cache_.clear();
}

void Medium::tear(Lba first, std::span<const std::byte> data, RandomStream& outcome) {
  assert(data.size() % kSectorSize == 0 && contains(first, data.size() / kSectorSize));
  const Fate fate = draw_fate(outcome);
  for (uint64_t i = 0; i < data.size() / kSectorSize; ++i) {
    if (!sector_survives(fate, outcome)) continue;
    store(first.value() + i, data.subspan(i * kSectorSize, kSectorSize));
  }
}

}  // namespace cupel::storage
