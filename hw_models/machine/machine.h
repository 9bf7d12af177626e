// A whole modelled machine that boots an image: board, memory, processors with VT-x.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/boot/boot_image.h"
#include "core/clock.h"
#include "core/error.h"
#include "core/physical_memory.h"
#include "core/random.h"
#include "hw_models/cpu/processor.h"
#include "hw_models/platform/board.h"
#include "hw_models/vtx/logical_processor.h"

namespace cupel::machine {

struct MachineConfig {
  unsigned processors = 1;    // 1-64
  uint64_t memory = 512_MiB;  // whole pages, 2 MiB .. 3.5 GiB
  vtx::CapabilityProfile capabilities = vtx::server_capabilities();
  cpu::CpuidProfile cpuid = cpu::server_profile(kTscHz);
  uint64_t seed = 0;  // order in which processors take their turns
  // Length of a turn when several processors run; messages between them arrive at its end.
  Nanoseconds turn{20'000};

  static constexpr uint64_t kTscHz = 1'000'000'000;
};

// Why a machine stands still.
struct MachineStop {
  enum class Kind : uint8_t {
    running,
    debug_exit,  // status = 2 * value + 1
    power_off,
    reset,         // asked for by a port
    triple_fault,  // a processor went into shutdown outside of a VM exit
    vmx_abort,
    dead  // every processor waits, and nothing will wake one
  };
  Kind kind = Kind::running;
  uint32_t status = 0;
  unsigned processor = 0;
  std::string text;  // one line: what and where
};
std::string_view to_string(MachineStop::Kind kind);

// Deterministic: the same image, configuration and input at the same virtual times give the same
// run. Not thread-safe.
class Machine {
 public:
  // Everything at power-on, the image loaded, processor 0 at its entry point, the others waiting
  // for a start-up message. The image's bytes are not needed afterwards. Errors: bad_input
  // (configuration, image), environment.
  static Result<std::unique_ptr<Machine>> create(MachineConfig config,
                                                 const boot::BootImage& image);
  ~Machine();

  // Lets the machine run for `time`, or until it stops.
  void run_for(Nanoseconds time);
  bool stopped() const { return stop_.kind != MachineStop::Kind::running; }
  const MachineStop& stop() const { return stop_; }
  // Every processor waits: only time or input can wake one.
  bool idle() const;

  std::string take_output() { return board_->take_serial_output(); }
  void input(std::string_view text) { board_->serial_input(text); }

  // One snapshot, kept in the machine; the next one replaces it. Continuing from it is continuing
  // from the moment it was taken. Errors: environment.
  Result<void> take_snapshot();
  // Errors: bad_input when there is none, environment.
  Result<void> restore_snapshot();

  const VirtualClock& clock() const { return clock_; }
  PhysicalMemory& memory() { return *memory_; }
  platform::Board& board() { return *board_; }
  unsigned processor_count() const { return config_.processors; }
  cpu::Processor& processor(unsigned n) { return *cores_[n].processor; }
  vtx::LogicalProcessor& vtx(unsigned n) { return *cores_[n].vtx; }

 private:
  struct Core {
    std::unique_ptr<cpu::Processor> processor;
    std::unique_ptr<vtx::LogicalProcessor> vtx;
  };
  struct Message {
    unsigned processor;
    chips::DeliveryMode mode;
    uint8_t vector;
  };
  static constexpr unsigned kNobody = ~0u;

  explicit Machine(MachineConfig config);
  Result<void> build(const boot::BootImage& image);
  Result<void> add_processor(unsigned n, const std::shared_ptr<cpu::ProcessorGroup>& group);
  void connect();

  void run_round(Nanoseconds until);
  void take_turn(unsigned n, Nanoseconds end);
  bool waits(unsigned n) const;
  Nanoseconds next_wake() const;
  void deliver(const Message& message);
  void deliver_messages();
  void note_stop(unsigned n);
  void halt(MachineStop::Kind kind, unsigned n, const std::string& what);
  void shuffle_order();

  MachineConfig config_;
  VirtualClock clock_;
  std::unique_ptr<PhysicalMemory> memory_;
  std::unique_ptr<platform::Board> board_;
  std::vector<Core> cores_;
  RandomStream turns_;  // who goes first
  std::vector<unsigned> order_;
  std::vector<Message> messages_;
  unsigned running_ = kNobody;
  Nanoseconds round_end_{0};
  MachineStop stop_;

  struct Snapshot {
    uint64_t ticks = 0;
    std::vector<std::byte> board;
    std::vector<vtx::LogicalProcessor::Snapshot> processors;
    std::vector<Message> messages;
    std::vector<unsigned> order;
    RandomStream turns;
    MachineStop stop;
  };
  std::unique_ptr<Snapshot> snapshot_;
};

}  // namespace cupel::machine
