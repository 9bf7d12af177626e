// The core's seam to an instruction decoder, without one: Zydis comes as a hosted library. A guest
// that touches MMIO stops with the fault mmio_unsupported.
#include "hypervisor/vmx/mmio_decode.h"

namespace cupel::vmx {

Result<MmioInstruction, DecodeError> decode_mmio(std::span<const uint8_t>, CodeSize) {
  return Failure(DecodeError::unsupported);
}

}  // namespace cupel::vmx
