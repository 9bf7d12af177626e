#include "core/probe.h"

#include <algorithm>

namespace cupel {
namespace {

std::vector<Probe*>& registry() {
  static std::vector<Probe*> probes;
  return probes;
}

}  // namespace

Probe::Probe(const char* name) : name_(name) { registry().push_back(this); }

std::vector<Probe*> all_probes() {
  auto sorted = registry();
  std::sort(sorted.begin(), sorted.end(),
            [](const Probe* a, const Probe* b) { return a->name() < b->name(); });
  return sorted;
}

uint64_t probe_count(std::string_view name) {
  uint64_t sum = 0;  // one name may stand in several places
  for (const Probe* p : registry())
    if (p->name() == name) sum += p->count();
  return sum;
}

void reset_probes() {
  for (Probe* p : registry()) p->reset();
}

}  // namespace cupel
