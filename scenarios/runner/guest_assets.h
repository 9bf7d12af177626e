// The images guests boot from, and the command line that tells them what to do.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/error.h"
#include "scenarios/language/scenario.h"

namespace cupel::scenarios {

// Paths of the built-in guests; empty when not built.
struct GuestAssets {
  std::string linux_kernel;
  std::string linux_initrd;
  std::string workload;
};

struct GuestImages {
  std::vector<std::byte> kernel;
  std::vector<std::byte> initrd;
};

// Kernel command line that boots Debian's cloud kernel on the virtual PC.
std::string linux_command_line();
std::string command_line(const VmSpec& vm);

// Reads each image once. Errors: bad_input (files), environment (a built-in guest is not built).
class GuestLibrary {
 public:
  explicit GuestLibrary(GuestAssets assets) : assets_(std::move(assets)) {}
  Result<const GuestImages*> images(const GuestSpec& guest);

 private:
  GuestAssets assets_;
  std::map<std::string, std::unique_ptr<GuestImages>> loaded_;
};

}  // namespace cupel::scenarios
