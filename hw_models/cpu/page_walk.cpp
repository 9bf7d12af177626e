#include "hw_models/cpu/page_walk.h"

#include "core/x86/registers.h"

namespace cupel::cpu {
namespace {

using x86::cr0::WP;
constexpr uint64_t kPresent = 1, kWritable = 2, kUser = 4, kAccessed = 0x20, kDirty = 0x40,
                   kLarge = 0x80, kGlobal = 0x100, kNoExecute = 1ull << 63;

uint64_t bits(unsigned high, unsigned low) {
  return high < low ? 0 : (~0ull >> (63 - high)) & (~0ull << low);
}

bool may_write(const PagingState& paging, const WalkRequest& request, const Mapping& m) {
  return m.writable || (!request.user && (paging.cr0 & WP) == 0);
}
bool may_execute(const PagingState& paging, const WalkRequest& request, const Mapping& m) {
  return !m.no_execute && !(!request.user && m.user && (paging.cr4 & x86::cr4::SMEP) != 0);
}

// One walk in progress.
class Walker {
 public:
  Walker(PhysicalMemory& memory, Monitor& second, const PagingState& paging,
         const WalkRequest& request)
      : memory_(memory), second_(second), paging_(paging), request_(request) {}

  WalkResult run() {
    if (!paging_.paging()) {
      result_.writable = true;
      result_.executable = true;
      return finish(Gpa(request_.linear.value()), true, true, false);
    }
    if (!paging_.pae()) return walk32();
    if (paging_.long_mode()) return walk64(3, paging_.cr3 & bits(51, 12));
    const uint64_t pdpte = paging_.pdptes[request_.linear.value() >> 30 & 3];
    if ((pdpte & kPresent) == 0) return fault(false, false);
    return walk64(1, pdpte & bits(51, 12));
  }

 private:
  WalkResult walk64(int level, uint64_t table) {
    bool writable = true, user = true, no_execute = false;
    for (;; --level) {
      const unsigned shift = 12 + 9 * static_cast<unsigned>(level);
      const Gpa at(table + (request_.linear.value() >> shift & 511) * 8);
      uint64_t entry = 0;
      Hpa where;
      if (!read_entry(at, 8, entry, where)) return result_;
      if ((entry & kPresent) == 0) return fault(false, false);
      const bool leaf = level == 0 || (level <= 2 && (entry & kLarge) != 0);
      if (reserved64(entry, level, leaf)) return fault(true, true);
      writable &= (entry & kWritable) != 0;
      user &= (entry & kUser) != 0;
      no_execute |= (entry & kNoExecute) != 0;
      if (!leaf) {
        if (!set_bits(at, where, 8, entry, kAccessed)) return result_;
        table = entry & bits(51, 12);
        continue;
      }
      const uint64_t mask = (1ull << shift) - 1;
      const uint64_t base = entry & bits(51, 12) & ~mask;
      return leaf_found(at, where, 8, entry, writable, user, no_execute,
                        base | (request_.linear.value() & mask), mask + 1);
    }
  }

  WalkResult walk32() {
    const uint32_t linear = static_cast<uint32_t>(request_.linear.value());
    const Gpa pde_at((paging_.cr3 & 0xfffff000u) + (linear >> 22) * 4);
    uint64_t pde = 0;
    Hpa pde_where;
    if (!read_entry(pde_at, 4, pde, pde_where)) return result_;
    if ((pde & kPresent) == 0) return fault(false, false);
    if ((pde & kLarge) != 0 && (paging_.cr4 & x86::cr4::PSE) != 0) {
      if ((pde & bits(21, 21)) != 0) return fault(true, true);  // PSE-36 up to 40 bits
      const uint64_t base = (pde & 0xffc00000u) | (pde >> 13 & 0xff) << 32;
      return leaf_found(pde_at, pde_where, 4, pde, (pde & kWritable) != 0, (pde & kUser) != 0,
                        false, base | (linear & 0x3fffff), 0x400000);
    }
    if (!set_bits(pde_at, pde_where, 4, pde, kAccessed)) return result_;
    const Gpa pte_at((pde & 0xfffff000u) + (linear >> 12 & 1023) * 4);
    uint64_t pte = 0;
    Hpa pte_where;
    if (!read_entry(pte_at, 4, pte, pte_where)) return result_;
    if ((pte & kPresent) == 0) return fault(false, false);
    return leaf_found(pte_at, pte_where, 4, pte, (pde & pte & kWritable) != 0,
                      (pde & pte & kUser) != 0, false, (pte & 0xfffff000u) | (linear & 0xfff),
                      0x1000);
  }

