// Exit qualifications and interruption information as structs. Freestanding.
// SDM vol. 3C, "Basic VM-Exit Information" (tables of exit qualifications).
#pragma once

#include <cstdint>

#include "core/x86/registers.h"

namespace cupel::x86 {

// "Exit Qualification for Control-Register Accesses"
struct CrAccess {
  enum class Kind : uint8_t { mov_to_cr = 0, mov_from_cr = 1, clts = 2, lmsw = 3 };
  uint8_t cr = 0;  // 0, 3, 4, 8
  Kind kind = Kind::mov_to_cr;
  bool lmsw_memory = false;
  Gpr gpr = Gpr::rax;
  uint16_t lmsw_source = 0;

  constexpr uint64_t encode() const {
    const bool mov = kind == Kind::mov_to_cr || kind == Kind::mov_from_cr;
    return cr | static_cast<uint64_t>(kind) << 4 | static_cast<uint64_t>(lmsw_memory) << 6 |
           (mov ? static_cast<uint64_t>(gpr) << 8 : 0) | static_cast<uint64_t>(lmsw_source) << 16;
  }
  static constexpr CrAccess decode(uint64_t q) {
    return {static_cast<uint8_t>(q & 15), static_cast<Kind>(q >> 4 & 3), (q >> 6 & 1) != 0,
            static_cast<Gpr>(q >> 8 & 15), static_cast<uint16_t>(q >> 16)};
  }
};

// "Exit Qualification for MOV DR"
struct DrAccess {
  uint8_t dr = 0;
  bool from_dr = false;
  Gpr gpr = Gpr::rax;

  constexpr uint64_t encode() const {
    return dr | static_cast<uint64_t>(from_dr) << 4 | static_cast<uint64_t>(gpr) << 8;
  }
  static constexpr DrAccess decode(uint64_t q) {
    return {static_cast<uint8_t>(q & 7), (q >> 4 & 1) != 0, static_cast<Gpr>(q >> 8 & 15)};
  }
};

// "Exit Qualification for I/O Instructions"
struct IoAccess {
  uint16_t port = 0;
  uint8_t size = 1;  // 1, 2, 4
  bool in = false;
  bool string = false;
  bool rep = false;
  bool immediate = false;

  constexpr uint64_t encode() const {
    return static_cast<uint64_t>(size - 1) | static_cast<uint64_t>(in) << 3 |
           static_cast<uint64_t>(string) << 4 | static_cast<uint64_t>(rep) << 5 |
           static_cast<uint64_t>(immediate) << 6 | static_cast<uint64_t>(port) << 16;
  }
  static constexpr IoAccess decode(uint64_t q) {
    return {static_cast<uint16_t>(q >> 16),
            static_cast<uint8_t>((q & 7) + 1),
            (q >> 3 & 1) != 0,
            (q >> 4 & 1) != 0,
            (q >> 5 & 1) != 0,
            (q >> 6 & 1) != 0};
  }
};

// "Exit Qualification for EPT Violations"
struct EptViolation {
  bool read = false, write = false, fetch = false;              // the access
  bool readable = false, writable = false, executable = false;  // what EPT allowed
  bool user_executable = false;  // with mode-based execute control: fetches from user pages
  bool linear_valid = false;     // the guest linear-address field is valid
  bool translated = false;       // access to the final page, not to a paging structure
  // Advanced information on the linear address, where the processor gives it.
  bool user_page = false, writable_page = false, no_execute_page = false;
  bool nmi_unblocking_by_iret = false;

  constexpr uint64_t encode() const {
    return uint64_t{read} | uint64_t{write} << 1 | uint64_t{fetch} << 2 | uint64_t{readable} << 3 |
           uint64_t{writable} << 4 | uint64_t{executable} << 5 | uint64_t{user_executable} << 6 |
           uint64_t{linear_valid} << 7 | uint64_t{translated} << 8 | uint64_t{user_page} << 9 |
           uint64_t{writable_page} << 10 | uint64_t{no_execute_page} << 11 |
           uint64_t{nmi_unblocking_by_iret} << 12;
  }
  static constexpr EptViolation decode(uint64_t q) {
    auto bit = [q](int n) { return (q >> n & 1) != 0; };
    return {bit(0), bit(1), bit(2), bit(3),  bit(4),  bit(5), bit(6),
            bit(7), bit(8), bit(9), bit(10), bit(11), bit(12)};
  }
};

// VM-entry and VM-exit interruption information, IDT-vectoring information.
struct InterruptionInfo {
  uint8_t vector = 0;
  EventType type = EventType::external_interrupt;
  bool error_code_valid = false;
  bool nmi_unblocking_by_iret = false;  // VM-exit information only
  bool valid = false;

  constexpr uint32_t encode() const {
    return vector | static_cast<uint32_t>(type) << 8 | uint32_t{error_code_valid} << 11 |
           uint32_t{nmi_unblocking_by_iret} << 12 | uint32_t{valid} << 31;
  }
  static constexpr InterruptionInfo decode(uint32_t v) {
    return {static_cast<uint8_t>(v), static_cast<EventType>(v >> 8 & 7), (v >> 11 & 1) != 0,
            (v >> 12 & 1) != 0, (v >> 31) != 0};
  }
};

// Pending debug exceptions. SDM vol. 3C, "Guest Non-Register State".
namespace pending_debug {
inline constexpr uint64_t breakpoints = 0xf, enabled = 1u << 12, bs = 1u << 14, rtm = 1u << 16;
}

// Guest interruptibility state. SDM vol. 3C, "Guest Non-Register State".
namespace interruptibility {
inline constexpr uint32_t sti = 1, mov_ss = 2, smi = 4, nmi = 8, enclave = 16;
}

}  // namespace cupel::x86
