// The register file of the local APIC: who may read and write what, in which mode.
#include <algorithm>
#include <iterator>

#include "core/chips/local_apic.h"
#include "core/chips/local_apic_bits.h"

namespace cupel::chips {
namespace {

enum Access : uint8_t { kNo = 0, kRead = 1, kWrite = 2, kReadWrite = 3 };

// index = MMIO offset / 16 = MSR - 0x800. fields: what WRMSR may set without #GP.
struct RegisterRow {
  uint8_t first;
  uint8_t last;
  Access xapic;
  Access x2apic;
  uint64_t fields;
};

constexpr uint64_t kIcrFields = 0xffff'ffff'000c'dfff;

// SDM vol. 3A, "Local APIC Register Address Map" and "Local APIC Register Address Map Supported by
// x2APIC".
constexpr RegisterRow kRegisters[] = {
    {0x02, 0x02, kReadWrite, kRead, 0},          // ID
    {0x03, 0x03, kRead, kRead, 0},               // version
    {0x08, 0x08, kReadWrite, kReadWrite, 0xff},  // task priority
    {0x09, 0x09, kRead, kNo, 0},                 // arbitration priority
    {0x0a, 0x0a, kRead, kRead, 0},               // processor priority
    {0x0b, 0x0b, kWrite, kWrite, 0},             // EOI
    {0x0c, 0x0c, kRead, kNo, 0},                 // remote read
    {0x0d, 0x0d, kReadWrite, kRead, 0},          // logical destination
    {0x0e, 0x0e, kReadWrite, kNo, 0},            // destination format
    {0x0f, 0x0f, kReadWrite, kReadWrite, kSpuriousFields},
    {0x10, 0x27, kRead, kRead, 0},            // ISR, TMR, IRR
    {0x28, 0x28, kReadWrite, kReadWrite, 0},  // error status
    {0x2f, 0x2f, kReadWrite, kReadWrite, kLvtFields[0]},
    {0x30, 0x30, kReadWrite, kReadWrite, kIcrFields},  // interrupt command
    {0x31, 0x31, kReadWrite, kNo, 0},                  // its high half
    {0x32, 0x32, kReadWrite, kReadWrite, kLvtFields[1]},
    {0x33, 0x34, kReadWrite, kReadWrite, kLvtFields[2]},
    {0x35, 0x36, kReadWrite, kReadWrite, kLvtFields[4]},
    {0x37, 0x37, kReadWrite, kReadWrite, kLvtFields[6]},
    {0x38, 0x38, kReadWrite, kReadWrite, 0xffff'ffff},  // initial count
    {0x39, 0x39, kRead, kRead, 0},                      // current count
    {0x3e, 0x3e, kReadWrite, kReadWrite, 0x0b},         // divide configuration
    {0x3f, 0x3f, kNo, kWrite, 0xff},                    // self IPI
};

const RegisterRow* find(uint64_t index) {
  const auto* row = std::find_if(std::begin(kRegisters), std::end(kRegisters),
                                 [&](const RegisterRow& r) { return index <= r.last; });
  return row != std::end(kRegisters) && index >= row->first ? row : nullptr;
}

// 7 LVT entries, EOI broadcast can be suppressed.
constexpr uint32_t kVersion = 0x15 | 6u << 16 | 1u << 24;
constexpr uint32_t kMsrBase = 0x800;

}  // namespace

uint64_t LocalApic::read(uint64_t offset, unsigned) {
  if (!hardware_enabled() || x2apic_mode()) return UINT64_MAX;
  advance(clock_.now());
  const RegisterRow* row = find(offset >> 4);
  if (row == nullptr || (row->xapic & kRead) == 0) {
    raise_error(kErrorIllegalRegister);
    return 0;
  }
  if ((offset & 0xf) >= 4) return 0;
  return read_register(static_cast<unsigned>(offset >> 4)) >> (8 * (offset & 3));
}

// Other than aligned 32-bit stores are undefined by the manual, and dropped here.
void LocalApic::write(uint64_t offset, unsigned size, uint64_t value) {
  if (!hardware_enabled() || x2apic_mode() || size != 4 || (offset & 0xf) != 0) return;
  advance(clock_.now());
  const RegisterRow* row = find(offset >> 4);
  if (row == nullptr || (row->xapic & kWrite) == 0) {
    raise_error(kErrorIllegalRegister);
    return;
  }
  const auto v = static_cast<uint32_t>(value);
  switch (offset >> 4) {
    case 0x30: {
      command_ = (command_ & ~0xffff'ffffull) | (v & static_cast<uint32_t>(kIcrFields));
      const auto destination = static_cast<uint32_t>(command_ >> 56);
      const uint64_t high = destination == 0xff ? ApicMessage::kBroadcast : destination;
      const bool logical = (v & 0x800) != 0;
      send((logical ? destination : high) << 32 | static_cast<uint32_t>(command_));
      break;
    }
    case 0x31:
      command_ = (command_ & 0xffff'ffff) | static_cast<uint64_t>(v & 0xff00'0000) << 32;
      break;
    default:
      write_register(static_cast<unsigned>(offset >> 4), v);
  }
  advance(clock_.now());
}

std::optional<uint64_t> LocalApic::read_msr(uint32_t msr) {
  const RegisterRow* row = msr < kMsrBase ? nullptr : find(msr - kMsrBase);
  if (!x2apic_mode() || row == nullptr || (row->x2apic & kRead) == 0) return std::nullopt;
  advance(clock_.now());
  if (msr - kMsrBase == 0x30) return command_;
  return read_register(msr - kMsrBase);
}

bool LocalApic::write_msr(uint32_t msr, uint64_t value) {
  const RegisterRow* row = msr < kMsrBase ? nullptr : find(msr - kMsrBase);
  if (!x2apic_mode() || row == nullptr || (row->x2apic & kWrite) == 0) return false;
  if ((value & ~row->fields) != 0) return false;
  advance(clock_.now());
  switch (msr - kMsrBase) {
    case 0x30:
      command_ = value & ~uint64_t{0x1000};
      send(command_);
      break;
    case 0x3f: {
      const auto vector = static_cast<uint8_t>(value);
      if (vector < kFirstLegalVector) {
        raise_error(kErrorSendIllegalVector);
      } else {
        inject(vector, false);
      }
      break;
    }
    default:
      write_register(msr - kMsrBase, static_cast<uint32_t>(value));
  }
  advance(clock_.now());
  return true;
}

uint32_t LocalApic::read_register(unsigned index) const {
  if (index >= 0x10 && index < 0x28) {
    const Bits256& bits = index < 0x18 ? service_ : index < 0x20 ? triggers_ : requests_;
    return bits[index & 7];
  }
  if (index >= 0x32 && index <= 0x37) return lvt_[kTimer + index - 0x32];
  switch (index) {
    case 0x02:
      return x2apic_mode() ? config_.id : static_cast<uint32_t>(xapic_id_) << 24;
    case 0x03:
      return kVersion;
    case 0x08:
      return task_priority_;
    case 0x0a:
      return processor_priority_;
    case 0x0d:
      return x2apic_mode() ? logical_id() : logical_;
    case 0x0e:
      return format_;
    case 0x0f:
      return spurious_;
    case 0x28:
      return errors_;
    case 0x2f:
      return lvt_[kCmci];
    case 0x30:
      return static_cast<uint32_t>(command_);
    case 0x31:
      return static_cast<uint32_t>(command_ >> 32);
    case 0x38:
      return timer_.initial_count();
    case 0x39:
      return timer_.current_count(clock_.now());
    case 0x3e:
      return timer_.divide();
    default:
      return 0;  // arbitration priority and remote read: nothing since the Pentium 4
  }
}

void LocalApic::write_register(unsigned index, uint32_t value) {
  if (index >= 0x32 && index <= 0x37) {
    write_lvt(static_cast<Lvt>(kTimer + index - 0x32), value);
    return;
  }
  switch (index) {
    case 0x02:
      xapic_id_ = static_cast<uint8_t>(value >> 24);
      break;
    case 0x08:
      set_task_priority(static_cast<uint8_t>(value));
      break;
    case 0x0b:
      end_of_interrupt();
      break;
    case 0x0d:
      logical_ = value & 0xff00'0000;
      break;
    case 0x0e:
      format_ = value | 0x0fff'ffff;
      break;
    case 0x0f:
      write_spurious(value);
      break;
    case 0x28:
      errors_ = new_errors_;
      new_errors_ = 0;
      break;
    case 0x2f:
      write_lvt(kCmci, value);
      break;
    case 0x38:
      timer_.set_initial_count(value, clock_.now());
      break;
    case 0x3e:
      timer_.set_divide(value, clock_.now());
      break;
    default:
      break;
  }
}

// Disabling by software masks every local source, and keeps it masked.
void LocalApic::write_spurious(uint32_t value) {
  spurious_ = value & kSpuriousFields;
  if (!software_enabled())
    for (uint32_t& entry : lvt_) entry |= kLvtMasked;
  update();
}

void LocalApic::write_lvt(Lvt entry, uint32_t value) {
  const uint32_t kept = lvt_[entry] & kLvtRemoteIrr;
  uint32_t fresh = (value & kLvtFields[entry] & ~kLvtReadOnly) | kept;
  if (!software_enabled()) fresh |= kLvtMasked;
  if (entry == kLint0 && (fresh & kLvtLevel) == 0) fresh &= ~kLvtRemoteIrr;
  lvt_[entry] = fresh;
  if (entry == kTimer) timer_.set_mode(static_cast<ApicTimer::Mode>(fresh >> 17 & 3));
  if (entry == kLint0) evaluate_lint(0, false);
}

// icr: as the x2APIC register, destination in the high half.
void LocalApic::send(uint64_t icr) {
  ApicMessage message;
  message.destination = static_cast<uint32_t>(icr >> 32);
  message.vector = static_cast<uint8_t>(icr);
  message.mode = static_cast<DeliveryMode>(icr >> 8 & 7);
  message.logical = (icr >> 11 & 1) != 0;
  message.shorthand = static_cast<Shorthand>(icr >> 18 & 3);
  const unsigned mode = icr >> 8 & 7;
  const bool deassert = (icr >> 14 & 1) == 0 && (icr >> 15 & 1) != 0;
  // INIT level de-assert does nothing since the Pentium 4; modes 3 and 7 are reserved here.
  if (mode == 3 || mode == 7 || (message.mode == DeliveryMode::init && deassert)) return;
  const bool has_vector =
      message.mode == DeliveryMode::fixed || message.mode == DeliveryMode::lowest_priority;
  if (has_vector && message.vector < kFirstLegalVector) {
    raise_error(kErrorSendIllegalVector);
    return;
  }
  if (message.shorthand == Shorthand::self) {
    if (message.mode == DeliveryMode::fixed) inject(message.vector, false);
  } else if (message_sink_) {
    message_sink_(message);
  }
}

// SDM vol. 3A, "x2APIC State Transitions": disabled -> xAPIC -> x2APIC -> disabled, xAPIC ->
// disabled; every other change is #GP.
bool LocalApic::set_apic_base(uint64_t value) {
  const uint64_t address =
      ((uint64_t{1} << std::clamp(config_.physical_bits, 32u, 52u)) - 1) & ~0xfffull;
  const uint64_t allowed =
      address | kBaseBootstrap | kBaseEnable | (config_.x2apic ? kBaseX2apic : 0);
  if ((value & ~allowed) != 0) return false;
  const bool enable = (value & kBaseEnable) != 0;
  const bool x2apic = (value & kBaseX2apic) != 0;
  if (x2apic && !enable) return false;
  if (x2apic && !hardware_enabled()) return false;
  if (enable && !x2apic && x2apic_mode()) return false;
  advance(clock_.now());
  const bool was_enabled = hardware_enabled();
  base_ = value;
  if (was_enabled && !enable) {
    xapic_id_ = static_cast<uint8_t>(config_.id);
    init_reset();
  }
  update();
  return true;
}

uint64_t LocalApic::tsc_deadline() {
  advance(clock_.now());
  return timer_.deadline();
}

void LocalApic::set_tsc_deadline(uint64_t tsc) {
  advance(clock_.now());
  timer_.set_deadline(tsc);
  advance(clock_.now());
}

}  // namespace cupel::chips
