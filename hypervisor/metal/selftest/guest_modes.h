// Other modes of the guest than TestVm's 64-bit CPL 0, as changes on top of it. Each passes every
// check. Freestanding.
#pragma once

#include "hypervisor/metal/lab.h"

namespace cupel::metal {

void guest_cpl3(TestVm& vm);
void guest_32bit(TestVm& vm);  // 32-bit paging, flat segments
void guest_pae(TestVm& vm);    // PAE paging; PDPTEs in memory, and in the VMCS with EPT
void guest_virtual_8086(TestVm& vm);
void guest_real_mode(TestVm& vm);  // needs "unrestricted guest"

// The four PDPTEs that guest_pae() uses.
uint64_t* pae_pdptes();

}  // namespace cupel::metal