  // SDM vol. 3A, "4-Level Paging and 5-Level Paging", figure of paging-structure entries.
  bool reserved64(uint64_t entry, int level, bool leaf) const {
    uint64_t reserved = bits(51, paging_.physical_bits);
    if ((paging_.efer & x86::efer::NXE) == 0) reserved |= kNoExecute;
    if (!paging_.long_mode()) reserved |= bits(62, 52);
    if (level == 3) reserved |= kLarge;
    if (leaf && level == 2) reserved |= bits(29, 13);
    if (leaf && level == 1) reserved |= bits(20, 13);
    return (entry & reserved) != 0;
  }

  WalkResult leaf_found(Gpa at, Hpa where, unsigned width, uint64_t entry, bool writable, bool user,
                        bool no_execute, uint64_t physical, uint64_t span) {
    const bool write = request_.access == Access::write;
    Mapping& m = result_.mapping;
    m.writable = writable;
    m.user = user;
    m.no_execute = no_execute;
    m.span = span;
    if (denied(paging_, request_, m)) return fault(true, false);
    if (!set_bits(at, where, width, entry, kAccessed | (write ? kDirty : 0))) return result_;
    m.dirty = (entry & kDirty) != 0;
    result_.writable = may_write(paging_, request_, m) && m.dirty;
    result_.executable = may_execute(paging_, request_, m);
    result_.global = (entry & kGlobal) != 0 && (paging_.cr4 & x86::cr4::PGE) != 0;
    return finish(Gpa(physical), user, writable, no_execute);
  }

  WalkResult finish(Gpa gpa, bool user, bool writable, bool no_execute) {
    const PhysicalAccess access{gpa,  request_.access, false,      true,         request_.linear,
                                user, writable,        no_execute, request_.dry, request_.size};
    const PhysicalTranslation t = second_.translate(access);
    if (!t.ok) return refuse(access);
    if (t.virtualized) [[unlikely]] {
      result_.virtualized = true;
      result_.last = access;
    }
    result_.hpa = t.hpa;
    Mapping& m = result_.mapping;
    m.gpa = gpa;
    m.second_readable = t.readable;
    m.second_writable = t.writable;
    m.second_executable = t.executable;
    result_.dirty_missing |= request_.dry && request_.access == Access::write && !t.writable;
    result_.writable &= t.writable;
    result_.executable &= t.executable;
    result_.readable = t.readable;
    return result_;
  }

  bool read_entry(Gpa at, unsigned width, uint64_t& entry, Hpa& where) {
    PhysicalAccess access{at, Access::read, true, true, request_.linear};
    access.dry = request_.dry;
    const PhysicalTranslation t = second_.translate(access);
    if (!t.ok) {
      refuse(access);
      return false;
    }
    where = t.hpa;
    entry = width == 8 ? memory_.read<uint64_t>(where) : memory_.read<uint32_t>(where);
    return true;
  }

