// The content of a disk: sparse stable media and, in front of it, an optional volatile cache.
//
// Fault contract. power_cut() may lose or tear any write that no flush or forced write has covered
// since: each of its sectors is then old or new, or an earlier unflushed version. It never touches
// a flushed sector, never splits a sector, and never invents bytes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "core/random.h"
#include "core/types.h"

namespace cupel::storage {

enum class CachePolicy : uint8_t {
  volatile_cache,  // writes complete from RAM, flush makes them durable
  stable_cache,    // battery-backed or write-through: every completed write is durable
};

class Medium {
 public:
  // `cache_sectors`: how much the volatile cache holds before it destages everything.
  Medium(uint64_t sectors, CachePolicy policy, uint64_t cache_sectors = 65536);

  uint64_t sectors() const { return sectors_; }
  bool contains(Lba first, uint64_t count) const {
    return first.value() <= sectors_ && count <= sectors_ - first.value();
  }

  // Ranges must lie inside; data is a multiple of 512 bytes.
  void read(Lba first, std::span<std::byte> out) const;
  void write(Lba first, std::span<const std::byte> data, bool force_unit_access);
  void flush();
  // Forgets the cache; `outcome` decides which unflushed writes survive, whole or in part.
  void power_cut(RandomStream& outcome);
  // A write that was being transferred when power failed: some of its sectors may be there.
  void tear(Lba first, std::span<const std::byte> data, RandomStream& outcome);

  // What a power cut that loses every unflushed write would leave.
  void read_durable(Lba first, std::span<std::byte> out) const;
  uint64_t unflushed_sectors() const { return cache_.size(); }

 private:
  using Sector = std::array<std::byte, kSectorSize>;
  using Page = std::array<std::byte, kPageSize>;
  struct Version {
    uint64_t write;  // number of the write command
    Sector data;
  };
  void store(uint64_t sector, std::span<const std::byte> data);
  void load(uint64_t sector, std::span<std::byte> out) const;

  uint64_t sectors_;
  CachePolicy policy_;
  uint64_t cache_sectors_;
  uint64_t writes_ = 0;
  std::map<uint64_t, std::unique_ptr<Page>> pages_;
  std::map<uint64_t, std::vector<Version>> cache_;  // by sector; all unflushed versions, in order
};

}  // namespace cupel::storage
