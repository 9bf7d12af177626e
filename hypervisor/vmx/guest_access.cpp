#include "hypervisor/vmx/guest_access.h"

#include <cstring>

#include "hypervisor/vmx/segment_fields.h"

namespace cupel::vmx {
namespace {

using namespace x86;

Failure<AccessError> exception(uint8_t vector, uint32_t error, uint64_t cr2 = 0) {
  AccessError e;
  e.exception = Event::exception(vector, error, true);
  e.cr2 = cr2;
  return Failure(e);
}

bool canonical(uint64_t address) { return sign_extend(address & 0xffffffffffff, 6) == address; }

// Whether [offset, offset + size) passes the limit check of the segment. Expand-down segments
// allow what lies above the limit. SDM vol. 3A, "Limit Checking".
bool within_limit(const Segment& s, uint64_t offset, unsigned size) {
  const uint64_t last = offset + size - 1;
  const bool code_or_data = (s.access & 1u << 4) != 0;
  const bool expand_down = code_or_data && (s.access & 8) == 0 && (s.access & 4) != 0;
  if (!expand_down) return last <= s.limit;
  const uint64_t top = (s.access & 1u << 14) != 0 ? 0xffffffff : 0xffff;
  return offset > s.limit && last <= top;
}

}  // namespace

GuestAccess::GuestAccess(Vmcs& vmcs, const RamMap& ram, vm::GuestPlatform& platform,
                         uint8_t physical_bits)
    : vmcs_(vmcs), ram_(ram), platform_(platform) {
  paging_.physical_bits = physical_bits;
  paging_.cr0 = vmcs.get(FieldN::guest_cr0);
  paging_.cr3 = vmcs.get(FieldN::guest_cr3);
  paging_.cr4 = vmcs.get(FieldN::guest_cr4);
  paging_.efer = vmcs.get(Field64::guest_efer);
  paging_.user = (vmcs.get(Field32::guest_ss_access_rights) >> 5 & 3) == 3;
  paging_.alignment_check = (vmcs.get(FieldN::guest_rflags) & rflags::AC) != 0;
  const bool long_mode = (paging_.efer & efer::LMA) != 0;
  if ((paging_.cr0 & cr0::PG) != 0 && (paging_.cr4 & cr4::PAE) != 0 && !long_mode) {
    paging_.pdpte = {vmcs.get(Field64::guest_pdpte0), vmcs.get(Field64::guest_pdpte1),
                     vmcs.get(Field64::guest_pdpte2), vmcs.get(Field64::guest_pdpte3)};
  }
  const uint32_t cs = vmcs.get(Field32::guest_cs_access_rights);
  code_size_ = long_mode && (cs >> 13 & 1) != 0 ? CodeSize::bits64
               : (cs >> 14 & 1) != 0            ? CodeSize::bits32
                                                : CodeSize::bits16;
}

Result<Gva, AccessError> GuestAccess::linear(Seg seg, uint64_t offset, unsigned size,
                                             unsigned address_size, bool write) {
  const uint8_t vector = seg == Seg::ss ? kSS : kGP;
  const SegmentFields& fields = fields_of(seg);
  offset &= mask_of(address_size);
  if (code_size_ == CodeSize::bits64) {
    const bool based = seg == Seg::fs || seg == Seg::gs;
    const uint64_t at = offset + (based ? vmcs_.get(fields.base) : 0);
    if (!canonical(at) || !canonical(at + size - 1)) return exception(vector, 0);
    return Gva(at);
  }
  const Segment s{0, vmcs_.get(fields.access), vmcs_.get(fields.limit), vmcs_.get(fields.base)};
  const bool real = (paging_.cr0 & cr0::PE) == 0;
  const bool code = (s.access & 8) != 0;
  const bool denied = code ? write || (s.access & 2) == 0 : write && (s.access & 2) == 0;
  if (!real && (s.unusable() || denied)) return exception(kGP, 0);
  if (!within_limit(s, offset, size)) return exception(vector, 0);
  return Gva((s.base + offset) & 0xffffffff);
}

Result<Gpa, AccessError> GuestAccess::translate(Gva at, Access access) {
  auto gpa = walk(ram_.memory(), paging_, at, access);
  if (gpa.ok()) return *gpa;
  const WalkError& error = gpa.error();
  if (error.kind == WalkError::Kind::page_fault) {
    return exception(kPF, error.error_code, at.value());
  }
  AccessError e;
  e.kind = AccessError::Kind::paging_outside_ram;
  e.at = error.at;
  return Failure(e);
}

Result<GuestAccess::Pieces, AccessError> GuestAccess::locate(Gva at, unsigned size, Access access) {
  Pieces pieces;
  pieces.first =
      static_cast<unsigned>(std::min<uint64_t>(size, kPageSize - at.offset_in(kPageSize)));
  auto first = translate(at, access);
  if (!first.ok()) return std::move(first).failure();
  pieces.at[0] = *first;
  if (pieces.first < size) {
    auto second = translate(at + pieces.first, access);
    if (!second.ok()) return std::move(second).failure();
    pieces.at[1] = *second;
  }
  return pieces;
}

uint64_t GuestAccess::read_physical(Gpa at, unsigned size) {
  uint64_t value = 0;
  if (ram_.contains(at, size)) {
    std::memcpy(&value, ram_.memory().view(at, size).data(), size);
    return value;
  }
  if ((size & (size - 1)) == 0) return platform_.mmio_read(at, size);
  for (unsigned n = 0; n < size; ++n) value |= platform_.mmio_read(at + n, 1) << (8 * n);
  return value;
}

void GuestAccess::write_physical(Gpa at, unsigned size, uint64_t value) {
  if (ram_.contains(at, size)) {
    std::memcpy(ram_.memory().writable(at, size).data(), &value, size);
  } else if ((size & (size - 1)) == 0) {
    platform_.mmio_write(at, size, value & mask_of(size));
  } else {
    for (unsigned n = 0; n < size; ++n) platform_.mmio_write(at + n, 1, value >> (8 * n) & 0xff);
  }
}

Result<uint64_t, AccessError> GuestAccess::read(Gva at, unsigned size, Access access) {
  auto pieces = locate(at, size, access);
  if (!pieces.ok()) return std::move(pieces).failure();
  uint64_t value = read_physical(pieces->at[0], pieces->first);
  if (pieces->first < size) {
    value |= read_physical(pieces->at[1], size - pieces->first) << (8 * pieces->first);
  }
  return value & mask_of(size);
}

Result<void, AccessError> GuestAccess::write(Gva at, unsigned size, uint64_t value) {
  auto pieces = locate(at, size, Access::write);
  if (!pieces.ok()) return std::move(pieces).failure();
  write_physical(pieces->at[0], pieces->first, value);
  if (pieces->first < size) {
    write_physical(pieces->at[1], size - pieces->first, value >> (8 * pieces->first));
  }
  return {};
}

Result<void, AccessError> GuestAccess::check(Gva at, unsigned size, Access access) {
  auto pieces = locate(at, size, access);
  if (!pieces.ok()) return std::move(pieces).failure();
  return {};
}

Result<GuestAccess::Code, AccessError> GuestAccess::fetch(uint64_t rip) {
  const uint64_t base = code_size_ == CodeSize::bits64 ? 0 : vmcs_.get(FieldN::guest_cs_base);
  Code code;
  while (code.count < code.bytes.size()) {
    const Gva at(base + rip + code.count);
    auto gpa = translate(at, Access::fetch);
    if (!gpa.ok()) {
      if (code.count != 0) break;
      return std::move(gpa).failure();
    }
    const uint64_t room =
        std::min<uint64_t>(code.bytes.size() - code.count, kPageSize - at.offset_in(kPageSize));
    if (!ram_.contains(*gpa, room)) {
      if (code.count != 0) break;
      AccessError e;
      e.kind = AccessError::Kind::fetch_outside_ram;
      e.at = *gpa;
      return Failure(e);
    }
    std::memcpy(code.bytes.data() + code.count, ram_.memory().view(*gpa, room).data(), room);
    code.count = static_cast<uint8_t>(code.count + room);
  }
  return code;
}

}  // namespace cupel::vmx
