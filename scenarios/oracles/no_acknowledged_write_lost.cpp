#include "scenarios/oracles/no_acknowledged_write_lost.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "core/hash.h"

namespace cupel::scenarios {
namespace {

std::string hex(uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

}  // namespace

NoAcknowledgedWriteLost::NoAcknowledgedWriteLost(std::string disk, InitialContent initial)
    : disk_(std::move(disk)),
      initial_(std::move(initial)),
      zero_hash_(hash_sector(std::array<std::byte, kSectorSize>{})) {}

NoAcknowledgedWriteLost::SectorHash NoAcknowledgedWriteLost::hash_sector(
    std::span<const std::byte> sector) {
  return hash_bytes(sector.data(), sector.size());
}

// The list is never empty: it begins with what the sector held before the run.
std::vector<NoAcknowledgedWriteLost::Version>& NoAcknowledgedWriteLost::versions(Lba lba) {
  auto [entry, fresh] = sectors_.try_emplace(lba);
  if (fresh) {
    const SectorHash hash = initial_ ? initial_(lba) : zero_hash_;
    entry->second.push_back({hash, 0, 0, Outcome::durable, 0, false});
  }
  return entry->second;
}

template <class Action>
void NoAcknowledgedWriteLost::each_version(RequestId id, const Write& write, Action action) {
  for (uint64_t i = 0; i < write.sectors; ++i) {
    auto& list = versions(write.lba + i);
    for (Version& version : list) {
      if (version.writer == id) action(version);
    }
    forget_superseded(list);
  }
}

NoAcknowledgedWriteLost::RequestId NoAcknowledgedWriteLost::write_submitted(
    Lba lba, std::span<const std::byte> data, bool fua) {
  const RequestId id = next_id_++;
  const Step now = ++step_;
  const Write write{lba, data.size() / kSectorSize, fua, false, kNever};
  for (uint64_t i = 0; i < write.sectors; ++i) {
    const auto sector = data.subspan(i * kSectorSize, kSectorSize);
    auto& list = versions(lba + i);
    if (list.size() >= kMostVersions) merge_oldest(list);
    list.push_back({hash_sector(sector), now, kNever, Outcome::pending, id, false});
  }
  writes_.emplace(id, write);
  return id;
}

void NoAcknowledgedWriteLost::write_completed(RequestId id, BlockStatus status) {
  const auto found = writes_.find(id);
  if (found == writes_.end()) return;
  Write& write = found->second;
  write.ended = ++step_;
  write.completed_ok = status == BlockStatus::ok;
  const Outcome outcome = write.completed_ok ? Outcome::succeeded : Outcome::unknown;
  each_version(id, write, [&](Version& version) {
    version.ended = write.ended;
    version.outcome = outcome;
  });
  if (!write.completed_ok) {
    writes_.erase(found);
    return;
  }
  ++writes_completed_;
  if (write.fua) {
    make_durable(id, write);
    writes_.erase(found);
  }
}

void NoAcknowledgedWriteLost::make_durable(RequestId id, const Write& write) {
  ++writes_acknowledged_;
  each_version(id, write, [](Version& version) { version.outcome = Outcome::durable; });
}

NoAcknowledgedWriteLost::RequestId NoAcknowledgedWriteLost::flush_submitted() {
  const RequestId id = next_id_++;
  flushes_.emplace(id, ++step_);
  return id;
}

void NoAcknowledgedWriteLost::flush_completed(RequestId id, BlockStatus status) {
  const auto found = flushes_.find(id);
  if (found == flushes_.end()) return;
  const Step submitted = found->second;
  flushes_.erase(found);
  ++step_;
  if (status != BlockStatus::ok) return;
  for (auto write = writes_.begin(); write != writes_.end();) {
    if (write->second.completed_ok && write->second.ended < submitted) {
      make_durable(write->first, write->second);
      write = writes_.erase(write);
    } else {
      ++write;
    }
  }
}

NoAcknowledgedWriteLost::RequestId NoAcknowledgedWriteLost::read_submitted(Lba lba) {
  const RequestId id = next_id_++;
  reads_.emplace(id, Read{lba, ++step_});
  return id;
}

void NoAcknowledgedWriteLost::read_completed(RequestId id, BlockStatus status,
                                             std::span<const std::byte> data, Nanoseconds at) {
  const auto found = reads_.find(id);
  if (found == reads_.end()) return;
  ++step_;
  if (status == BlockStatus::ok) {
    for (uint64_t i = 0; i < data.size() / kSectorSize; ++i) {
      judge(found->second.lba + i, data.subspan(i * kSectorSize, kSectorSize),
            found->second.submitted, "read", at);
    }
  }
  reads_.erase(found);
}

void NoAcknowledgedWriteLost::crashed() {
  const Step now = ++step_;
  for (auto& [id, write] : writes_) {
    const Step ended = std::min(write.ended, now);
    each_version(id, write, [&](Version& version) {
      version.ended = ended;
      version.outcome = Outcome::unknown;
    });
  }
  writes_.clear();
  flushes_.clear();
  reads_.clear();
}

uint64_t NoAcknowledgedWriteLost::verify(const SectorReader& reader, Nanoseconds at) {
  const Step now = ++step_;
  const uint64_t before = violations_.count();
  std::array<std::byte, kSectorSize> sector;
  for (auto& [lba, list] : sectors_) {
    if (reader(lba, sector)) {
      judge(lba, sector, now, "disk holds", at);
      continue;
    }
    const bool promised = std::any_of(list.begin(), list.end(), [](const Version& version) {
      return version.outcome == Outcome::durable && version.writer != 0;
    });
    if (!promised) continue;
    lost_.insert(lba);
    violations_.add(at, disk_ + " sector " + std::to_string(lba.value()) + ": expected " +
                            expectation(lba, now) + ", but it cannot be read");
  }
  return violations_.count() - before;
}

bool NoAcknowledgedWriteLost::allowed(Lba lba, SectorHash hash, Step submitted) {
  const auto& list = versions(lba);
  for (const Version& version : list) {
    if (version.hash != hash && !version.any) continue;
    const bool overtaken = std::any_of(list.begin(), list.end(), [&](const Version& later) {
      const bool happened =
          later.outcome == Outcome::succeeded || later.outcome == Outcome::durable;
      return happened && later.ended < submitted && version.ended < later.submitted;
    });
    if (!overtaken) return true;
  }
  return false;
}

void NoAcknowledgedWriteLost::judge(Lba lba, std::span<const std::byte> sector, Step submitted,
                                    const char* how, Nanoseconds at) {
  const SectorHash hash = hash_sector(sector);
  // A sector that nobody wrote costs no entry as long as it is as it should be.
  if (!sectors_.contains(lba) && hash == (initial_ ? initial_(lba) : zero_hash_)) return;
  if (allowed(lba, hash, submitted)) return;
  lost_.insert(lba);
  const std::string found = hash == zero_hash_ ? "zeros" : hex(hash);
  violations_.add(at, disk_ + " sector " + std::to_string(lba.value()) + ": expected " +
                          expectation(lba, submitted) + ", " + how + ' ' + found);
}

std::string NoAcknowledgedWriteLost::expectation(Lba lba, Step submitted) {
  std::string text;
  std::set<SectorHash> named;
  for (const Version& version : std::vector<Version>(versions(lba))) {
    if (!allowed(lba, version.hash, submitted) || !named.insert(version.hash).second) continue;
    if (named.size() > 4) return text + " or more";
    text += text.empty() ? "" : " or ";
    text += version.any ? "anything" : version.hash == zero_hash_ ? "zeros" : hex(version.hash);
    if (version.writer != 0) text += " (write " + std::to_string(version.writer) + ')';
  }
  return text;
}

NoAcknowledgedWriteLost::Step NoAcknowledgedWriteLost::oldest_read() const {
  // Ids grow with time.
  return reads_.empty() ? kNever : reads_.begin()->second.submitted;
}

// What precedes a durable write can never show again, not even after a crash; but a read that is
// under way may still return it.
void NoAcknowledgedWriteLost::forget_superseded(std::vector<Version>& list) const {
  const Step horizon = oldest_read();
  Step newest = 0;  // the latest submission among durable writes that every read must respect
  for (const Version& version : list) {
    if (version.outcome == Outcome::durable && version.ended < horizon) {
      newest = std::max(newest, version.submitted);
    }
  }
  std::erase_if(list, [&](const Version& version) { return version.ended < newest; });
}

// The ended writes among the older half become one whose outcome is unknown: it bounds all of them
// in time, and so is settled no earlier than the last of them.
void NoAcknowledgedWriteLost::merge_oldest(std::vector<Version>& list) {
  const auto middle = list.begin() + static_cast<std::ptrdiff_t>(list.size() / 2);
  const auto ended = std::stable_partition(
      list.begin(), middle, [](const Version& version) { return version.ended == kNever; });
  if (middle - ended < 2) return;
  Version merged = *ended;
  merged.any = true;
  merged.outcome = Outcome::unknown;
  merged.writer = 0;
  for (auto version = ended; version != middle; ++version) {
    merged.submitted = std::min(merged.submitted, version->submitted);
    merged.ended = std::max(merged.ended, version->ended);
  }
  list.erase(ended + 1, middle);
  *ended = merged;
}

OracleReport NoAcknowledgedWriteLost::report() const {
  OracleReport report{"no_acknowledged_write_lost", Verdict::pass, {}, violations_.first()};
  report.verdict = violations_.count() > 0 ? Verdict::fail : Verdict::pass;
  report.detail = disk_ + ": " + std::to_string(writes_acknowledged_) + " writes acknowledged, " +
                  std::to_string(lost_.size()) + " sectors lost";
  return report;
}

}  // namespace cupel::scenarios
