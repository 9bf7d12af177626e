// The KVM structures that end in an array, laid out as the kernel has them.
//
// linux/kvm.h declares those arrays through an empty struct, which has size 1 in C++: the
// structures and the request numbers made from their sizes come out wrong there. Source: Linux
// include/uapi/linux/stddef.h, __DECLARE_FLEX_ARRAY; Documentation/virt/kvm/api.rst.
#pragma once

#include <linux/kvm.h>

#include <array>
#include <cstddef>
#include <cstdint>

namespace cupel::kvm {

// Followed by `count` kvm_cpuid_entry2.
struct CpuidListHeader {
  uint32_t count = 0, padding = 0;
};
// Followed by `count` kvm_msr_entry.
struct MsrListHeader {
  uint32_t count = 0, padding = 0;
};
// Followed by `count` indexes.
struct MsrIndexListHeader {
  uint32_t count = 0;
};
// The XSAVE area of processors without dynamically enabled components.
using XsaveArea = std::array<uint32_t, 1024>;

namespace request {
inline constexpr unsigned long get_supported_cpuid = _IOWR(KVMIO, 0x05, CpuidListHeader),
                               set_cpuid2 = _IOW(KVMIO, 0x90, CpuidListHeader),
                               get_msr_index_list = _IOWR(KVMIO, 0x02, MsrIndexListHeader),
                               get_msrs = _IOWR(KVMIO, 0x88, MsrListHeader),
                               set_msrs = _IOW(KVMIO, 0x89, MsrListHeader),
                               get_xsave = _IOR(KVMIO, 0xa4, XsaveArea),
                               set_xsave = _IOW(KVMIO, 0xa5, XsaveArea);
}

}  // namespace cupel::kvm
