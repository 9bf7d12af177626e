#include "scenarios/runner/runner.h"

#include <algorithm>

#include "scenarios/language/event_names.h"

namespace cupel::scenarios {
namespace {

// A busy guest is interrupted at least this often, so that events that others cause reach it.
constexpr Nanoseconds kQuantum = 250_us;
constexpr int64_t kProgressSteps = 400;

std::string vm_source(std::string_view vm) { return "vm/" + std::string(vm); }

}  // namespace

Runner::Runner(const Scenario& scenario, RunOptions options)
    : scenario_(scenario),
      options_(std::move(options)),
      random_(options_.seed),
      guests_(options_.assets) {}

Runner::~Runner() = default;

Result<RunResult> Runner::run() {
  if (options_.on_event) trace_.add_sink(options_.on_event);
  CUPEL_TRY(build());
  schedule_faults();
  loop();
  if (error_) return Failure<Error>(*error_);
  if (cancelled_) return fail(ErrorKind::environment, "the run was stopped at its caller's wish");
  settle_and_verify();
  return judge();
}

void Runner::loop() {
  while (clock_.now() < scenario_.duration && !error_ && !cancelled_) {
    const Nanoseconds from = clock_.now();
    const Nanoseconds to = slice_end(from);
    run_slices(from, to);
    clock_.set(from);  // events of the slice see their own times
    queue_.run_until(to);
    translate_events();
    report_progress();
  }
}

// The next event, a timer of an idle VM, or a quantum when some VM is busy.
Nanoseconds Runner::slice_end(Nanoseconds from) {
  Nanoseconds end = std::min(scenario_.duration, queue_.next_time());
  for (auto& h : hosts_) {
    if (!h->hardware().running() || h->instances().empty()) continue;
    end = std::min(end, from + kQuantum);
  }
  return std::max(end, from);
}

// Every VM executes from `from` to `to`, one after the other, the clock set back for each.
void Runner::run_slices(Nanoseconds from, Nanoseconds to) {
  if (to <= from) return;
  for (auto& h : hosts_) {
    if (!h->hardware().running()) continue;
    for (auto& [name, instance] : h->instances()) {
      clock_.set(from);
      run_instance(*h, *instance, from, to);
    }
  }
}

void Runner::run_instance(SimHost& host, VmInstance& instance, Nanoseconds from, Nanoseconds to) {
  if (instance.vm().state() != vm::VmState::running) return;
  const auto status = instance.run_until(to);
  // A busy guest ends its slice with the block of code it is in, some nanoseconds late: what the
  // next slice would have held is not executed again, and not held against it.
  single_.executed(instance.id, from, std::min(clock_.now(), to));
  trace_.mix("vm.slice", instance.vm().vcpu().exits().total);
  if (status.state != vm::VmState::running) guest_ended(host, instance);
}

// A triple fault, a reset or a failing exit of a guest is nothing that a scenario injects.
void Runner::guest_ended(const SimHost& host, VmInstance& instance) {
  const vm::Vm& vm = instance.vm();
  const chips::ExitRequest& request = vm.exit_request();
  std::string why = "ended by itself";
  bool failed = true;
  if (vm.state() == vm::VmState::crashed) {
    why = "crashed: " + vm.crash().message;
  } else if (request.kind == chips::ExitRequest::Kind::reset) {
    why = "reset itself";
  } else if (request.kind == chips::ExitRequest::Kind::debug_exit && request.status != 1) {
    why = "ended with status " + std::to_string(request.status >> 1);
  } else {
    failed = false;
  }
  trace_.record(vm_source(instance.name()), events::kVmStopped, host.spec().name + " " + why);
  if (failed)
    failures_.add(clock_.now(), "VM " + instance.name() + " on " + host.spec().name + " " + why);
}

OracleReport Runner::guest_failures() const {
  return {
      "no_guest_failure", Verdict::fail,
      std::to_string(failures_.count()) + " guests failed by themselves; look at their consoles",
      failures_.first()};
}

void Runner::report_progress() {
  if (!options_.on_progress || clock_.now() < progress_at_) return;
  progress_at_ = clock_.now() + scenario_.duration / kProgressSteps;
  if (!options_.on_progress(clock_.now())) cancelled_ = true;
}

void Runner::abort_run(const Error& error) {
  if (!error_) error_ = error;
}

SingleInstance::InstanceId Runner::instance_started(const VmSpec& vm, const std::string& host) {
  trace_.record(vm_source(vm.name), events::kVmStarted, host);
  if (recovery_ && vm.nic) recovery_->started(vm.name, clock_.now());
  return single_.started(vm.name, host, clock_.now());
}

void Runner::instance_stopped(VmInstance& instance, const std::string& host, std::string_view why) {
  consoles_[instance.name()] = instance.console();
  trace_.mix("vm.exits", instance.vm().vcpu().exits().total);
  if (instance.vm().state() == vm::VmState::running)
    trace_.record(vm_source(instance.name()), events::kVmStopped, host + " " + std::string(why));
  single_.stopped(instance.id, clock_.now());
  const auto oracle = disk_oracles_.find(instance.name());
  if (oracle != disk_oracles_.end()) oracle->second->crashed();
}

// The agents number hosts ("host 2"); people know their names.
std::string Runner::host_named(const std::string& detail) const {
  constexpr std::string_view kPrefix = "host ";
  for (size_t i = 0; i < scenario_.hosts.size(); ++i)
    if (detail == std::string(kPrefix) + std::to_string(i + 1)) return scenario_.hosts[i].name;
  return detail;
}

// The cluster's own records, in the words that reports know.
void Runner::translate_events() {
  const auto dead = std::exchange(dead_hosts_, {});
  for (const auto& name : dead) {
    if (!detected_ && first_fault_) detected_ = clock_.now();
    trace_.record("cluster", events::kHostDead, host_named(name));
  }
}

// The end of the run: everything stops, then the disks are read as they are.
void Runner::settle_and_verify() {
  if (recovery_) recovery_->run_ended(clock_.now());
  for (auto& h : hosts_) h->stop_all("end of the run");
  for (auto& [name, oracle] : disk_oracles_) {
    const auto* entry = layout_.find(name);
    oracle->verify(
        [&](Lba lba, std::span<std::byte, kSectorSize> out) {
          if (lba.value() >= entry->disk.sectors) return false;
          lun_->medium().read(entry->disk.first + lba.value(), out);
          return true;
        },
        clock_.now());
  }
}

RunResult Runner::judge() {
  RunResult result;
  result.scenario = scenario_.name;
  result.seed = options_.seed;
  result.backend = options_.backend;
  result.duration = clock_.now();
  for (const OracleSpec& spec : scenario_.oracles) {
    switch (spec.kind) {
      case OracleId::no_acknowledged_write_lost:
        for (auto& [name, oracle] : disk_oracles_) result.oracles.push_back(oracle->report());
        break;
      case OracleId::single_instance:
        result.oracles.push_back(single_.report());
        break;
      case OracleId::recovery_within:
        result.oracles.push_back(recovery_->report());
        break;
    }
  }
  if (failures_.count() > 0) result.oracles.push_back(guest_failures());
  for (const auto& report : result.oracles)
    for (const auto& v : report.violations)
      trace_.record("oracle/" + report.oracle, events::kViolation, v.text);
  result.verdict = overall(result.oracles);
  result.as_expected = (result.verdict != Verdict::fail) == scenario_.expect_pass;
  figures(result);
  result.events = trace_.records();
  result.trace_hash = trace_.digest();
  result.consoles = consoles_;
  return result;
}

void Runner::figures(RunResult& result) {
  auto add = [&](const char* name, double value) { result.figures.emplace_back(name, value); };
  if (first_fault_ && detected_) add("detection_time_s", (*detected_ - *first_fault_).seconds());
  if (recovery_ && !recovery_->outages().empty()) add("outage_s", recovery_->longest().seconds());
  uint64_t acknowledged = 0, lost = 0;
  for (auto& [name, oracle] : disk_oracles_) {
    acknowledged += oracle->writes_acknowledged();
    lost += oracle->sectors_lost();
  }
  if (!disk_oracles_.empty()) {
    add("writes_acknowledged", static_cast<double>(acknowledged));
    add("writes_lost", static_cast<double>(lost));
  }
  uint64_t answers = 0;
  for (const auto& client : clients_) answers += client->answers();
  if (!clients_.empty()) add("client_answers", static_cast<double>(answers));
}

}  // namespace cupel::scenarios
