#include "hw_models/vtx/logical_processor.h"

namespace cupel::vtx {

LogicalProcessor::LogicalProcessor(cpu::Processor& processor, CapabilityProfile capabilities)
    : processor_(processor), memory_(processor.memory()), capabilities_(std::move(capabilities)) {
  const cpu::CpuidProfile& profile = processor.profile();
  physical_bits_ = profile.physical_bits;
  linear_bits_ = profile.linear_bits;
  capabilities_.cr4_fixed1 &= cr4_supported(profile.table) | x86::cr4::VMXE;
  ept_features_ = {(capabilities_.ept_vpid & eptcap::execute_only) != 0,
                   (capabilities_.ept_vpid & eptcap::page_2m) != 0,
                   (capabilities_.ept_vpid & eptcap::page_1g) != 0,
                   physical_bits_,
                   (capabilities_.ept_vpid & eptcap::violation_information) != 0,
                   capabilities_.ept_vpid};
  for (size_t n = 0; n < kFieldCount; ++n) {
    const uint32_t encoding = encoding_of(static_cast<F>(n));
    if (capabilities_.has_field(encoding)) fields_[lookup_slot(encoding)] = field_info(encoding);
  }
  memory_rows_ = checks_.reading_memory();
  processor_.set_monitor(this);
}

LogicalProcessor::~LogicalProcessor() { processor_.set_monitor(nullptr); }

}  // namespace cupel::vtx
