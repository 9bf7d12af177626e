// Oracle: no acknowledged write is lost, on one virtual disk, across crashes.
//
// What a sector may hold, after the contract of core/block_device.h:
// - A write precedes another when it had ended before the other was submitted. Writes that overlap
//   in time have no order: either may be the last.
// - A read may return any write that was submitted before the read ended, unless a write that
//   succeeded before the read was submitted comes after it.
// - A write that failed, or whose issuer crashed, may have happened to each sector or not, until a
//   later write settles it.
// - A crash may undo every write that was not durable. Durable: completed ok with fua, or completed
//   ok before a flush was submitted that completed ok.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "core/block_device.h"
#include "core/types.h"
#include "scenarios/oracles/verdict.h"

namespace cupel::scenarios {

// Fed with every request as the VM issues it and every completion as the VM sees it. Sectors that
// were never written are taken to hold zeros, or what `initial` says.
class NoAcknowledgedWriteLost {
 public:
  using RequestId = uint64_t;
  using SectorHash = uint64_t;
  // False when the sector cannot be read.
  using SectorReader = std::function<bool(Lba, std::span<std::byte, kSectorSize>)>;
  using InitialContent = std::function<SectorHash(Lba)>;

  explicit NoAcknowledgedWriteLost(std::string disk, InitialContent initial = {});

  static SectorHash hash_sector(std::span<const std::byte> sector);

  // Data is whole sectors. The id is for the completion; an id whose issuer crashed is forgotten,
  // and its completion ignored, as nobody saw it.
  RequestId write_submitted(Lba lba, std::span<const std::byte> data, bool fua);
  void write_completed(RequestId id, BlockStatus status);
  RequestId flush_submitted();
  void flush_completed(RequestId id, BlockStatus status);
  RequestId read_submitted(Lba lba);
  void read_completed(RequestId id, BlockStatus status, std::span<const std::byte> data,
                      Nanoseconds at);

  // The host or VM that issued is gone with its requests in flight, and with every cache that was
  // not promised to survive.
  void crashed();

  // Compares every sector ever written with the disk as it is; nothing may be in flight. Returns
  // the number of sectors that hold something else than they may, or cannot be read.
  uint64_t verify(const SectorReader& reader, Nanoseconds at);

  // Writes that completed ok; those among them that are durable.
  uint64_t writes_completed() const { return writes_completed_; }
  uint64_t writes_acknowledged() const { return writes_acknowledged_; }
  // Sectors found with a wrong content, by reads or by verify().
  uint64_t sectors_lost() const { return lost_.size(); }
  OracleReport report() const;

 private:
  using Step = uint64_t;  // position in the order of all events of this disk
  static constexpr Step kNever = UINT64_MAX;
  // A guest that overwrites one sector for ever without a flush costs no more than this. Beyond,
  // the oldest writes become one that allows anything: the oracle may then miss, but never accuse.
  static constexpr size_t kMostVersions = 256;

  enum class Outcome : uint8_t { pending, succeeded, durable, unknown };
  struct Version {
    SectorHash hash = 0;
    Step submitted = 0;
    Step ended = kNever;
    Outcome outcome = Outcome::pending;
    RequestId writer = 0;
    bool any = false;  // stands for many: any content is allowed
  };
  struct Write {
    Lba lba;
    uint64_t sectors = 0;
    bool fua = false;
    bool completed_ok = false;
    Step ended = kNever;
  };
  struct Read {
    Lba lba;
    Step submitted = 0;
  };

  std::vector<Version>& versions(Lba lba);
  template <class Action>
  void each_version(RequestId id, const Write& write, Action action);
  void make_durable(RequestId id, const Write& write);
  void forget_superseded(std::vector<Version>& versions) const;
  static void merge_oldest(std::vector<Version>& versions);
  Step oldest_read() const;
  // Whether the sector may show `hash` to a read submitted at `submitted`.
  bool allowed(Lba lba, SectorHash hash, Step submitted);
  void judge(Lba lba, std::span<const std::byte> sector, Step submitted, const char* how,
             Nanoseconds at);
  std::string expectation(Lba lba, Step submitted);

  const std::string disk_;
  const InitialContent initial_;
  const SectorHash zero_hash_;
  Step step_ = 0;
  RequestId next_id_ = 1;
  std::map<Lba, std::vector<Version>> sectors_;
  std::map<RequestId, Write> writes_;  // pending, and completed but not yet durable
  std::map<RequestId, Step> flushes_;
  std::map<RequestId, Read> reads_;
  uint64_t writes_completed_ = 0;
  uint64_t writes_acknowledged_ = 0;
  std::set<Lba> lost_;
  Violations violations_;
};

}  // namespace cupel::scenarios
