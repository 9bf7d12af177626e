// States that fail one check each, by check ID.
#pragma once

#include <set>
#include <span>
#include <string>

#include "tests/vtx/rig.h"

namespace cupel::vtx::testing {

struct CheckCase {
  const char* id;
  void (*spoil)(Rig&);
};

// A profile that offers every control, so that checks on controls the model does not execute can
// be seen to fail.
inline CapabilityProfile everything_offered() {
  CapabilityProfile p = server_capabilities();
  p.name = "everything";
  for (ControlRange* r : {&p.pin, &p.proc, &p.proc2, &p.exit, &p.entry}) r->allowed = 0xffffffff;
  p.proc.allowed &= ~x86::proc::monitor_trap_flag;
  return p;
}

// Each case fails its own check from a state that passes all, and leads to `expected`.
inline void expect_each_fails(std::span<const CheckCase> cases, CheckStage expected) {
  for (const CheckCase& c : cases) {
    SCOPED_TRACE(c.id);
    Rig rig(expected == CheckStage::controls ? everything_offered() : server_capabilities());
    c.spoil(rig);
    const VmxStatus status = rig.launch();
    EXPECT_TRUE(rig.failed(c.id)) << rig.vmx.describe_entry_failures();
    EXPECT_EQ(rig.cpu.runs, 0);
    switch (expected) {
      case CheckStage::controls:
        EXPECT_EQ(status, VmxStatus::fail_valid);
        EXPECT_EQ(rig.vmx.last_error(), VmxError::entry_controls);
        break;
      case CheckStage::host:
        EXPECT_EQ(status, VmxStatus::fail_valid);
        EXPECT_EQ(rig.vmx.last_error(), VmxError::entry_host_state);
        break;
      case CheckStage::guest:
        EXPECT_EQ(status, VmxStatus::succeed);
        EXPECT_EQ(rig.reason(), 0x80000021u);
        break;
    }
  }
}

// No row without a case.
inline void expect_covered(std::span<const CheckRow> rows, std::span<const CheckCase> cases) {
  std::set<std::string> seen;
  for (const CheckCase& c : cases) seen.insert(c.id);
  for (const CheckRow& row : rows) EXPECT_TRUE(seen.count(row.id)) << row.id;
}

}  // namespace cupel::vtx::testing
