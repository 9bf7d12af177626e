// What of VT-x the model executes: the one place to extend when a feature is built. Every profile
// is cut to it, so that no capability is claimed that would not work.
#pragma once

#include "hw_models/vtx/capabilities.h"

namespace cupel::vtx {

struct Implemented {
  uint32_t pin = 0, proc = 0, proc2 = 0, exit = 0, entry = 0;  // controls; reserved ones apart
  uint64_t proc3 = 0, exit2 = 0, vmfunc = 0;
  uint64_t ept_vpid = 0;  // IA32_VMX_EPT_VPID_CAP
  uint64_t misc_other = 0;
  uint64_t cr4 = 0;  // IA32_VMX_CR4_FIXED1
  ProcessorFeatures features;
};

const Implemented& implemented();

// What both the processor has and the model executes; controls that need one that is gone go too.
CapabilityProfile restricted_to(CapabilityProfile profile, const Implemented& set);

}  // namespace cupel::vtx
