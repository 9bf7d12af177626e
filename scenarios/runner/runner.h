// Runs a scenario in virtual time: builds the world, lets it go on, breaks it on time, judges.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/event_queue.h"
#include "core/random.h"
#include "core/trace.h"
#include "hw_models/network/switch.h"
#include "hw_models/storage/shared_disk.h"
#include "scenarios/language/scenario.h"
#include "scenarios/oracles/no_acknowledged_write_lost.h"
#include "scenarios/oracles/recovery_within.h"
#include "scenarios/oracles/single_instance.h"
#include "scenarios/runner/guest_assets.h"
#include "scenarios/runner/probe_client.h"
#include "scenarios/runner/sim_host.h"

namespace cupel::scenarios {

struct RunOptions {
  uint64_t seed = 1;
  BackendKind backend = BackendKind::model;
  GuestAssets assets;
  datastore::PlantedBug planted = datastore::PlantedBug::none;
  // Called some hundred times a run with virtual time; returning false ends the run early.
  std::function<bool(Nanoseconds)> on_progress;
  std::function<void(const TraceRecord&)> on_event;
};

struct RunResult {
  std::string scenario;
  uint64_t seed = 0;
  BackendKind backend = BackendKind::model;
  Verdict verdict = Verdict::pass;
  bool as_expected = true;  // verdict is what the scenario expects
  uint64_t trace_hash = 0;
  Nanoseconds duration;
  std::vector<TraceRecord> events;
  std::vector<OracleReport> oracles;  // as asked for, and no_guest_failure when a guest failed
  std::vector<std::pair<std::string, double>> figures;  // in order of interest
  std::map<std::string, std::string> consoles;          // VM -> tail of its last console
};

// The result is a pure function of (scenario, seed, build) on the model backend.
class Runner {
 public:
  Runner(const Scenario& scenario, RunOptions options);
  ~Runner();
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  // Errors: bad_input (images, timings), environment. Once only.
  Result<RunResult> run();

  // --- for the parts of the world ---
  const Scenario& scenario() const { return scenario_; }
  BackendKind backend() const { return options_.backend; }
  datastore::PlantedBug planted_bug() const { return options_.planted; }
  EventQueue& queue() { return queue_; }
  Trace& trace() { return trace_; }
  const RandomSource& random() const { return random_; }
  storage::SharedDisk* lun() { return lun_.get(); }
  GuestLibrary& guests() { return guests_; }
  cluster::HaConfig ha_config(HostId host) const;
  NoAcknowledgedWriteLost& disk_oracle(const VmSpec& vm);
  SingleInstance::InstanceId instance_started(const VmSpec& vm, const std::string& host);
  void instance_stopped(VmInstance& instance, const std::string& host, std::string_view why);
  void abort_run(const Error& error);
  // Some host came up, went down or hangs.
  void update_tolerance();

 private:
  // runner_world.cpp
  Result<void> build();
  Result<void> build_storage();
  void build_hosts();
  void build_client();
  cluster::HaTimings timings() const;
  // fault_injection.cpp
  void schedule_faults();
  void inject(const FaultSpec& fault);
  void apply(const FaultSpec& fault);
  void fail_requests(const FaultSpec& fault, Nanoseconds until);
  std::string beyond_the_design() const;
  SimHost& host(std::string_view name);
  // runner.cpp
  void loop();
  Nanoseconds slice_end(Nanoseconds from);
  void run_slices(Nanoseconds from, Nanoseconds to);
  void run_instance(SimHost& host, VmInstance& instance, Nanoseconds from, Nanoseconds to);
  void guest_ended(const SimHost& host, VmInstance& instance);
  OracleReport guest_failures() const;
  void report_progress();
  void translate_events();
  std::string host_named(const std::string& detail) const;
  void settle_and_verify();
  RunResult judge();
  void figures(RunResult& result);

  const Scenario& scenario_;
  RunOptions options_;
  VirtualClock clock_;
  EventQueue queue_{clock_};
  Trace trace_{clock_};
  RandomSource random_;
  GuestLibrary guests_;

  std::unique_ptr<storage::SharedDisk> lun_;
  datastore::DatastoreLayout layout_;
  std::vector<std::unique_ptr<SimHost>> hosts_;
  std::vector<std::unique_ptr<network::Link>> client_links_;
  std::vector<std::unique_ptr<ProbeClient>> clients_;
  std::vector<std::unique_ptr<network::Switch>> switches_;

  std::map<std::string, std::unique_ptr<NoAcknowledgedWriteLost>> disk_oracles_;  // by VM
  SingleInstance single_;
  std::optional<RecoveryWithin> recovery_;
  Violations failures_;  // of guests, by themselves
  std::map<std::string, std::string> consoles_;
  std::vector<std::string> dead_hosts_;  // heard of since the last translation
  std::optional<Nanoseconds> first_fault_;
  std::optional<Nanoseconds> detected_;
  Nanoseconds disk_useless_until_;
  std::optional<Error> error_;
  bool cancelled_ = false;
  Nanoseconds progress_at_;
};

}  // namespace cupel::scenarios
