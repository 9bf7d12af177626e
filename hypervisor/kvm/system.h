// The host's KVM: is it there, may we use it, can it do what this backend needs?
#pragma once

#include <cstdint>

#include "core/error.h"
#include "hypervisor/kvm/file_descriptor.h"

namespace cupel::kvm {

struct System {
  FileDescriptor device;  // /dev/kvm
  size_t run_size = 0;    // bytes of a vCPU's shared run structure
  bool has_xsave = false;
  bool has_xcrs = false;
  // MSR accesses can be handed to the guest platform. Without it the guest sees KVM's own idea of
  // the platform's MSRs (local APIC base, MTRRs), and #GP(0) for the rest.
  bool has_user_space_msrs = false;
  uint32_t tsc_khz = 0;  // of guests; 0: unknown
};

// Errors: environment; no device, no permission, foreign API version, missing capability.
Result<System> open_system(const char* path = "/dev/kvm");

// Whether the kvm backend can run here; the error says why not and what to do.
Result<void> available();

}  // namespace cupel::kvm
