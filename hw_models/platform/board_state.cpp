// Reset, save and restore of the board.
#include "hw_models/platform/board.h"

namespace cupel::platform {
namespace {

// MC146818A, "RESET#": the interrupt enables and flags are cleared, time and RAM stay.
void reset_clock(BusDevice& ports) {
  constexpr uint8_t kRegisterB = 0x0b, kRegisterC = 0x0c, kEnables = 0x70;
  ports.write(0, 1, kRegisterB);
  ports.write(1, 1, ports.read(1, 1) & ~uint64_t{kEnables});
  ports.write(0, 1, kRegisterC);
  ports.read(1, 1);
}

}  // namespace

void Board::save_chips(ArchiveWriter& out) const {
  pic_.save(out);
  pit_.save(out);
  port_b_.save(out);
  uart_.save(out);
  io_apic_.save(out);
  for (const auto& apic : apics_) apic->save(out);
  fw_cfg_.save(out);
  pm_.save(out);
  exits_.save(out);
  isa_bridge_.save(out);
  pci_.save(out);
}

void Board::restore_chips(ArchiveReader& in) {
  pic_.restore(in);
  pit_.restore(in);
  port_b_.restore(in);
  uart_.restore(in);
  io_apic_.restore(in);
  for (const auto& apic : apics_) apic->restore(in);
  fw_cfg_.restore(in);
  pm_.restore(in);
  exits_.restore(in);
  isa_bridge_.restore(in);
  pci_.restore(in);
  pending_ = 0;
  for (unsigned cpu = 0; cpu < apics_.size(); ++cpu)
    pending_ |= static_cast<uint64_t>(interrupt_pending(cpu)) << cpu;
  exit_told_ = exits_.requested();
  deadlines_.all_touched();
}

void Board::reset() {
  reset_clock(rtc_);
  ArchiveReader in(power_on_state_);
  restore_chips(in);
}

void Board::save(ArchiveWriter& out) const {
  out.section("board", 1);
  out.put(static_cast<uint32_t>(config_.processors));
  out.put(config_.ram);
  out.put(config_.tsc_hz);
  out.put(config_.apic_timer_hz);
  out.put(static_cast<uint8_t>(config_.physical_bits));
  out.put(static_cast<uint8_t>(config_.x2apic));
  rtc_.save(out);
  save_chips(out);
}

Result<void> Board::restore(ArchiveReader& in) {
  in.section("board", 1);
  const auto processors = in.get<uint32_t>();
  const auto ram = in.get<uint64_t>();
  const auto tsc_hz = in.get<uint64_t>(), apic_timer_hz = in.get<uint64_t>();
  if (processors != config_.processors) in.note("the machine had another number of processors");
  if (ram != config_.ram) in.note("the machine had another amount of RAM");
  if (tsc_hz != config_.tsc_hz || apic_timer_hz != config_.apic_timer_hz)
    in.note("the machine's clocks had other frequencies");
  if (in.get<uint8_t>() != config_.physical_bits || (in.get<uint8_t>() != 0) != config_.x2apic)
    in.note("the machine's processors had other local APICs");
  CUPEL_TRY(in.finish());
  rtc_.restore(in);
  restore_chips(in);
  return in.finish();
}

}  // namespace cupel::platform
