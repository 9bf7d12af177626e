// Whole guests on the kvm backend: the workload guest, and Linux where an image is given.
//
// CUPEL_GUEST_OPTIONS is added to every guest's command line.
// CUPEL_WORKLOAD_GUEST, CUPEL_LINUX_KERNEL and CUPEL_LINUX_INITRD name the images; the defaults are
// the places that nested/run_nested.sh puts them. A missing image skips its tests.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "core/event_queue.h"
#include "core/physical_memory.h"
#include "hypervisor/kvm/cpuid.h"
#include "hypervisor/kvm/kvm_vcpu.h"
#include "hypervisor/kvm/system.h"
#include "hypervisor/vm/virtual_machine.h"
#include "tests/kvm/memory_disk.h"

namespace cupel::kvm {
namespace {

using Bytes = std::vector<std::byte>;

std::string image_path(const char* variable, const char* fallback) {
  const char* const value = std::getenv(variable);
  return value != nullptr ? value : fallback;
}

// With a space before it, or empty.
std::string more_options() {
  const char* const value = std::getenv("CUPEL_GUEST_OPTIONS");
  return value != nullptr ? std::string(" ") + value : std::string();
}

Bytes read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const auto* const data = reinterpret_cast<const std::byte*>(text.data());
  return {data, data + text.size()};
}

#ifndef CUPEL_WORKLOAD_GUEST_FILE
#define CUPEL_WORKLOAD_GUEST_FILE "/guest/workload.elf"
#endif

class Guest : public ::testing::Test {
 protected:
  // A completion of the disk waits for the end of the slice in which it was asked for.
  static constexpr Nanoseconds kSlice = 500_us;

  void SetUp() override {
    if (const auto usable = available(); !usable.ok()) GTEST_SKIP() << describe(usable.error());
  }

  void create(uint64_t memory_size) {
    vm.reset();
    serial.clear();
    auto physical = PhysicalMemory::create(memory_size);
    ASSERT_TRUE(physical.ok());
    host = std::move(physical).value();
    memory = std::make_unique<GuestMemory>(*host, Hpa(0), memory_size);
    auto processor = host_processor();
    ASSERT_TRUE(processor.ok()) << describe(processor.error());
    vm::VmConfig config;
    config.name = "guest";
    if (processor->tsc_hz != 0) config.platform.tsc_hz = processor->tsc_hz;
    config.disks.push_back({&disk, {}});
    auto made = vm::Vm::create(
        config, clock, nullptr, *memory, processor->cpuid,
        [&](GuestMemory& ram, vm::GuestPlatform& platform) -> Result<std::unique_ptr<vm::Vcpu>> {
          auto vcpu = KvmVcpu::create(ram, platform, clock);
          if (!vcpu.ok()) return std::move(vcpu).failure();
          return std::unique_ptr<vm::Vcpu>(std::move(vcpu).value());
        });
    ASSERT_TRUE(made.ok()) << describe(made.error());
    vm = std::move(made).value();
    vm->platform().set_serial_sink([this](auto c) { serial += static_cast<char>(c); });
  }

  // Runs until the VM ends, `text` is on the serial port, or time is up.
  void run(Nanoseconds limit, std::string_view text = {}) {
    const Nanoseconds end = clock.now() + limit;
    while (vm->state() == vm::VmState::running && clock.now() < end) {
      const Nanoseconds next = std::min(queue.next_time(), clock.now() + kSlice);
      vm->run_until(next);
      queue.run_until(clock.now());
      if (!text.empty() && serial.find(text) != std::string::npos) return;
    }
  }

  // Where a guest is that did not get on.
  std::string whereabouts() {
    std::ostringstream out;
    const auto state = vm->vcpu().state();
    out << "virtual time " << clock.now().count() / 1000000 << " ms, exits "
        << vm->vcpu().exits().total;
    if (state.ok()) {
      out << std::hex << ", RIP " << state->rip << ", RFLAGS " << state->rflags << ", activity "
          << static_cast<int>(state->activity);
    }
    // Requests, service and masks of the two 8259s.
    auto& platform = vm->platform();
    for (const uint16_t pic : {0x20, 0xa0}) {
      platform.port_out(pic, 1, 0x0a);
      out << ", 8259 at " << pic << ": IRR " << platform.port_in(pic, 1);
      platform.port_out(pic, 1, 0x0b);
      out << " ISR " << platform.port_in(pic, 1);
      out << " IMR " << platform.port_in(static_cast<uint16_t>(pic + 1), 1);
    }
    return out.str();
  }

  bool said(std::string_view text) const { return serial.find(text) != std::string::npos; }
  // Value of port 0xf4, or -1.
  int exit_value() const {
    const auto& request = vm->exit_request();
    if (request.kind != chips::ExitRequest::Kind::debug_exit) return -1;
    return static_cast<int>(request.status / 2);
  }

