// Where the guests' images are.
#pragma once

#include <cstdlib>
#include <filesystem>

#include "scenarios/runner/guest_assets.h"

namespace cupel::bench {

// Paths; empty where nothing was built. The Linux guest is shared by all builds of the tree.
inline const scenarios::GuestAssets& assets() {
  static const scenarios::GuestAssets found = [] {
    const auto if_exists = [](const std::filesystem::path& path) {
      std::error_code ignored;
      return std::filesystem::exists(path, ignored) ? path.string() : std::string();
    };
    const char* build = std::getenv("CUPEL_BUILD");
    const std::filesystem::path here = build != nullptr ? build : CUPEL_BUILD_DIRECTORY;
    const auto cache = here.parent_path() / "cache" / "linux";
    return scenarios::GuestAssets{if_exists(cache / "vmlinuz"),
                                  if_exists(cache / "initramfs.cpio.gz"),
                                  if_exists(here / "scenarios/guests/workload/workload.elf")};
  }();
  return found;
}

}  // namespace cupel::bench
