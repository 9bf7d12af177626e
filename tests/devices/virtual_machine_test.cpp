#include "hypervisor/vm/virtual_machine.h"

#include <deque>

#include "tests/devices/guest_rig.h"

namespace cupel::vm {
namespace {

// Plays back what a guest would do: each step runs once and says how run() ends.
class ScriptedVcpu final : public Vcpu {
 public:
  using Step = std::function<Stop(GuestPlatform&, VirtualClock&, Nanoseconds until)>;
  ScriptedVcpu(GuestPlatform& platform, VirtualClock& clock, std::deque<Step>& script)
      : platform_(platform), clock_(clock), script_(script) {}
  Stop run(Nanoseconds until) override {
    ++counters_.total;
    platform_.advance(clock_.now());
    if (script_.empty()) {
      clock_.advance_to(until);
      return {};
    }
    auto step = script_.front();
    script_.pop_front();
    return step(platform_, clock_, until);
  }
  Result<x86::CpuState> state() override { return state_; }
  Result<void> set_state(const x86::CpuState& s) override {
    state_ = s;
    return {};
  }
  void save(ArchiveWriter& out) override { out.put(state_.rip); }
  Result<void> restore(ArchiveReader& in) override {
    in.get(state_.rip);
    return in.finish();
  }
  void memory_changed(Gpa, uint64_t length) override { changed += length; }
  const ExitCounters& exits() const override { return counters_; }
  std::string_view backend() const override { return "scripted"; }
  uint64_t changed = 0;

