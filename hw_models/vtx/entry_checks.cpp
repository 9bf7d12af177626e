#include "hw_models/vtx/entry_checks.h"

#include <cassert>
#include <cstdio>

namespace cupel::vtx {

CheckTable::CheckTable() {
  append(execution_control_checks(), CheckStage::controls);
  append(exit_control_checks(), CheckStage::controls);
  append(entry_control_checks(), CheckStage::controls);
  append(host_checks(), CheckStage::host);
  append(guest_register_checks(), CheckStage::guest);
  append(guest_segment_checks(), CheckStage::guest);
  append(guest_state_checks(), CheckStage::guest);
}

void CheckTable::append(const CheckSection& section, CheckStage stage) {
  sections_.push_back({section, rows_.size()});
  for (const CheckRow& row : section.rows) {
    const size_t n = rows_.size();
    assert(n < kMaxRows);
    rows_.push_back({&row, stage});
    all_.add(n);
    if (row.memory) memory_.add(n);
    for (const F field : row.reads)
      if (field != F::none) reading_[static_cast<size_t>(field)].add(n);
  }
}

const CheckTable& CheckTable::instance() {
  static const CheckTable table;
  return table;
}

size_t CheckTable::find(std::string_view id) const {
  size_t n = 0;
  while (n < rows_.size() && id != rows_[n].row->id) ++n;
  return n;
}

RowSet CheckTable::failing(const EntryState& state, const RowSet& due) const {
  // What one exit's VMWRITEs make due is found faster row by row.
  constexpr int few = 40;
  RowSet failing;
  if (due.count() > few) {
    for (const Section& s : sections_) s.section.evaluate(state, s.first, due, failing);
  } else {
    due.for_each([&](size_t n) {
      if (!row(n).holds(state)) failing.add(n);
    });
  }
  return failing;
}

void run_checks(const EntryState& state, RowSet& due, std::vector<CheckFailure>& failures) {
  const CheckTable& table = CheckTable::instance();
  due = table.failing(state, due);
  due.for_each([&](size_t n) {
    const CheckRow& row = table.row(n);
    CheckFailure failure{&row, table.stage(n), {}};
    for (const F field : row.reads)
      if (field != F::none) failure.values.push_back({field, state[field]});
    failures.push_back(std::move(failure));
  });
  if (!failures.empty()) due |= table.reading_memory();
}

std::string describe(std::span<const CheckFailure> failures) {
  std::string text;
  for (const CheckFailure& failure : failures) {
    text += failure.row->id;
    text += " (SDM vol. 3C, \"";
    text += failure.row->section;
    text += "\")\n  allowed: ";
    text += failure.row->allowed;
    text += '\n';
    for (const auto& [field, value] : failure.values) {
      char line[96];
      std::snprintf(line, sizeof line, "  %s (%04xH) = 0x%llx\n", name_of(field),
                    encoding_of(field), static_cast<unsigned long long>(value));
      text += line;
    }
  }
  return text;
}

}  // namespace cupel::vtx
