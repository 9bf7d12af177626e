// A KVM virtual machine without in-kernel interrupt controllers: memory and one vCPU's handles.
#pragma once

#include <linux/kvm.h>

#include <memory>

#include "core/error.h"
#include "core/guest_memory.h"
#include "hypervisor/kvm/file_descriptor.h"
#include "hypervisor/kvm/system.h"

namespace cupel::kvm {

// Owns the descriptors; `memory` must outlive it. All errors: environment.
class VirtualMachine {
 public:
  static Result<std::unique_ptr<VirtualMachine>> create(GuestMemory& memory);

  const System& system() const { return system_; }
  GuestMemory& memory() { return memory_; }
  const FileDescriptor& vcpu() const { return vcpu_; }
  kvm_run* run() const { return static_cast<kvm_run*>(run_.get()); }

  // Which pages the guest wrote since the last collect_dirty().
  Result<void> log_dirty_pages(bool on);
  // Adds them to the memory's own dirty bitmap. Only while logging is on.
  Result<void> collect_dirty();

 private:
  VirtualMachine(System system, GuestMemory& memory)
      : system_(std::move(system)), memory_(memory) {}
  Result<void> create_machine();
  Result<void> hand_out_msrs();
  Result<void> set_memory(bool log_dirty);
  Result<void> create_vcpu();

  System system_;
  GuestMemory& memory_;
  FileDescriptor machine_, vcpu_;
  Mapping run_;
};

}  // namespace cupel::kvm
