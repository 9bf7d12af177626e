#include "core/trace.h"

namespace cupel {

void Trace::record(std::string_view source, std::string_view what, std::string_view detail) {
  TraceRecord r{clock_.now(), std::string(source), std::string(what), std::string(detail)};
  hash_.add(static_cast<uint64_t>(r.at.count()));
  hash_.add(source);
  hash_.add(what);
  hash_.add(detail);
  for (auto& sink : sinks_) sink(r);
  records_.push_back(std::move(r));
}

void Trace::mix(std::string_view what, uint64_t a, uint64_t b) {
  hash_.add(clock_.ticks());
  hash_.add(what);
  hash_.add(a);
  hash_.add(b);
}

}  // namespace cupel
