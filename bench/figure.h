// One figure of `cupel bench`: a value, what it is compared with, and the most the ratio may be.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/error.h"

namespace cupel::bench {

struct Figure {
  double value = 0;
  std::string unit;
  double denominator = 0;             // same unit; 0: none
  std::string denominator_name = {};  // what was run to get it, in the same process
  double bound = 0;  // the most value / denominator may be (value itself without one); 0: none
  std::map<std::string, double> details = {};  // further counters, shown as they are
};

// `measure` runs once, does its own rounds and takes its own time. An error makes the figure "not
// measured", with its message.
void add_figure(const std::string& name, std::function<Result<Figure>()> measure);

// Real seconds since an arbitrary start.
double real_seconds();
// Seconds this thread has had a processor: what others do on the machine is not in it. For loops
// that never sleep.
double processor_seconds();
// The middle value (the mean of the two middle ones); 0 of nothing.
double median(std::vector<double> values);

// One measurement: the time of one operation, in a unit the two of a pair share.
using Measure = std::function<Result<double>()>;
struct Pair {
  double value = 0, denominator = 0;  // medians
};
// Takes turns between the two, so that a machine that is slow for a while slows both; one round
// ahead warms up and does not count.
Result<Pair> take_turns(unsigned rounds, const Measure& value, const Measure& denominator);

}  // namespace cupel::bench
