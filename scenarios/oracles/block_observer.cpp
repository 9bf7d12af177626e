#include "scenarios/oracles/block_observer.h"

namespace cupel::scenarios {

void BlockObserver::submit(BlockRequest request, Completion done) {
  switch (request.op) {
    case BlockOp::read:
      return submit_read(std::move(request), std::move(done));
    case BlockOp::write:
      return submit_write(std::move(request), std::move(done));
    case BlockOp::flush:
      return submit_flush(std::move(request), std::move(done));
  }
}

void BlockObserver::submit_read(BlockRequest request, Completion done) {
  const auto id = oracle_.read_submitted(request.lba);
  disk_.submit(std::move(request),
               [&oracle = oracle_, &clock = clock_, id, done = std::move(done)](BlockReply reply) {
                 oracle.read_completed(id, reply.status, reply.data, clock.now());
                 done(std::move(reply));
               });
}

void BlockObserver::submit_write(BlockRequest request, Completion done) {
  const auto id = oracle_.write_submitted(request.lba, request.data, request.fua);
  disk_.submit(std::move(request),
               [&oracle = oracle_, id, done = std::move(done)](BlockReply reply) {
                 oracle.write_completed(id, reply.status);
                 done(std::move(reply));
               });
}

void BlockObserver::submit_flush(BlockRequest request, Completion done) {
  const auto id = oracle_.flush_submitted();
  disk_.submit(std::move(request),
               [&oracle = oracle_, id, done = std::move(done)](BlockReply reply) {
                 oracle.flush_completed(id, reply.status);
                 done(std::move(reply));
               });
}

}  // namespace cupel::scenarios
