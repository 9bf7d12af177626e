#include "tests/kvm/real_guest.h"

namespace cupel::kvm {
namespace {

uint64_t cut(uint64_t value, unsigned size) {
  return size >= 8 ? value : value & ((1ull << 8 * size) - 1);
}

}  // namespace

uint32_t RecordingPlatform::port_in(uint16_t port, unsigned size) {
  const auto value = static_cast<uint32_t>(cut(0x11223344ull * ++next_answer_, size));
  ins.push_back({port, size, value});
  if (stop_on_in) stopped = true;
  return value;
}

void RecordingPlatform::port_out(uint16_t port, unsigned size, uint32_t value) {
  outs.push_back({port, size, value});
  if (port == kExitPort || port == stop_on_port) stopped = true;
}

uint64_t RecordingPlatform::mmio_read(Gpa at, unsigned size) {
  const uint64_t value = cut(0x1122334411223344ull * ++next_answer_, size);
  reads.push_back({at.value(), size, value});
  return value;
}

void RecordingPlatform::mmio_write(Gpa at, unsigned size, uint64_t value) {
  writes.push_back({at.value(), size, value});
}

bool RecordingPlatform::read_msr(uint32_t index, uint64_t& value) {
  if (interrupt_on_msr) interrupts.push_back(*interrupt_on_msr);
  interrupt_on_msr.reset();
  if (index != 0x1b) return false;
  value = 0xfee00900;
  return true;
}

bool RecordingPlatform::write_msr(uint32_t index, uint64_t value) {
  msr_writes.emplace_back(index, value);
  return index == 0x1b;
}

x86::CpuidLeaf RecordingPlatform::cpuid(uint32_t leaf, uint32_t) {
  switch (leaf) {
    case 0:
      return {0x1, 0x65707543, 0x21212121, 0x6c65206c};
    // SSE2, FXSR, CMOV, APIC, MSR, PAE, TSC, PSE, FPU...; hypervisor bit.
    case 1:
      return {0x000506e0, 0x00010800, 0x80000000, 0x078bfbff};
    case 0x80000000:
      return {0x80000008, 0, 0, 0};
    case 0x80000001:
      return {0, 0, 0x1, 0x20100800};
    case 0x80000008:
      return {0x3028, 0, 0, 0};
    default:
      return {};
  }
}

uint8_t RecordingPlatform::acknowledge_interrupt() {
  const uint8_t vector = interrupts.front();
  interrupts.pop_front();
  return vector;
}

void RecordingPlatform::advance(Nanoseconds now) {
  if (interrupt_at.has_value() && now >= *interrupt_at) {
    interrupt_at.reset();
    interrupts.push_back(0x20);
  }
}

void RealGuest::SetUp() {
  if (const auto usable = available(); !usable.ok()) GTEST_SKIP() << describe(usable.error());
  auto physical = PhysicalMemory::create(kMemory);
  ASSERT_TRUE(physical.ok());
  host = std::move(physical).value();
  memory = std::make_unique<GuestMemory>(*host, Hpa(0), kMemory);
  auto made = KvmVcpu::create(*memory, platform, clock);
  ASSERT_TRUE(made.ok()) << describe(made.error());
  vcpu = std::move(made).value();
}

void RealGuest::put(uint64_t at, const std::vector<uint8_t>& bytes) {
  ASSERT_TRUE(memory->write(Gpa(at), std::as_bytes(std::span(bytes))));
}

void RealGuest::load(const std::vector<uint8_t>& code) {
  put(kCode, code);
  const auto result = vcpu->set_state(real_mode_state());
  ASSERT_TRUE(result.ok()) << describe(result.error());
}

void RealGuest::set_vector(uint8_t vector, uint16_t offset) {
  put(vector * 4u, {static_cast<uint8_t>(offset), static_cast<uint8_t>(offset >> 8), 0, 0});
}

x86::CpuState RealGuest::real_mode_state() const {
  auto s = x86::CpuState::after_reset();
  s[x86::Seg::cs] = {0, 0x9b, 0xffff, 0};
  s.rip = kCode;
  s.gpr[x86::Gpr::rsp] = kStack;
  return s;
}

x86::CpuState RealGuest::state() {
  auto result = vcpu->state();
  EXPECT_TRUE(result.ok()) << (result.ok() ? "" : describe(result.error()));
  return result.ok() ? result.value() : x86::CpuState{};
}

void RealGuest::run_to_stop() {
  const auto stop = run();
  ASSERT_EQ(stop.reason, vm::StopReason::stop_request) << describe(stop.error);
}

}  // namespace cupel::kvm
