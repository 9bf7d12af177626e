// The write oracle against a simulated disk with a volatile cache, requests in flight, errors and
// crashes: it never accuses a disk that keeps its promises, and always one that does not.
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <vector>

#include "core/random.h"
#include "scenarios/oracles/no_acknowledged_write_lost.h"

namespace cupel::scenarios {
namespace {

constexpr uint64_t kSectors = 3;
using Sector = std::array<std::byte, kSectorSize>;

Sector numbered(uint64_t value) {
  Sector sector{};
  std::memcpy(sector.data(), &value, sizeof value);
  return sector;
}

class Simulation {
 public:
  explicit Simulation(uint64_t seed) : random_(seed, "disk") {
    for (auto& values : history_) values.push_back(0);
  }

  void step() {
    switch (random_.uniform(0, 9)) {
      case 0:
      case 1:
        return submit_write();
      case 2:
      case 3:
        return apply_one();
      case 4:
      case 5:
        return complete_write();
      case 6:
        return submit_flush();
      case 7:
        return complete_flush();
      case 8:
        return read();
      default:
        if (random_.chance(0.1)) crash();
    }
  }

  uint64_t verify() {
    return oracle_.verify(
        [this](Lba lba, std::span<std::byte, kSectorSize> out) {
          const Sector sector = numbered(history_[lba.value()].back());
          std::copy(sector.begin(), sector.end(), out.begin());
          return true;
        },
        1_s);
  }

  // The planted bug: a sector with a durable write goes back to what it was before.
  bool lose_a_durable_write() {
    writes_.clear();
    flushes_.clear();
    oracle_.crashed();
    const uint64_t value = ++next_value_;
    const auto id = oracle_.write_submitted(Lba(0), numbered(value), false);
    oracle_.write_completed(id, BlockStatus::ok);
    oracle_.flush_completed(oracle_.flush_submitted(), BlockStatus::ok);
    return verify() == 1;
  }

  const NoAcknowledgedWriteLost& oracle() const { return oracle_; }

 private:
  struct Write {
    NoAcknowledgedWriteLost::RequestId id;
    uint64_t sector;
    uint64_t value;
    bool applied = false;
  };
  struct Flush {
    NoAcknowledgedWriteLost::RequestId id;
    std::array<uint64_t, kSectors> up_to;  // absolute position in each history
  };

  void submit_write() {
    const uint64_t sector = random_.uniform(0, kSectors - 1), value = ++next_value_;
    const auto id = oracle_.write_submitted(Lba(sector), numbered(value), false);
    writes_.push_back({id, sector, value});
  }
  void apply_one() {
    if (writes_.empty()) return;
    apply(writes_[random_.uniform(0, writes_.size() - 1)]);
  }
  void apply(Write& write) {
    if (write.applied) return;
    write.applied = true;
    history_[write.sector].push_back(write.value);
  }
  void complete_write() {
    if (writes_.empty()) return;
    const auto index = random_.uniform(0, writes_.size() - 1);
    Write& write = writes_[index];
    const bool failed = random_.chance(0.1);
    if (!failed) apply(write);
    oracle_.write_completed(write.id, failed ? BlockStatus::io_error : BlockStatus::ok);
    writes_.erase(writes_.begin() + static_cast<std::ptrdiff_t>(index));
  }
  void submit_flush() {
    Flush flush{oracle_.flush_submitted(), {}};
    for (uint64_t i = 0; i < kSectors; ++i) flush.up_to[i] = gone_[i] + history_[i].size() - 1;
    flushes_.push_back(flush);
  }
  void complete_flush() {
    if (flushes_.empty()) return;
    const Flush flush = flushes_.front();
    flushes_.erase(flushes_.begin());
    const bool failed = random_.chance(0.1);
    for (uint64_t i = 0; i < kSectors && !failed; ++i) {
      while (gone_[i] < flush.up_to[i]) {
        history_[i].erase(history_[i].begin());
        ++gone_[i];
      }
    }
    oracle_.flush_completed(flush.id, failed ? BlockStatus::io_error : BlockStatus::ok);
  }
  void read() {
    const uint64_t sector = random_.uniform(0, kSectors - 1);
    const auto id = oracle_.read_submitted(Lba(sector));
    uint64_t value = history_[sector].back();
    if (random_.chance(0.5)) complete_write();
    if (random_.chance(0.5)) value = history_[sector].back();
    oracle_.read_completed(id, BlockStatus::ok, numbered(value), 1_s);
  }
  void crash() {
    for (Write& write : writes_) {
      if (random_.chance(0.5)) apply(write);
    }
    writes_.clear();
    flushes_.clear();
    oracle_.crashed();
    for (uint64_t i = 0; i < kSectors; ++i) {
      const auto kept = history_[i][random_.uniform(0, history_[i].size() - 1)];
      gone_[i] += history_[i].size() - 1;
      history_[i] = {kept};
    }
    EXPECT_EQ(verify(), 0u);
  }

  RandomStream random_;
  NoAcknowledgedWriteLost oracle_{"disk"};
  std::array<std::vector<uint64_t>, kSectors> history_;  // from the durable value to the newest
  std::array<uint64_t, kSectors> gone_{};                // values dropped from the front
  std::vector<Write> writes_;
  std::vector<Flush> flushes_;
  uint64_t next_value_ = 0;
};

TEST(WriteOracleSimulation, ADiskThatKeepsItsPromisesIsNeverAccusedAndABrokenOneAlways) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    Simulation simulation(seed);
    for (int i = 0; i < 400; ++i) simulation.step();
    ASSERT_EQ(simulation.verify(), 0u) << "seed " << seed;
    const auto report = simulation.oracle().report();
    ASSERT_EQ(report.verdict, Verdict::pass)
        << "seed " << seed << ": " << report.violations[0].text;
    ASSERT_TRUE(simulation.lose_a_durable_write()) << "seed " << seed;
  }
}

}  // namespace
}  // namespace cupel::scenarios
