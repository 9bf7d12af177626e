#include "hw_models/platform/board.h"

#include <bit>
#include <cassert>
#include <initializer_list>
#include <utility>

#include "core/boot/boot_memory.h"
#include "hw_models/platform/acpi_tables.h"
#include "hw_models/platform/processor_bus.h"

namespace cupel::platform {
namespace {

using chips::ExitRequest;

constexpr unsigned kTimerIrq = 0, kSerialIrq = 4, kClockIrq = 8;
constexpr unsigned kTimerPin = 2;  // IRQ 0's at the I/O APIC
// 82371AB, "Edge/Level Control Registers": SCI and the PCI interrupts of PciHost.
constexpr uint16_t kLevelIrqs = 1 << 5 | 1 << 9 | 1 << 10 | 1 << 11;
constexpr unsigned kCmosProcessors = 0x5f;  // one less than there are, as firmware reads it

constexpr chips::PciFunction::Identity kIsaBridge{
    .vendor = 0x8086, .device = 0x7110, .revision = 2, .class_code = 0x060100};  // PIIX4

// The order in which chips are given to Deadlines.
enum Timed : size_t { kPit, kRtc, kUart, kPm, kFirstApic };

Failure<Error> impossible(std::string what, std::string hint) {
  return fail(ErrorKind::bad_input, "board: " + std::move(what), std::move(hint));
}

Result<void> check_frequency(std::string_view what, uint64_t hz) {
  if (hz >= 1'000'000 && hz <= chips::Frequency::kHighest) return {};
  return impossible(std::string(what) + " of " + std::to_string(hz) + " Hz is not possible",
                    "give 1 MHz to 18 GHz");
}

Result<void> check(const BoardConfig& config) {
  if (config.processors == 0 || config.processors > Board::kMostProcessors)
    return impossible(std::to_string(config.processors) + " processors are not possible",
                      "give 1 to " + std::to_string(Board::kMostProcessors));
  if (config.physical_bits < 32 || config.physical_bits > 52)
    return impossible(
        "a physical address of " + std::to_string(config.physical_bits) + " bits is not possible",
        "give 32 to 52");
  CUPEL_TRY(check_frequency("a TSC", config.tsc_hz));
  CUPEL_TRY(check_frequency("an APIC timer", config.apic_timer_hz));
  return boot::check_ram_size(config.ram);
}

chips::LocalApicConfig apic_config(const BoardConfig& config, unsigned cpu) {
  return {.id = cpu,
          .bootstrap = cpu == 0,
          .x2apic = config.x2apic,
          .physical_bits = config.physical_bits,
          .timer_hz = config.apic_timer_hz,
          .tsc_hz = config.tsc_hz};
}

}  // namespace

Result<std::unique_ptr<Board>> Board::create(const VirtualClock& clock, BoardConfig config) {
  CUPEL_TRY(check(config));
  std::unique_ptr<Board> board(new Board(clock, config));
  CUPEL_TRY(board->attach());
  board->connect();
  ArchiveWriter out;
  board->save_chips(out);
  board->power_on_state_ = out.take();
  return board;
}

Board::Board(const VirtualClock& clock, const BoardConfig& config)
    : config_(config),
      pit_(clock),
      port_b_(pit_),
      rtc_(clock, config.start_epoch),
      uart_(clock),
      pci_([this](unsigned irq, bool level) { set_irq(irq, level); }),
      isa_bridge_(kIsaBridge),
      fw_cfg_(config.ram, config.processors),
      pm_(clock) {
  for (unsigned cpu = 0; cpu < config.processors; ++cpu) {
    apics_.push_back(std::make_unique<chips::LocalApic>(clock, apic_config(config, cpu)));
    buses_.push_back(std::make_unique<ProcessorBus>(*this, cpu, *apics_.back()));
  }
}

Board::~Board() = default;

Result<void> Board::attach() {
  CUPEL_TRY(ports_.attach(0x20, 2, pic_.master_ports(), "8259 master"));
  CUPEL_TRY(ports_.attach(0xa0, 2, pic_.slave_ports(), "8259 slave"));
  CUPEL_TRY(ports_.attach(0x4d0, 2, pic_.edge_level_ports(), "edge/level control"));
  CUPEL_TRY(ports_.attach(0x40, 4, pit_, "8254"));
  CUPEL_TRY(ports_.attach(0x61, 1, port_b_, "system control B"));
  CUPEL_TRY(ports_.attach(0x70, 2, rtc_, "RTC"));
  CUPEL_TRY(ports_.attach(0x3f8, 8, uart_, "16550"));
  CUPEL_TRY(ports_.attach(FwCfg::kPort, 2, fw_cfg_, "fw_cfg"));
  CUPEL_TRY(ports_.attach(AcpiPm::kPort, AcpiPm::kPorts, pm_, "ACPI power management"));
  CUPEL_TRY(ports_.attach(chips::PciHost::kPort, 8, pci_, "PCI configuration"));
  CUPEL_TRY(exits_.attach(ports_));
  auto slot = pci_.add(isa_bridge_);
  if (!slot) return std::move(slot).failure();
  return {};
}

// Wires, and what firmware leaves behind.
void Board::connect() {
  pit_.irq.connect([this](bool level) { set_irq(kTimerIrq, level); });
  uart_.irq.connect([this](bool level) { set_irq(kSerialIrq, level); });
  rtc_.irq.connect([this](bool level) { set_irq(kClockIrq, level); });
  pm_.sci.connect([this](bool level) { set_irq(AcpiPm::kSci, level); });
  pic_.intr.connect([this](bool level) { apics_[0]->set_lint(0, level); });
  io_apic_.set_message_sink([this](const chips::ApicMessage& m) { return apic_bus_.deliver(m); });
  for (unsigned cpu = 0; cpu < apics_.size(); ++cpu) {
    chips::LocalApic& apic = *apics_[cpu];
    apic_bus_.attach(apic);
    apic.set_eoi_sink([this](uint8_t vector) { io_apic_.end_of_interrupt(vector); });
    apic.set_event_sink([this, cpu](chips::DeliveryMode mode, uint8_t vector) {
      if (event_sink_) event_sink_(cpu, mode, vector);
    });
  }
  uart_.set_sink([this](uint8_t c) { serial_output_ += static_cast<char>(c); });
  pci_.set_reset_handler([this] { exits_.ask({ExitRequest::Kind::reset, 0}); });
  pm_.set_power_off_handler([this] { exits_.ask({ExitRequest::Kind::power_off, 0}); });

  pic_.edge_level_ports().write(0, 2, kLevelIrqs);
  apics_[0]->enable_virtual_wire();
  rtc_.set_memory_size(config_.ram, 0);
  rtc_.set_nvram(kCmosProcessors, static_cast<uint8_t>(config_.processors - 1));

  for (chips::Chip* chip : std::initializer_list<chips::Chip*>{&pit_, &rtc_, &uart_, &pm_})
    deadlines_.add(*chip);
  for (const auto& apic : apics_) deadlines_.add(*apic);
  deadlines_.all_touched();
}

cpu::SystemBus& Board::bus(unsigned cpu) { return *buses_.at(cpu); }

void Board::set_irq(unsigned irq, bool level) {
  pic_.set_irq(irq, level);
  io_apic_.set_irq(irq == kTimerIrq ? kTimerPin : irq, level);
}

bool Board::interrupt_pending(unsigned cpu) const {
  return apics_[cpu]->highest_pending() >= 0 || apics_[cpu]->extint_pending();
}

uint8_t Board::acknowledge_interrupt(unsigned cpu) {
  chips::LocalApic& apic = *apics_[cpu];
  uint8_t vector = 0;
  if (apic.highest_pending() >= 0 || !apic.extint_pending()) {
    vector = apic.acknowledge();
  } else {
    apic.extint_taken();
    vector = pic_.acknowledge();
  }
  settle();
  return vector;
}

void Board::init_local_apic(unsigned cpu) {
  apics_[cpu]->init_reset();
  apic_touched(cpu);
  settle();
}

void Board::set_tsc_offset(unsigned cpu, int64_t offset) {
  apics_[cpu]->set_tsc_offset(offset);
  apic_touched(cpu);
}

void Board::apic_touched(unsigned cpu) { deadlines_.touched(kFirstApic + cpu); }

void Board::touched_by_port(uint16_t port) {
  if ((port >= 0x40 && port <= 0x43) || port == 0x61) {
    deadlines_.touched(kPit);
  } else if (port == 0x70 || port == 0x71) {
    deadlines_.touched(kRtc);
  } else if (port >= 0x3f8 && port <= 0x3ff) {
    deadlines_.touched(kUart);
  } else if (port >= AcpiPm::kPort && port < AcpiPm::kPort + AcpiPm::kPorts) {
    deadlines_.touched(kPm);
  }
}

uint32_t Board::port_in(uint16_t port, unsigned size) {
  const auto value = static_cast<uint32_t>(ports_.read(port, size));
  touched_by_port(port);
  settle();
  return value;
}

void Board::port_out(uint16_t port, unsigned size, uint32_t value) {
  ports_.write(port, size, value);
  touched_by_port(port);
  settle();
}

void Board::settle() {
  uint64_t pending = 0;
  for (unsigned cpu = 0; cpu < apics_.size(); ++cpu)
    pending |= static_cast<uint64_t>(interrupt_pending(cpu)) << cpu;
  const uint64_t changed = std::exchange(pending_, pending) ^ pending;
  for (uint64_t rest = changed; rest != 0 && interrupt_sink_; rest &= rest - 1) {
    const auto cpu = static_cast<unsigned>(std::countr_zero(rest));
    interrupt_sink_(cpu, (pending >> cpu & 1) != 0);
  }
  if (exits_.requested() && !std::exchange(exit_told_, true) && exit_sink_)
    exit_sink_(exits_.request());
}

void Board::advance(Nanoseconds now) {
  if (now < deadlines_.earliest()) return;
  deadlines_.advance(now);
  settle();
}

Gpa Board::write_firmware_tables(GuestMemory& memory) const {
  assert(memory.size() == config_.ram);
  return write_acpi_tables(config_.processors, memory);
}

std::string Board::take_serial_output() { return std::exchange(serial_output_, {}); }

void Board::serial_input(std::string_view text) {
  uart_.queue_input(text);
  deadlines_.touched(kUart);
  settle();
}

}  // namespace cupel::platform