  VirtualClock clock;
  EventQueue queue{clock};
  MemoryDisk disk{queue, 2048};
  std::unique_ptr<PhysicalMemory> host;
  std::unique_ptr<GuestMemory> memory;
  std::unique_ptr<vm::Vm> vm;
  std::string serial;
};

class Workload : public Guest {
 protected:
  void SetUp() override {
    Guest::SetUp();
    if (IsSkipped()) return;
    const std::string path = image_path("CUPEL_WORKLOAD_GUEST", CUPEL_WORKLOAD_GUEST_FILE);
    image = read_file(path);
    if (image.empty()) GTEST_SKIP() << "no workload guest at " << path;
  }
  void boot(const std::string& command_line) {
    create(16_MiB);
    if (HasFatalFailure()) return;
    const auto booted = vm->boot_pvh({image, {}, command_line + more_options()});
    ASSERT_TRUE(booted.ok()) << describe(booted.error());
    ASSERT_TRUE(vm->start().ok());
  }
  Bytes image;
};

TEST_F(Workload, SaysHelloAndLeaves) {
  boot("mode=hello");
  run(20_s);
  EXPECT_TRUE(said("WORKLOAD hello\n")) << serial;
  EXPECT_EQ(exit_value(), 0);
}

TEST_F(Workload, RecordsAreFoundAgainByTheNextGeneration) {
  boot("mode=record count=40 rate_us=500 report=10");
  run(30_s);
  EXPECT_TRUE(said("WORKLOAD recovered=0 torn=0\n")) << serial;
  EXPECT_TRUE(said("WORKLOAD acked=40\n")) << serial;
  EXPECT_EQ(exit_value(), 0);
  boot("mode=record count=1 rate_us=500 report=1");
  run(30_s);
  EXPECT_TRUE(said("WORKLOAD recovered=40 torn=0\n")) << serial;
  EXPECT_TRUE(said("generation=2 next=41")) << serial;
}

TEST_F(Workload, AbruptEndLosesNoAcknowledgedRecord) {
  boot("mode=record rate_us=200 report=5");
  run(30_s, "acked=25");
  ASSERT_TRUE(said("acked=25")) << serial;
  boot("mode=record count=1 rate_us=200");  // no orderly end of the first
  run(30_s);
  const auto at = serial.find("recovered=");
  ASSERT_NE(at, std::string::npos) << serial;
  EXPECT_GE(std::stoi(serial.substr(at + 10)), 25);
}

TEST_F(Workload, BenchmarkModesEnd) {
  for (const std::string mode : {"cpuid", "pio", "mmio", "msr", "hlt", "spin", "mips"}) {
    boot("mode=" + mode + " iters=200");
    run(20_s);
    EXPECT_TRUE(said("WORKLOAD " + mode + " iters=200\n")) << serial;
    EXPECT_EQ(exit_value(), 0) << mode;
  }
}

TEST_F(Workload, TripleFaultCrashesTheMachineAndNothingElse) {
  boot("mode=triple");
  run(20_s);
  EXPECT_EQ(vm->state(), vm::VmState::crashed);
  EXPECT_EQ(vm->crash().kind, ErrorKind::guest);
}

TEST_F(Workload, SpinWithInterruptsOffIsStillBounded) {
  boot("mode=cli-spin");
  run(20_s, "mode=cli-spin\n");
  run(100_ms);
  EXPECT_EQ(vm->state(), vm::VmState::running);
  EXPECT_TRUE(vm->stop().ok());
}

TEST_F(Workload, GarbageRingsDoNotHurtTheHost) {
  boot("mode=garbage-rings iters=20 seed=7");
  run(30_s);
  EXPECT_TRUE(said("WORKLOAD garbage-rings iters=20\n")) << serial;
}

TEST_F(Workload, SnapshotContinuesWhereItWasTaken) {
  boot("mode=record count=30 rate_us=500 report=1");
  run(30_s, "acked=10\n");
  ASSERT_TRUE(vm->pause().ok());
  queue.run_until(clock.now());
  auto snapshot = vm->snapshot();
  ASSERT_TRUE(snapshot.ok()) << describe(snapshot.error());
  ASSERT_TRUE(vm->resume().ok());
  run(30_s, "acked=20\n");
  ASSERT_TRUE(vm->pause().ok());
  const auto restored = vm->restore(*snapshot);
  ASSERT_TRUE(restored.ok()) << describe(restored.error());
  serial.clear();
  ASSERT_TRUE(vm->resume().ok());
  run(30_s);
  EXPECT_TRUE(said("acked=11\n")) << serial;
  EXPECT_TRUE(said("WORKLOAD done\n")) << serial;
}

TEST_F(Guest, LinuxRunsToTheEndOfItsInitScript) {
  const std::string kernel_path = image_path("CUPEL_LINUX_KERNEL", "/guest/vmlinuz");
  const Bytes kernel = read_file(kernel_path);
  if (kernel.empty()) GTEST_SKIP() << "no Linux kernel at " << kernel_path;
  const Bytes initrd = read_file(image_path("CUPEL_LINUX_INITRD", "/guest/initramfs"));
  create(256_MiB);
  if (HasFatalFailure()) return;
  const std::string options =
      "console=ttyS0 quiet panic=-1 reboot=k nolapic pci=conf1 cupel.mode=record "
      "cupel.rate_us=1000" +
      more_options();
  const auto booted = vm->boot_linux({kernel, initrd, options});
  ASSERT_TRUE(booted.ok()) << describe(booted.error());
  ASSERT_TRUE(vm->start().ok());
  run(120_s, "acked=50");
  EXPECT_TRUE(said("CUPEL-LINUX up")) << serial << whereabouts();
  EXPECT_TRUE(said("RECORDER acked=50")) << serial << describe(vm->crash()) << whereabouts();
}

}  // namespace
}  // namespace cupel::kvm
