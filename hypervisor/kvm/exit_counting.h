// Which basic exit reason a KVM exit stands for.
#pragma once

#include <cstdint>
#include <optional>

#include "core/x86/exit_reason.h"

namespace cupel::kvm {

// `kvm_exit_reason`: KVM_EXIT_*. Empty for reasons that have no counterpart (internal errors) or
// that this backend never asks for.
std::optional<x86::ExitReason> basic_exit_reason(uint32_t kvm_exit_reason);

// The KVM name, for messages: "KVM_EXIT_IO".
const char* kvm_exit_name(uint32_t kvm_exit_reason);

}  // namespace cupel::kvm
