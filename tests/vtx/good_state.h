// A VMCS that passes every check of a profile.
#pragma once

#include <utility>
#include <vector>

#include "hw_models/vtx/capabilities.h"
#include "hw_models/vtx/vmcs.h"

namespace cupel::vtx::testing {

constexpr Hpa kVmxonRegion{0x1000}, kVmcs{0x2000}, kOtherVmcs{0x3000};
constexpr uint64_t kIoA = 0x4000, kIoB = 0x5000, kMsrBitmap = 0x6000, kPml4 = 0x10000;
constexpr uint64_t kMsrArea = 0x7000;

// A 64-bit guest at CPL 0 under a 64-bit host, with EPT, VPID, unrestricted guest, and the loading
// and saving of EFER and PAT as far as the profile offers them. Fields that the profile lacks are
// not in the list.
std::vector<std::pair<F, uint64_t>> good_state(const CapabilityProfile& profile);

}  // namespace cupel::vtx::testing
