// The VMCS fields of the eight guest segment registers, in the order of x86::Seg. Freestanding.
#pragma once

#include "core/x86/registers.h"
#include "core/x86/vmcs.h"

namespace cupel::vmx {

struct SegmentFields {
  x86::Field16 selector;
  x86::Field32 limit, access;
  x86::FieldN base;
};

inline constexpr SegmentFields kSegmentFields[x86::kSegmentCount] = {
#define CUPEL_SEGMENT(name)                                                          \
  {                                                                                  \
    x86::Field16::guest_##name##_selector, x86::Field32::guest_##name##_limit,       \
        x86::Field32::guest_##name##_access_rights, x86::FieldN::guest_##name##_base \
  }
    CUPEL_SEGMENT(es), CUPEL_SEGMENT(cs), CUPEL_SEGMENT(ss),   CUPEL_SEGMENT(ds),
    CUPEL_SEGMENT(fs), CUPEL_SEGMENT(gs), CUPEL_SEGMENT(ldtr), CUPEL_SEGMENT(tr),
#undef CUPEL_SEGMENT
};

constexpr const SegmentFields& fields_of(x86::Seg seg) {
  return kSegmentFields[static_cast<uint8_t>(seg)];
}

}  // namespace cupel::vmx
