#include "scenarios/oracles/block_observer.h"

#include <gtest/gtest.h>

#include <map>

#include "core/event_queue.h"

namespace cupel::scenarios {
namespace {

// A disk in memory that answers one microsecond later; `forget_writes` is the planted bug.
class MemoryDisk : public BlockDevice {
 public:
  explicit MemoryDisk(EventQueue& queue) : queue_(queue) {}
  uint64_t sectors() const override { return 128; }
  void submit(BlockRequest request, Completion done) override {
    queue_.after(1_us, [this, request = std::move(request), done = std::move(done)] {
      BlockReply reply;
      if (request.op == BlockOp::read) {
        reply.data = bytes_[request.lba];
        reply.data.resize(kSectorSize);
      } else if (request.op == BlockOp::write && !forget_writes) {
        bytes_[request.lba] = request.data;
      }
      done(std::move(reply));
    });
  }
  bool forget_writes = false;

 private:
  EventQueue& queue_;
  std::map<Lba, std::vector<std::byte>> bytes_;
};

class BlockObserverTest : public testing::Test {
 protected:
  BlockReply perform(BlockRequest request) {
    BlockReply result;
    observer.submit(std::move(request), [&](BlockReply reply) { result = std::move(reply); });
    queue.run_until(queue.now() + 1_ms);
    return result;
  }
  BlockReply write_and_read() {
    BlockRequest write{BlockOp::write, Lba(9), 1, false, {}};
    write.data.assign(kSectorSize, std::byte{7});
    perform(std::move(write));
    perform({BlockOp::flush, {}, 0, false, {}});
    return perform({BlockOp::read, Lba(9), 1, false, {}});
  }

  VirtualClock clock;
  EventQueue queue{clock};
  MemoryDisk disk{queue};
  NoAcknowledgedWriteLost oracle{"web"};
  BlockObserver observer{disk, oracle, clock};
};

TEST_F(BlockObserverTest, PassesRequestsThroughAndAccusesNobody) {
  const auto reply = write_and_read();
  EXPECT_EQ(reply.data, std::vector<std::byte>(kSectorSize, std::byte{7}));
  EXPECT_EQ(observer.sectors(), 128u);
  EXPECT_EQ(oracle.writes_acknowledged(), 1u);
  EXPECT_EQ(oracle.report().verdict, Verdict::pass);
}

TEST_F(BlockObserverTest, PlantedDiskThatForgetsWritesIsCaught) {
  disk.forget_writes = true;
  write_and_read();
  EXPECT_EQ(oracle.report().verdict, Verdict::fail);
}

}  // namespace
}  // namespace cupel::scenarios
