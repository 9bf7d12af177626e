// A machine's state as a whole, and the way back to it.
#include "hw_models/machine/machine.h"

namespace cupel::machine {

Result<void> Machine::take_snapshot() {
  if (auto taken = memory_->take_snapshot(); !taken.ok()) return std::move(taken).failure();
  ArchiveWriter out;
  board_->save(out);
  std::vector<vtx::LogicalProcessor::Snapshot> processors;
  for (Core& core : cores_) processors.push_back(core.vtx->snapshot());
  snapshot_ = std::make_unique<Snapshot>(Snapshot{clock_.ticks(), out.take(), std::move(processors),
                                                  messages_, order_, turns_, stop_});
  return {};
}

Result<void> Machine::restore_snapshot() {
  if (!snapshot_)
    return fail(ErrorKind::bad_input, "there is no snapshot to go back to", "take one first");
  CUPEL_TRY(memory_->restore_snapshot());
  clock_.set_ticks(snapshot_->ticks);
  ArchiveReader in(snapshot_->board);
  CUPEL_TRY(board_->restore(in));
  for (size_t n = 0; n < cores_.size(); ++n) {
    cores_[n].vtx->restore(snapshot_->processors[n]);
    cores_[n].vtx->set_interrupt_pin(board_->bus(static_cast<unsigned>(n)).interrupt_pending());
  }
  messages_ = snapshot_->messages;
  order_ = snapshot_->order;
  turns_ = snapshot_->turns;
  stop_ = snapshot_->stop;
  return {};
}

}  // namespace cupel::machine
