// The checks of VM entry, one table row each.
// SDM vol. 3C, ch. "VM Entries".
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/physical_memory.h"
#include "core/x86/exit_qualification.h"
#include "core/x86/vmx_controls.h"
#include "hw_models/vtx/capabilities.h"
#include "hw_models/vtx/guest_state.h"
#include "hw_models/vtx/host_state.h"
#include "hw_models/vtx/vmcs.h"

namespace cupel::vtx {

// Where guest-state fields are read: out of the processor on access, or as they stand in a VMCS
// that no processor runs.
class GuestFields {
 public:
  GuestFields() = default;
  GuestFields(GuestState& live) : live_(&live) {}  // NOLINT: a GuestState is one of the two
  uint64_t read(const Vmcs& vmcs, F f) const { return live_ != nullptr ? live_->read(f) : vmcs[f]; }

 private:
  GuestState* live_ = nullptr;
};

// What a predicate may look at.
struct EntryState {
  GuestFields guest;
  const Vmcs& vmcs;
  const CapabilityProfile& capabilities;
  const HostState& host;
  const PhysicalMemory& memory;
  Hpa current_vmcs;
  uint8_t physical_bits = 40;
  uint8_t linear_bits = 48;

  uint64_t operator[](F f) const { return guest.read(vmcs, f); }

  bool pin(uint32_t bit) const { return (vmcs[F::pin_based_controls] & bit) != 0; }
  bool proc(uint32_t bit) const { return (vmcs[F::primary_processor_controls] & bit) != 0; }
  bool proc2(uint32_t bit) const {
    return proc(x86::proc::secondary_controls) &&
           (vmcs[F::secondary_processor_controls] & bit) != 0;
  }
  bool proc3(uint64_t bit) const {
    return proc(x86::proc::tertiary_controls) && (vmcs[F::tertiary_controls] & bit) != 0;
  }
  bool vm_function(uint64_t bit) const {
    return proc2(x86::proc2::enable_vmfunc) && (vmcs[F::vm_function_controls] & bit) != 0;
  }
  bool exit(uint32_t bit) const { return (vmcs[F::exit_controls] & bit) != 0; }
  bool exit2(uint64_t bit) const {
    return exit(x86::exitctl::secondary_controls) && (vmcs[F::secondary_exit_controls] & bit) != 0;
  }
  bool entry(uint32_t bit) const { return (vmcs[F::entry_controls] & bit) != 0; }
  bool unrestricted() const { return proc2(x86::proc2::unrestricted_guest); }
  bool ept() const { return proc2(x86::proc2::enable_ept); }
  bool host64() const { return exit(x86::exitctl::host_address_space_size); }
  bool ia32e_guest() const { return entry(x86::entryctl::ia32e_mode_guest); }
  x86::InterruptionInfo injection() const {
    return x86::InterruptionInfo::decode(static_cast<uint32_t>(vmcs[F::entry_interruption_info]));
  }
  bool injects(x86::EventType type) const {
    const auto info = injection();
    return info.valid && info.type == type;
  }

  bool physical(uint64_t address) const { return address >> physical_bits == 0; }
  // Aligned to `size` (a power of two) and inside the physical-address width.
  bool structure(uint64_t address, uint64_t size = kPageSize) const {
    return (address & (size - 1)) == 0 && physical(address);
  }
  // Bits 63:bits-1 are identical. Addresses that a register or MSR will hold are measured by the
  // processor's linear-address width whatever CR4.LA57 is.
  bool canonical(uint64_t address) const { return canonical(address, linear_bits); }
  static bool canonical(uint64_t address, unsigned bits) {
    const auto high = static_cast<int64_t>(address) >> (bits - 1);
    return high == 0 || high == -1;
  }
  // Bits 63:N are identical, N the linear-address width: less than canonical.
  bool fits_linear(uint64_t address) const {
    return linear_bits >= 64 || canonical(address, linear_bits + 1u);
  }
};

// Is each byte a memory type that IA32_PAT can hold? SDM vol. 3A, "IA32_PAT MSR".
constexpr bool pat_types_valid(uint64_t pat) {
  for (unsigned n = 0; n < 8; ++n) {
    const uint64_t type = pat >> (8 * n) & 0xff;
    if (type > 7 || type == 2 || type == 3) return false;
  }
  return true;
}

// Decides what a failing row leads to.
enum class CheckStage : uint8_t {
  controls,  // VMfailValid(7)
  host,      // VMfailValid(8)
  guest,     // exit reason 33 with the row's exit qualification
};

struct CheckRow {
  const char* id;          // "guest.rflags.reserved"
  const char* section;     // title in SDM vol. 3C (edition 087)
  std::array<F, 7> reads;  // padded with F::none; a VMWRITE to one of them makes the row due
  bool (*holds)(const EntryState&);
  const char* allowed;  // what the fields may be
  uint8_t qualification = 0;
  bool memory = false;  // reads memory as well: due at every entry
};

constexpr std::array<F, 7> fields(F a = F::none, F b = F::none, F c = F::none, F d = F::none,
                                  F e = F::none, F f = F::none, F g = F::none) {
  return {a, b, c, d, e, f, g};
}

inline constexpr size_t kMaxRows = 320;

// A set of rows.
class RowSet {
 public:
  void add(size_t row) { words_[row / 64] |= 1ull << (row % 64); }
  void remove(size_t row) { words_[row / 64] &= ~(1ull << (row % 64)); }
  bool contains(size_t row) const { return (words_[row / 64] >> (row % 64) & 1) != 0; }
  int count() const {
    int n = 0;
    for (const uint64_t w : words_) n += std::popcount(w);
    return n;
  }
  bool empty() const {
    uint64_t any = 0;
    for (const uint64_t w : words_) any |= w;
    return any == 0;
  }
  RowSet& operator|=(const RowSet& o) {
    for (size_t i = 0; i < words_.size(); ++i) words_[i] |= o.words_[i];
    return *this;
  }
  // Calls visit(row) in ascending order on the rows present at the start.
  template <class Visit>
  void for_each(Visit visit) const {
    const auto words = words_;
    for (size_t i = 0; i < words.size(); ++i)
      for (uint64_t w = words[i]; w != 0; w &= w - 1)
        visit(i * 64 + static_cast<size_t>(std::countr_zero(w)));
  }

