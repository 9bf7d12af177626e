// Processor models by name. Each has two layers: what the silicon has, and what of it the model
// executes (implemented.h).
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "hw_models/vtx/capabilities.h"

namespace cupel::vtx {

struct ProfileName {
  const char* name;   // "skylake-sp"; cpu::cpuid_profile knows the same names
  const char* title;  // "Xeon Scalable (Skylake-SP)"
};

// "server", the default, first; then by generation.
std::span<const ProfileName> profile_names();

// What the silicon has; for "server" a Skylake-SP with a timer that counts at the TSC's rate.
// nullopt: no such profile. Sources: tests/vtx/readouts, compared bit by bit by profiles_test.cpp,
// which lists and explains each difference.
std::optional<CapabilityProfile> hardware_capabilities(std::string_view name);
// What a LogicalProcessor of that name offers.
std::optional<CapabilityProfile> capabilities(std::string_view name);

}  // namespace cupel::vtx