 private:
  GuestPlatform& platform_;
  VirtualClock& clock_;
  std::deque<Step>& script_;
  x86::CpuState state_;
  ExitCounters counters_;
};

Stop halt(GuestPlatform&, VirtualClock&, Nanoseconds) { return {StopReason::halted, {}}; }

struct VmTest : testing::Test {
  VmTest() { vm = make(); }
  std::unique_ptr<Vm> make() {
    VmConfig config{.name = "web", .disks = {{&disk, {}}}, .nics = {{&port, {}}}, .console = true};
    auto created = Vm::create(std::move(config), clock, &trace, memory, devices::test_cpuid(),
                              [this](GuestMemory&, GuestPlatform& platform) {
                                return Result<std::unique_ptr<Vcpu>>(
                                    std::make_unique<ScriptedVcpu>(platform, clock, script));
                              });
    EXPECT_TRUE(created.ok());
    return std::move(*created);
  }
  void start() {
    ASSERT_TRUE(vm->boot_at({}).ok());
    ASSERT_TRUE(vm->start().ok());
  }
  std::vector<std::string> kinds() {
    std::vector<std::string> all;
    for (const auto& r : trace.records()) all.push_back(r.what);
    return all;
  }
  VirtualClock clock;
  EventQueue events{clock};
  Trace trace{clock};
  std::unique_ptr<PhysicalMemory> host = PhysicalMemory::create(16_MiB).value();
  GuestMemory memory{*host, Hpa(0), 16_MiB};
  devices::TestDisk disk{events, 64};
  devices::TestPort port;
  std::deque<ScriptedVcpu::Step> script;
  std::unique_ptr<Vm> vm;
};

TEST_F(VmTest, LifeCycleIsTraced) {
  start();
  ASSERT_TRUE(vm->pause().ok());
  ASSERT_TRUE(vm->resume().ok());
  ASSERT_TRUE(vm->stop().ok());
  EXPECT_EQ(vm->state(), VmState::stopped);
  EXPECT_EQ(kinds(), (std::vector<std::string>{"vm.create", "vm.start", "vm.pause", "vm.resume",
                                               "vm.stop"}));
  EXPECT_EQ(trace.records()[0].source, "vm/web");
}

TEST_F(VmTest, IllegalMovesAreRefused) {
  EXPECT_FALSE(vm->start().ok());  // nothing to boot
  EXPECT_FALSE(vm->pause().ok());
  EXPECT_FALSE(vm->resume().ok());
  start();
  EXPECT_FALSE(vm->start().ok());
  EXPECT_FALSE(vm->resume().ok());
  EXPECT_FALSE(vm->boot_at({}).ok());
  ArchiveWriter out;
  EXPECT_FALSE(vm->save_state(out).ok());
  ASSERT_TRUE(vm->stop().ok());
  auto again = vm->stop();
  ASSERT_FALSE(again.ok());
  EXPECT_EQ(again.error().message, "cannot stop VM 'web': it is stopped, not running");
  EXPECT_FALSE(vm->start().ok());
}

TEST_F(VmTest, RunsUntilTheDeadlineAndOnlyWhileRunning) {
  EXPECT_EQ(vm->run_until(1_ms).state, VmState::created);
  EXPECT_EQ(clock.now(), 0_ns);
  start();
  EXPECT_FALSE(vm->run_until(1_ms).idle);
  EXPECT_EQ(clock.now(), 1_ms);
  ASSERT_TRUE(vm->pause().ok());
  EXPECT_EQ(vm->run_until(2_ms).state, VmState::paused);
  EXPECT_EQ(clock.now(), 1_ms);
}

TEST_F(VmTest, IdleTimeIsSkippedToTheNextTimer) {
  start();
  Nanoseconds woken;
  script = {[](GuestPlatform& p, VirtualClock&, Nanoseconds) {
              p.port_out(0x43, 1, 0x34);
              p.port_out(0x40, 1, 0x9c);
              p.port_out(0x40, 1, 0x2e);  // 11932 ticks: 10 ms
              return Stop{StopReason::halted, {}};
            },
            [&](GuestPlatform&, VirtualClock& c, Nanoseconds) {
              woken = c.now();
              return Stop{StopReason::halted, {}};
            }};
  for (int i = 0; i < 100; ++i) script.push_back(halt);
  const VmStatus status = vm->run_until(15_ms);
  EXPECT_GT(woken, 9_ms);
  EXPECT_LT(woken, 11_ms);
  EXPECT_TRUE(status.idle);
  EXPECT_EQ(clock.now(), 15_ms);
  EXPECT_GT(status.wake_at, 15_ms);
}

TEST_F(VmTest, AHaltWithoutTimersSleepsToTheEndOfTheSlice) {
  start();
  script = {halt};
  const VmStatus status = vm->run_until(5_s);
  EXPECT_TRUE(status.idle);
  EXPECT_EQ(clock.now(), 5_s);
  EXPECT_EQ(vm->vcpu().exits().total, 1u);
}

TEST_F(VmTest, AnEventThatComesUpInTheSliceEndsItWhileTheGuestIdles) {
  start();
  vm->set_horizon([this] { return events.next_time(); });
  events.at(3_ms, [] {});
  script = {halt};
  const VmStatus status = vm->run_until(5_ms);
  EXPECT_EQ(clock.now(), 3_ms);
  EXPECT_TRUE(status.idle);
  EXPECT_EQ(status.state, VmState::running);
}

TEST_F(VmTest, AnEventThatTheGuestCausesEndsTheSliceAtItsTime) {
  start();
  vm->set_horizon([this] { return events.next_time(); }, Vm::HorizonUse::always);
  script = {[this](GuestPlatform& p, VirtualClock& c, Nanoseconds) {
              events.at(2_ms, [] {});
              p.mmio_write(Gpa(0xe0000000), 4, 0);  // stands for the request that caused it
              EXPECT_EQ(p.next_deadline(), 2_ms);
              c.advance_to(2_ms);
              p.advance(c.now());
              EXPECT_TRUE(p.stop_requested());
              return Stop{StopReason::stop_request, {}};
            },
            halt};
  EXPECT_EQ(vm->run_until(5_ms).state, VmState::running);
  EXPECT_EQ(clock.now(), 2_ms);
  EXPECT_TRUE(trace.records().back().what == "vm.start");
  events.run_until(2_ms);
  EXPECT_TRUE(vm->run_until(5_ms).idle);
  EXPECT_EQ(clock.now(), 5_ms);
}

TEST_F(VmTest, GuestExitStopsIt) {
  start();
  script = {[](GuestPlatform& p, VirtualClock&, Nanoseconds) {
    p.port_out(0xf4, 1, 5);
    return Stop{StopReason::stop_request, {}};
  }};
  EXPECT_EQ(vm->run_until(1_ms).state, VmState::stopped);
  EXPECT_EQ(vm->exit_request().status, 11u);
  EXPECT_EQ(trace.records().back().detail, "exit status 11");
}

TEST_F(VmTest, TripleFaultIsACrashWithItsReason) {
  start();
  script = {[](GuestPlatform&, VirtualClock&, Nanoseconds) {
    return Stop{StopReason::triple_fault, {ErrorKind::guest, "triple fault at RIP 0x1000", {}}};
  }};
  EXPECT_EQ(vm->run_until(1_ms).state, VmState::crashed);
  EXPECT_EQ(vm->crash().message, "triple fault at RIP 0x1000");
  EXPECT_FALSE(vm->stop().ok());
}

TEST_F(VmTest, HostSideWritesReachTheVcpu) {
  auto& cpu = static_cast<ScriptedVcpu&>(vm->vcpu());
  memory.write(Gpa(0x1000), uint64_t{1});
  EXPECT_EQ(cpu.changed, 8u);
}

TEST_F(VmTest, SnapshotAndRestoreBringBackRamAndState) {
  start();
  memory.write(Gpa(0x5000), 111);
  vm->run_until(1_ms);
  ASSERT_TRUE(vm->pause().ok());
  auto snapshot = vm->snapshot();
  ASSERT_TRUE(snapshot.ok()) << describe(snapshot.error());
  ASSERT_TRUE(vm->resume().ok());
  memory.write(Gpa(0x5000), 222);
  x86::CpuState other;
  other.rip = 0x1234;
  ASSERT_TRUE(vm->vcpu().set_state(other).ok());
  ASSERT_TRUE(vm->pause().ok());
  ASSERT_TRUE(vm->restore(*snapshot).ok());
  int value = 0;
  memory.read(Gpa(0x5000), value);
  EXPECT_EQ(value, 111);
  EXPECT_EQ(vm->vcpu().state()->rip, 0xfff0u);
  EXPECT_EQ(vm->state(), VmState::paused);

  vm.reset();
  vm = make();  // a new VM may take it over as well
  ASSERT_TRUE(vm->restore(*snapshot).ok());
  EXPECT_TRUE(vm->resume().ok());
}

TEST_F(VmTest, ASnapshotFromTheFutureIsRefused) {
  start();
  vm->run_until(1_ms);
  ASSERT_TRUE(vm->pause().ok());
  auto snapshot = vm->snapshot();
  ASSERT_TRUE(snapshot.ok());
  clock.set(0_ns);
  auto restored = vm->restore(*snapshot);
  ASSERT_FALSE(restored.ok());
  EXPECT_NE(restored.error().message.find("virtual time"), std::string::npos);
}

}  // namespace
}  // namespace cupel::vm