 private:
  std::array<uint64_t, kMaxRows / 64> words_{};
};

// One section's rows, and their evaluation: rows first + n of `due` that do not hold go to
// `failing`.
struct CheckSection {
  std::span<const CheckRow> rows;
  void (*evaluate)(const EntryState& state, size_t first, const RowSet& due, RowSet& failing);
};

// The rows are known when this is compiled: their predicates are called directly, and inlined. Over
// all rows that is six times faster than calls through the table.
template <const auto& rows>
void evaluate_rows(const EntryState& state, size_t first, const RowSet& due, RowSet& failing) {
  [&]<size_t... n>(std::index_sequence<n...>) {
    ((due.contains(first + n) && !rows[n].holds(state) ? failing.add(first + n) : void()), ...);
  }
  (std::make_index_sequence<std::size(rows)>{});
}
template <const auto& rows>
CheckSection section() {
  return {rows, evaluate_rows<rows>};
}

// The tables, in the order of the SDM and each in the order of its section.
CheckSection execution_control_checks();
CheckSection exit_control_checks();
CheckSection entry_control_checks();
CheckSection host_checks();
CheckSection guest_register_checks();  // control and debug registers, MSRs
CheckSection guest_segment_checks();   // segment registers and descriptor tables
CheckSection guest_state_checks();     // RIP, RFLAGS, SSP, non-register state, PDPTEs

// All tables as one, rows numbered in architectural order.
class CheckTable {
 public:
  static const CheckTable& instance();
  size_t size() const { return rows_.size(); }
  const CheckRow& row(size_t n) const { return *rows_[n].row; }
  CheckStage stage(size_t n) const { return rows_[n].stage; }
  const RowSet& reading(F field) const { return reading_[static_cast<size_t>(field)]; }
  const RowSet& all() const { return all_; }
  // Rows that read memory: they stay due, or become due again when software may have written.
  const RowSet& reading_memory() const { return memory_; }
  // The rows of `due` that do not hold.
  RowSet failing(const EntryState& state, const RowSet& due) const;
  // The row of an ID; size() when there is none.
  size_t find(std::string_view id) const;

 private:
  CheckTable();
  void append(const CheckSection& section, CheckStage stage);

  struct Entry {
    const CheckRow* row;
    CheckStage stage;
  };
  struct Section {
    CheckSection section;
    size_t first;
  };
  std::vector<Entry> rows_;
  std::vector<Section> sections_;
  std::array<RowSet, kFieldCount + 1> reading_{};
  RowSet all_, memory_;
};

struct CheckFailure {
  const CheckRow* row = nullptr;
  CheckStage stage = CheckStage::controls;
  struct Value {
    F field;
    uint64_t value;
  };
  std::vector<Value> values;  // of the fields the row reads
};

// Runs the rows in `due`, removes those that hold, and appends those that do not to `failures`.
// When some fail, the rows that read memory stay due: the entry did not happen, and nothing else
// would mark them before the next attempt.
void run_checks(const EntryState& state, RowSet& due, std::vector<CheckFailure>& failures);

// One paragraph a failure: ID, section, what is allowed, the fields with their values.
std::string describe(std::span<const CheckFailure> failures);

}  // namespace cupel::vtx
