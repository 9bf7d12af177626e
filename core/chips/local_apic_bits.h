// Bits of the local APIC's registers, for its own sources. Source: Intel SDM vol. 3A, "Local Vector
// Table", "Error Handling", "Spurious Interrupt".
#pragma once

#include <array>
#include <cstdint>

namespace cupel::chips {

inline constexpr uint8_t kFirstLegalVector = 16;

inline constexpr uint32_t kLvtRemoteIrr = 1u << 14;
inline constexpr uint32_t kLvtLevel = 1u << 15;
inline constexpr uint32_t kLvtMasked = 1u << 16;
// Bits that exist in each entry: CMCI, timer, thermal, performance, LINT0, LINT1, error.
inline constexpr std::array<uint32_t, 7> kLvtFields = {0x117ff, 0x710ff, 0x117ff, 0x117ff,
                                                       0x1f7ff, 0x1f7ff, 0x110ff};
inline constexpr uint32_t kLvtReadOnly = 1u << 12 | kLvtRemoteIrr;

inline constexpr uint32_t kSuppressEoiBroadcast = 1u << 12;
inline constexpr uint32_t kSpuriousFields = 0x11ff;

inline constexpr uint32_t kErrorSendIllegalVector = 1u << 5;
inline constexpr uint32_t kErrorReceivedIllegalVector = 1u << 6;
inline constexpr uint32_t kErrorIllegalRegister = 1u << 7;

}  // namespace cupel::chips
