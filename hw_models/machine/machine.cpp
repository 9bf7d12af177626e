#include "hw_models/machine/machine.h"

#include <cstdio>
#include <utility>

#include "hw_models/machine/cpuid_topology.h"
#include "hw_models/platform/acpi_tables.h"

namespace cupel::machine {
namespace {

using Kind = MachineStop::Kind;
using Park = cpu::Processor::Park;

std::string hex(uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

}  // namespace

std::string_view to_string(Kind kind) {
  switch (kind) {
    case Kind::running:
      return "running";
    case Kind::debug_exit:
      return "debug-exit";
    case Kind::power_off:
      return "power-off";
    case Kind::reset:
      return "reset";
    case Kind::triple_fault:
      return "triple-fault";
    case Kind::vmx_abort:
      return "vmx-abort";
    case Kind::dead:
      return "dead";
  }
  return "unknown";
}

Machine::Machine(MachineConfig config)
    : config_(std::move(config)), turns_(config_.seed, "machine.turns") {}
Machine::~Machine() = default;

Result<std::unique_ptr<Machine>> Machine::create(MachineConfig config,
                                                 const boot::BootImage& image) {
  std::unique_ptr<Machine> machine(new Machine(std::move(config)));
  CUPEL_TRY(machine->build(image));
  return machine;
}

Result<void> Machine::build(const boot::BootImage& image) {
  platform::BoardConfig board;
  board.processors = config_.processors;
  board.ram = config_.memory;
  board.physical_bits = config_.cpuid.physical_bits;
  auto made = platform::Board::create(clock_, board);
  if (!made.ok()) return std::move(made).failure();
  board_ = std::move(made).value();
  auto memory = PhysicalMemory::create(config_.memory);
  if (!memory.ok()) return std::move(memory).failure();
  memory_ = std::move(memory).value();
  GuestMemory all(*memory_, Hpa(0), memory_->size());
  boot::BootImage described = image;
  described.rsdp = platform::write_acpi_tables(config_.processors, all);
  auto entry = boot::load_image(described, all);
  if (!entry.ok()) return std::move(entry).failure();
  const auto group = cpu::make_processor_group();
  for (unsigned n = 0; n < config_.processors; ++n) {
    CUPEL_TRY(add_processor(n, group));
    order_.push_back(n);
  }
  cores_[0].processor->set_state(entry.value());
  connect();
  return {};
}

Result<void> Machine::add_processor(unsigned n, const std::shared_ptr<cpu::ProcessorGroup>& group) {
  cpu::ProcessorConfig config;
  config.profile = with_topology(config_.cpuid, n, config_.processors);
  config.tsc_hz = MachineConfig::kTscHz;
  config.apic_id = n;
  config.bus = &board_->bus(n);
  config.group = group;
  auto made = cpu::Processor::create(*memory_, clock_, std::move(config));
  if (!made.ok()) return std::move(made).failure();
  Core core;
  core.processor = std::move(made).value();
  core.vtx = std::make_unique<vtx::LogicalProcessor>(*core.processor, config_.capabilities);
  core.vtx->execute_root_mode(board_->bus(n));
  core.vtx->set_init_sink([this, n] { board_->init_local_apic(n); });
  x86::CpuState state = x86::CpuState::after_reset();
  state.activity = x86::Activity::wait_for_sipi;
  core.processor->set_state(state);
  cores_.push_back(std::move(core));
  return {};
}

void Machine::connect() {
  board_->set_event_sink([this](unsigned n, chips::DeliveryMode mode, uint8_t vector) {
    const Message message{n, mode, vector};
    if (n == running_) return deliver(message);
    messages_.push_back(message);
  });
  board_->set_interrupt_sink([this](unsigned n, bool pending) {
    if (n == running_ || running_ == kNobody) cores_[n].vtx->set_interrupt_pin(pending);
  });
  board_->set_deadline_sink([this](Nanoseconds when) {
    if (running_ == kNobody || when >= round_end_) return;
    round_end_ = std::max(when, clock_.now());
    cores_[running_].vtx->set_slice_end(round_end_);
  });
  board_->set_exit_sink([this](const chips::ExitRequest& request) {
    using Ask = chips::ExitRequest::Kind;
    const unsigned n = running_ == kNobody ? 0 : running_;
    const Kind kind = request.kind == Ask::debug_exit  ? Kind::debug_exit
                      : request.kind == Ask::power_off ? Kind::power_off
                                                       : Kind::reset;
    halt(kind, n, chips::to_string(request));
    stop_.status = request.status;
    if (running_ != kNobody) cores_[n].vtx->set_slice_end(clock_.now());
  });
}

void Machine::halt(Kind kind, unsigned n, const std::string& what) {
  if (stopped()) return;
  stop_.kind = kind;
  stop_.processor = n;
  const cpu::Processor& p = *cores_[n].processor;
  stop_.text = "processor " + std::to_string(n) + ": " + what + " at RIP " + hex(p.rip()) +
               " (CS " + hex(p.segment(x86::Seg::cs).selector) + ")";
}

void Machine::deliver(const Message& message) {
  vtx::LogicalProcessor& target = *cores_[message.processor].vtx;
  switch (message.mode) {
    case chips::DeliveryMode::nmi:
      return target.raise_nmi();
    case chips::DeliveryMode::init:
      return target.receive_init();
    case chips::DeliveryMode::startup:
      return target.receive_startup(message.vector);
    default:
      return;  // no system management mode
  }
}

// In the order in which they were sent. INIT takes effect before the start-up message behind it.
void Machine::deliver_messages() {
  const auto messages = std::exchange(messages_, {});
  for (const Message& message : messages) {
    deliver(message);
    if (message.mode == chips::DeliveryMode::init) take_turn(message.processor, clock_.now());
  }
  for (unsigned n = 0; n < cores_.size(); ++n)
    cores_[n].vtx->set_interrupt_pin(board_->bus(n).interrupt_pending());
}

bool Machine::waits(unsigned n) const {
  const Core& core = cores_[n];
  return core.processor->activity() != x86::Activity::active && !core.vtx->has_event() &&
         core.vtx->wakes_at() > clock_.now();
}

bool Machine::idle() const {
  for (unsigned n = 0; n < cores_.size(); ++n)
    if (!waits(n)) return false;
  return true;
}

Nanoseconds Machine::next_wake() const {
  Nanoseconds wake = board_->next_deadline();
  for (const Core& core : cores_) wake = std::min(wake, core.vtx->wakes_at());
  return wake;
}

// Processor `n` runs from now until `end` of its own time, or until it waits.
void Machine::take_turn(unsigned n, Nanoseconds end) {
  Core& core = cores_[n];
  running_ = n;
  round_end_ = end;
  core.vtx->set_slice_end(end);
  while (!stopped()) {
    const Park park = core.processor->run();
    if (park == Park::deadline && clock_.now() >= round_end_) break;
    if (park == Park::halted || park == Park::shutdown) {
      note_stop(n);
      const Nanoseconds wake = core.vtx->wakes_at();
      if (core.vtx->has_event() || wake >= round_end_) break;
      clock_.advance_to(wake);
    }
  }
  running_ = kNobody;
}

// A processor in shutdown outside of VMX non-root operation waits for a reset: the machine is lost.
void Machine::note_stop(unsigned n) {
  const Core& core = cores_[n];
  if (core.vtx->abort() != vtx::VmxAbort::none) {
    halt(Kind::vmx_abort, n,
         "VMX abort " + std::to_string(static_cast<uint32_t>(core.vtx->abort())));
  } else if (core.processor->activity() == x86::Activity::shutdown && !core.vtx->in_guest()) {
    halt(Kind::triple_fault, n, "triple fault");
  }
}

// Fisher-Yates, by the seed.
void Machine::shuffle_order() {
  for (size_t n = order_.size(); n > 1; --n)
    std::swap(order_[n - 1], order_[turns_.uniform(0, n - 1)]);
}

void Machine::run_round(Nanoseconds until) {
  board_->advance(clock_.now());
  deliver_messages();
  if (idle()) {
    const Nanoseconds wake = next_wake();
    if (wake == Nanoseconds::max())
      return halt(Kind::dead, 0, "every processor waits and nothing will wake one");
    clock_.advance_to(std::min(wake, until));
    return;
  }
  unsigned awake = 0;
  for (unsigned n = 0; n < cores_.size(); ++n) awake += waits(n) ? 0 : 1;
  Nanoseconds end = std::min(until, std::max(board_->next_deadline(), clock_.now()));
  if (cores_.size() > 1) end = std::min(end, clock_.now() + config_.turn);
  if (awake > 1) shuffle_order();
  const uint64_t start = clock_.ticks();
  uint64_t latest = start;
  for (const unsigned n : order_) {
    clock_.set_ticks(start);
    if (stopped() || waits(n)) continue;
    take_turn(n, end);
    end = std::min(end, round_end_);
    latest = std::max(latest, clock_.ticks());
  }
  clock_.set_ticks(std::max(latest, VirtualClock::to_ticks(end)));
}

void Machine::run_for(Nanoseconds time) {
  const Nanoseconds until = clock_.now() + time;
  while (!stopped() && clock_.now() < until) run_round(until);
}

}  // namespace cupel::machine
