// CpuState and waiting events in an archive, field by field: padding never reaches a snapshot.
#pragma once

#include "core/archive.h"
#include "core/x86/cpu_state.h"
#include "hypervisor/vmx/injection.h"

namespace cupel::vmx {

void put(ArchiveWriter& out, const x86::CpuState& state);
x86::CpuState get_cpu_state(ArchiveReader& in);
void put(ArchiveWriter& out, const Event& event);
Event get_event(ArchiveReader& in);

}  // namespace cupel::vmx
