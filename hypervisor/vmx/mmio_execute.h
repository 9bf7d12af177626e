// What a decoded MMIO instruction does to registers, flags and its memory operand: arithmetic
// only, no access. Freestanding.
#pragma once

#include <cstdint>

#include "core/x86/registers.h"
#include "hypervisor/vmx/mmio_decode.h"

namespace cupel::vmx {

uint64_t read_register(const x86::GprFile& regs, RegisterOperand reg, unsigned size);
// 32-bit writes clear the upper half, 8- and 16-bit writes keep the rest.
void write_register(x86::GprFile& regs, RegisterOperand reg, unsigned size, uint64_t value);

// Offset of a non-string memory operand in its segment, cut to the address size. rip: address of
// the instruction. regs includes RSP.
uint64_t effective_address(const MmioInstruction& in, const x86::GprFile& regs, uint64_t rip);

// Whether the memory operand is read, and whether it is written (not for strings).
bool loads(const MmioInstruction& in);
bool stores(const MmioInstruction& in);

// Executes a non-string instruction whose memory operand holds `loaded`; returns what is stored
// when stores(in). regs includes RSP.
uint64_t execute(const MmioInstruction& in, uint64_t loaded, x86::GprFile& regs, uint64_t& rflags);

}  // namespace cupel::vmx
