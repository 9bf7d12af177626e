// A few bytes of real-mode code on a KVM vCPU, with a platform that writes down what it is asked.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/physical_memory.h"
#include "hypervisor/kvm/kvm_vcpu.h"

namespace cupel::kvm {

struct PortAccess {
  uint16_t port;
  unsigned size;
  uint32_t value;
  bool operator==(const PortAccess&) const = default;
};
struct MmioAccess {
  uint64_t address;
  unsigned size;
  uint64_t value;
  bool operator==(const MmioAccess&) const = default;
};

// Reads answer 0x11223344 * (number of the read + 1), cut to the size.
class RecordingPlatform : public vm::GuestPlatform {
 public:
  std::vector<PortAccess> outs, ins;
  std::vector<MmioAccess> writes, reads;
  std::vector<std::pair<uint32_t, uint64_t>> msr_writes;
  std::deque<uint8_t> interrupts;           // pending vectors
  std::optional<Nanoseconds> interrupt_at;  // then vector 0x20 becomes pending
  std::optional<uint8_t> interrupt_on_msr;  // pending from the next read of an MSR on
  int nmis = 0;
  bool stop_on_in = false;
  std::optional<uint16_t> stop_on_port;  // besides the exit port
  bool stopped = false;
  static constexpr uint16_t kExitPort = 0xf4;

  uint32_t port_in(uint16_t port, unsigned size) override;
  void port_out(uint16_t port, unsigned size, uint32_t value) override;
  uint64_t mmio_read(Gpa at, unsigned size) override;
  void mmio_write(Gpa at, unsigned size, uint64_t value) override;
  bool read_msr(uint32_t index, uint64_t& value) override;
  bool write_msr(uint32_t index, uint64_t value) override;
  x86::CpuidLeaf cpuid(uint32_t leaf, uint32_t subleaf) override;
  bool interrupt_pending() override { return !interrupts.empty(); }
  uint8_t acknowledge_interrupt() override;
  bool take_nmi() override { return nmis > 0 && nmis-- > 0; }
  void advance(Nanoseconds now) override;
  Nanoseconds next_deadline() override { return interrupt_at.value_or(Nanoseconds::max()); }
  bool stop_requested() const override { return stopped; }

 private:
  uint64_t next_answer_ = 0;
};

// Skips the test, with the reason, where KVM cannot be used.
class RealGuest : public ::testing::Test {
 protected:
  static constexpr uint64_t kMemory = 1_MiB;
  static constexpr uint64_t kCode = 0x1000;
  static constexpr uint64_t kStack = 0x8000;
  // The interpreter that some hosts offer as KVM executes about a million instructions a second.
  static constexpr Nanoseconds kLongEnough = 20_s;

  void SetUp() override;
  // Real mode at 0000:1000, SP = 8000, interrupts off.
  void load(const std::vector<uint8_t>& code);
  void put(uint64_t at, const std::vector<uint8_t>& bytes);
  // Real-mode vector table entry.
  void set_vector(uint8_t vector, uint16_t offset);
  x86::CpuState real_mode_state() const;
  x86::CpuState state();
  vm::Stop run(Nanoseconds duration = kLongEnough) { return vcpu->run(clock.now() + duration); }
  void run_to_stop();
  uint64_t exits(x86::ExitReason reason) const {
    return vcpu->exits().by_reason[static_cast<size_t>(reason)];
  }

  VirtualClock clock;
  RecordingPlatform platform;
  std::unique_ptr<PhysicalMemory> host;
  std::unique_ptr<GuestMemory> memory;
  std::unique_ptr<KvmVcpu> vcpu;
};

}  // namespace cupel::kvm
