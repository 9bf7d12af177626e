// Every row of the entry checks, on every profile: a state that just passes and one that fails it
// alone.
#include <map>

#include "core/random.h"
#include "hw_models/vtx/profiles.h"
#include "tests/vtx/check_cases.h"

namespace cupel::vtx::testing {

std::vector<CheckCase> all_cases() {
  std::vector<CheckCase> all;
  for (const auto cases : {execution_control_cases(), exit_entry_control_cases(), host_cases(),
                           guest_register_cases(), guest_segment_cases(), guest_state_cases()})
    all.insert(all.end(), cases.begin(), cases.end());
  return all;
}

namespace {

struct Subject {
  CapabilityProfile profile;
  uint8_t physical_bits = 40, linear_bits = 48;
};

// Everything there is, and every profile as the silicon and as the model has it.
std::vector<Subject> subjects() {
  std::vector<Subject> all{{everything_offered()}};
  for (const ProfileName& name : profile_names()) {
    all.push_back({*hardware_capabilities(name.name)});
    if (const cpu::Silicon* s = cpu::silicon(name.name)) {
      all.back().physical_bits = s->physical_bits;
      all.back().linear_bits = s->linear_bits;
    }
    all.push_back({*capabilities(name.name)});
    all.back().profile.name += "-implemented";
  }
  return all;
}

bool about_control_words(const std::string& id) {
  return id.starts_with("control.") && id.ends_with(".reserved");
}

std::set<std::string> expected(const CheckCase& c) {
  std::set<std::string> ids{c.id};
  ids.insert(c.companions.begin(), c.companions.end());
  return ids;
}

// Did the case make sense on the profile?
bool run_case(const CheckCase& c, const Subject& subject) {
  CheckBench bench(subject.profile, subject.physical_bits, subject.linear_bits);
  EXPECT_EQ(bench.failing_of_due(), std::set<std::string>{});
  c.pass(bench);
  if (!bench.applies(true)) return false;
  // A second bench knows what fail() needs before anything is expected.
  CheckBench trial(subject.profile, subject.physical_bits, subject.linear_bits);
  c.pass(trial);
  c.fail(trial);
  if (!trial.applies(!about_control_words(c.id))) return false;
  EXPECT_EQ(bench.failing_of_all(), std::set<std::string>{}) << "the state that just passes";
  EXPECT_EQ(bench.failing_of_due(), std::set<std::string>{}) << "due rows, just passing";
  c.fail(bench);
  EXPECT_EQ(bench.failing_of_all(), expected(c)) << "the state that fails";
  EXPECT_EQ(bench.failing_of_due(), expected(c)) << "due rows, failing";
  return true;
}

TEST(EntryCheckRows, EachFailsAloneAndPassesAtItsBorderOnEveryProfile) {
  std::map<std::string, int> seen;
  for (const Subject& subject : subjects()) {
    const std::string& name = subject.profile.name;
    SCOPED_TRACE(name);
    int pairs = 0;
    for (const CheckCase& c : all_cases()) {
      SCOPED_TRACE(c.id);
      if (!run_case(c, subject)) continue;
      ++seen[c.id];
      ++pairs;
    }
    RecordProperty(name, pairs);
    EXPECT_GT(pairs, 150);
  }
  const CheckTable& table = CheckTable::instance();
  for (size_t n = 0; n < table.size(); ++n)
    EXPECT_GT(seen[table.row(n).id], 0) << table.row(n).id << " has no pair of states";
}

TEST(EntryCheckRows, CasesNameRowsThatExist) {
  const CheckTable& table = CheckTable::instance();
  for (const CheckCase& c : all_cases()) {
    EXPECT_LT(table.find(c.id), table.size()) << c.id;
    for (const char* id : c.companions) EXPECT_LT(table.find(id), table.size()) << id;
  }
}

TEST(EntryCheckRows, IdsAreUniqueAndRowsSayWhatTheyRead) {
  const CheckTable& table = CheckTable::instance();
  std::set<std::string> ids;
  for (size_t n = 0; n < table.size(); ++n) {
    const CheckRow& row = table.row(n);
    EXPECT_TRUE(ids.insert(row.id).second) << row.id;
    EXPECT_NE(row.reads[0], F::none) << row.id;
    EXPECT_GT(std::string(row.allowed).size(), 0u) << row.id;
    EXPECT_GT(std::string(row.section).size(), 0u) << row.id;
  }
}

uint64_t below(RandomStream& random, uint64_t limit) { return random.uniform(0, limit - 1); }

// A row that did not list a field it reads would give the two evaluations different answers.
TEST(EntryCheckRows, DueRowsAgreeWithAllRowsUnderRandomWrites) {
  RandomStream random(7, "entry-check-rows");
  const auto cases = all_cases();
  for (const Subject& subject : subjects()) {
    const CapabilityProfile& profile = subject.profile;
    CheckBench bench(profile);
    for (int step = 0; step < 1500; ++step) {
      const auto field = static_cast<F>(below(random, kFieldCount));
      const uint64_t old = bench.get(field);
      switch (below(random, 4)) {
        case 0:
          bench.set(field, old ^ 1ull << below(random, 64));
          break;
        case 1:
          bench.set(field, random.bits());
          break;
        case 2: {
          CheckBench good(profile);
          bench.set(field, good.get(field));
          break;
        }
        default: {
          const CheckCase& c = cases[below(random, cases.size())];
          CheckBench other(profile);
          c.pass(other);
          if (below(random, 2) == 0) c.fail(other);
          for (size_t n = 0; n < kFieldCount; ++n)
            bench.set(static_cast<F>(n), other.get(static_cast<F>(n)));
          break;
        }
      }
      bench.due |= CheckTable::instance().reading_memory();
      ASSERT_EQ(bench.failing_of_due(), bench.failing_of_all()) << name_of(field);
    }
  }
}

}  // namespace
}  // namespace cupel::vtx::testing