  bool set_bits(Gpa at, Hpa where, unsigned width, uint64_t& entry, uint64_t wanted) {
    if ((entry & wanted) == wanted) return true;
    if (request_.dry) {
      result_.dirty_missing |= (wanted & ~entry & kDirty) != 0;
      return true;
    }
    const PhysicalAccess access{at, Access::write, true, true, request_.linear};
    const PhysicalTranslation t = second_.translate(access);
    if (!t.ok) {
      refuse(access);
      return false;
    }
    entry |= wanted;
    if (width == 8) {
      memory_.write<uint64_t>(where, entry);
    } else {
      memory_.write<uint32_t>(where, static_cast<uint32_t>(entry));
    }
    return true;
  }

  WalkResult fault(bool present, bool reserved) {
    const bool nx_reported =
        (paging_.efer & x86::efer::NXE) != 0 || (paging_.cr4 & x86::cr4::SMEP) != 0;
    result_.outcome = WalkResult::Outcome::page_fault;
    result_.error_code = (present ? x86::pf::P : 0) |
                         (request_.access == Access::write ? x86::pf::W : 0) |
                         (request_.user ? x86::pf::U : 0) | (reserved ? x86::pf::RSVD : 0) |
                         (request_.access == Access::fetch && nx_reported ? x86::pf::I : 0);
    return result_;
  }

  WalkResult refuse(const PhysicalAccess& access) {
    result_.outcome = WalkResult::Outcome::physical_fault;
    result_.last = access;
    return result_;
  }

  PhysicalMemory& memory_;
  Monitor& second_;
  const PagingState& paging_;
  const WalkRequest& request_;
  WalkResult result_;
};

}  // namespace

bool PagingState::paging() const { return (cr0 & x86::cr0::PG) != 0; }
bool PagingState::pae() const { return (cr4 & x86::cr4::PAE) != 0; }
bool PagingState::long_mode() const { return (efer & x86::efer::LMA) != 0; }

WalkResult walk(PhysicalMemory& memory, Monitor& second, const PagingState& paging,
                const WalkRequest& request) {
  return Walker(memory, second, paging, request).run();
}

bool denied(const PagingState& paging, const WalkRequest& request, const Mapping& m) {
  if (request.user && !m.user) return true;
  switch (request.access) {
    case Access::write:
      if (!may_write(paging, request, m)) return true;
      break;
    case Access::fetch:
      return !may_execute(paging, request, m);
    case Access::read:
      break;
  }
  return m.user && request.smap_enforced && !request.user;
}

bool result_of(const PagingState& paging, const WalkRequest& request, const Mapping& m,
               WalkResult& result) {
  const Access access = request.access;
  if (denied(paging, request, m)) return false;
  result.writable = may_write(paging, request, m) && m.dirty && m.second_writable;
  result.executable = may_execute(paging, request, m) && m.second_executable;
  result.readable = m.second_readable;
  result.mapping = m;
  return access == Access::write   ? result.writable
         : access == Access::fetch ? result.executable
                                   : result.readable;
}

PdpteLoad load_pdptes(PhysicalMemory& memory, Monitor& second, const PagingState& paging,
                      std::array<uint64_t, 4>& out, PhysicalAccess& refused) {
  const uint64_t reserved =
      bits(63, paging.physical_bits) | bits(8, 5) | bits(2, 1);  // SDM vol. 3A, "PAE Paging"
  std::array<uint64_t, 4> loaded{};
  for (unsigned i = 0; i < 4; ++i) {
    PhysicalAccess access;
    access.gpa = Gpa((paging.cr3 & 0xffffffe0u) + i * 8);
    access.linear_valid = false;  // and, unlike other paging structures, no write with EPT's flags
    const PhysicalTranslation t = second.translate(access);
    if (!t.ok) {
      refused = access;
      return PdpteLoad::physical_fault;
    }
    loaded[i] = memory.read<uint64_t>(t.hpa);
    if ((loaded[i] & kPresent) != 0 && (loaded[i] & reserved) != 0) return PdpteLoad::reserved;
  }
  out = loaded;
  return PdpteLoad::ok;
}

}  // namespace cupel::cpu
