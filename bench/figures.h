// All figures, by what they are about. Each function registers its own.
#pragma once

#include "bench/figure.h"

namespace cupel::bench {

void add_exit_figures();
void add_mips_figure();
void add_linux_figures();   // boot, memory, snapshots
void add_vmx_figures();     // VMREAD, VMWRITE, VM entry
void add_engine_figures();  // TLB fill, creation of a processor

}  // namespace cupel::bench
