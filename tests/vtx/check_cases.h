// States at the border of each check: one that just passes and one that fails, by row ID.
#pragma once

#include <gtest/gtest.h>

#include <initializer_list>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "core/x86/vmx_controls.h"
#include "hw_models/vtx/entry_checks.h"
#include "tests/vtx/good_state.h"

namespace cupel::vtx::testing {

// A VMCS with the checks around it and no processor that would enter it.
class CheckBench {
 public:
  explicit CheckBench(CapabilityProfile p, uint8_t physical_bits = 40, uint8_t linear_bits = 48);

  uint64_t get(F f) const { return vmcs[f]; }
  // Writes a field as VMWRITE would, and marks the rows that read it as due.
  void set(F f, uint64_t value);
  void set_bits(F f, uint64_t bits) { set(f, get(f) | bits); }
  void clear_bits(F f, uint64_t bits) { set(f, get(f) & ~bits); }
  // The case makes no sense on this processor.
  void needs(bool condition) { applies_ = applies_ && condition; }

  // The lowest address beyond the physical-address width; an address that is not canonical; one
  // whose bits 63:N differ, N the linear-address width.
  uint64_t beyond() const { return 1ull << physical_bits; }
  uint64_t non_canonical() const { return 1ull << (linear_bits - 1); }
  uint64_t beyond_linear() const { return 1ull << linear_bits; }

  // Does the profile have every field written and every control set? `words` false leaves the
  // control words out of the question.
  bool applies(bool words) const;
  std::set<std::string> failing_of_all();  // every row evaluated
  std::set<std::string> failing_of_due();  // those that writes made due since they last held
  void changed_host() { due = CheckTable::instance().all(); }

  CapabilityProfile profile;
  HostState host;
  uint8_t physical_bits, linear_bits;
  std::unique_ptr<PhysicalMemory> memory;
  Vmcs vmcs;
  RowSet due;

 private:
  EntryState state();

  bool applies_ = true;
};

struct CheckCase {
  const char* id;
  void (*pass)(CheckBench&);  // from the good state to one that just passes
  void (*fail)(CheckBench&);  // from there to one that fails the row
  // Rows that the architecture makes fail together with this one.
  std::initializer_list<const char*> companions = {};
};

std::span<const CheckCase> execution_control_cases();
std::span<const CheckCase> exit_entry_control_cases();
std::span<const CheckCase> host_cases();
std::span<const CheckCase> guest_register_cases();
std::span<const CheckCase> guest_segment_cases();
std::span<const CheckCase> guest_state_cases();
std::vector<CheckCase> all_cases();

// Modes in which cases start. Guest: 32-bit protected mode, with PAE paging, virtual-8086 mode;
// without "unrestricted guest"; without EPT. Host: 32-bit.
void protected_mode(CheckBench& b);
void pae_mode(CheckBench& b);
void v86_mode(CheckBench& b);
void restricted(CheckBench& b);
void no_ept(CheckBench& b);
void host_32(CheckBench& b);

inline void nothing(CheckBench&) {}

// A processor that offers every control and feature, so that rows on what the model does not
// execute can be seen to fail.
CapabilityProfile everything_offered();

}  // namespace cupel::vtx::testing
