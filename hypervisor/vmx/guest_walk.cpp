#include "hypervisor/vmx/guest_walk.h"

#include "core/x86/registers.h"

namespace cupel::vmx {
namespace {

using namespace x86;

constexpr uint64_t kPresent = 1, kWrite = 2, kUser = 4, kAccessed = 1 << 5, kDirty = 1 << 6,
                   kLarge = 1 << 7, kNoExecute = 1ull << 63;

struct Visited {
  Gpa at;
  uint64_t value = 0;
};

class Walker {
 public:
  Walker(GuestRam& memory, const PagingState& state, Gva linear, Access access)
      : memory_(memory), state_(state), linear_(linear.value()), access_(access) {
    long_mode_ = (state.efer & efer::LMA) != 0;
    pae_ = long_mode_ || (state.cr4 & cr4::PAE) != 0;
    if (!long_mode_) linear_ &= 0xffffffff;
  }

  Result<Gpa, WalkError> run() {
    if ((state_.cr0 & cr0::PG) == 0) return Gpa(linear_);
    unsigned shift = 39;
    uint64_t table = state_.cr3 & 0x000ffffffffff000ull;
    if (!long_mode_ && pae_) {
      const uint64_t pdpte = state_.pdpte[linear_ >> 30 & 3];
      if ((pdpte & kPresent) == 0) return page_fault(0);
      table = pdpte & 0x000ffffffffff000ull;
      shift = 21;
    } else if (!long_mode_) {
      table = state_.cr3 & 0xfffff000;
      shift = 22;
    }
    for (;; shift -= pae_ ? 9 : 10) {
      Visited entry{Gpa(table + index(shift) * entry_size())};
      if (!load(entry)) return outside(entry.at);
      if ((entry.value & kPresent) == 0) return page_fault(0);
      const bool leaf = shift == 12 || is_large(entry.value, shift);
      if ((entry.value & reserved(shift, leaf)) != 0) return page_fault(pf::P | pf::RSVD);
      writable_ = writable_ && (entry.value & kWrite) != 0;
      user_ = user_ && (entry.value & kUser) != 0;
      no_execute_ = no_execute_ || (nx_enabled() && (entry.value & kNoExecute) != 0);
      path_[depth_++] = entry;
      if (leaf) return finish(entry.value, shift);
      table = entry.value & (pae_ ? 0x000ffffffffff000ull : 0xfffff000ull);
    }
  }

 private:
  unsigned entry_size() const { return pae_ ? 8 : 4; }
  uint64_t index(unsigned shift) const { return linear_ >> shift & (pae_ ? 511 : 1023); }
  bool nx_enabled() const { return pae_ && (state_.efer & efer::NXE) != 0; }

  bool load(Visited& entry) const {
    if (pae_) return memory_.read(entry.at, entry.value);
    uint32_t narrow = 0;
    const bool ok = memory_.read(entry.at, narrow);
    entry.value = narrow;
    return ok;
  }

  bool is_large(uint64_t entry, unsigned shift) const {
    if ((entry & kLarge) == 0) return false;
    if (!pae_) return shift == 22 && (state_.cr4 & cr4::PSE) != 0;
    return shift == 21 || shift == 30;
  }

  uint64_t reserved(unsigned shift, bool leaf) const {
    if (!pae_) return leaf && shift == 22 ? 1ull << 21 : 0;
    uint64_t bits = 0x000fffffffffffffull & ~((1ull << state_.physical_bits) - 1);
    if (!nx_enabled()) bits |= kNoExecute;
    if (!long_mode_) bits |= 0x7ff0000000000000ull;
    if (shift == 39) bits |= kLarge;
    if (leaf && shift > 12) bits |= ((1ull << shift) - 1) & ~0x1fffull;  // bit 12 is PAT
    return bits;
  }

  bool permitted() const {
    const bool smap_applies = (state_.cr4 & cr4::SMAP) != 0 && !state_.alignment_check;
    if (access_ == Access::fetch && no_execute_) return false;
    if (state_.user) return user_ && (access_ != Access::write || writable_);
    if (access_ == Access::fetch) return !(user_ && (state_.cr4 & cr4::SMEP) != 0);
    if (user_ && smap_applies) return false;
    return access_ != Access::write || writable_ || (state_.cr0 & cr0::WP) == 0;
  }

  Result<Gpa, WalkError> finish(uint64_t leaf, unsigned shift) {
    if (!permitted()) return page_fault(pf::P);
    for (unsigned n = 0; n < depth_; ++n) mark(path_[n], n + 1 == depth_);
    const uint64_t offset = linear_ & ((1ull << shift) - 1);
    uint64_t base = leaf & 0x000ffffffffff000ull & ~((1ull << shift) - 1);
    if (!pae_ && shift == 22) base = (leaf & 0xffc00000) | (leaf >> 13 & 0xff) << 32;  // PSE-36
    return Gpa(base | offset);
  }

  void mark(Visited& entry, bool leaf) {
    uint64_t flags = kAccessed;
    if (leaf && access_ == Access::write) flags |= kDirty;
    if ((entry.value & flags) == flags) return;
    entry.value |= flags;
    // The entry was read from RAM a moment ago, so the write cannot fail.
    const bool ok = pae_ ? memory_.write(entry.at, entry.value)
                         : memory_.write(entry.at, static_cast<uint32_t>(entry.value));
    assert(ok);
    (void)ok;
  }

  Failure<WalkError> page_fault(uint32_t code) const {
    if (access_ == Access::write) code |= pf::W;
    if (state_.user) code |= pf::U;
    if (access_ == Access::fetch && (nx_enabled() || (state_.cr4 & cr4::SMEP) != 0)) code |= pf::I;
    return Failure(WalkError{WalkError::Kind::page_fault, code, Gpa()});
  }
  Failure<WalkError> outside(Gpa at) const {
    return Failure(WalkError{WalkError::Kind::outside_ram, 0, at});
  }

  GuestRam& memory_;
  const PagingState& state_;
  uint64_t linear_;
  Access access_;
  bool long_mode_ = false, pae_ = false;
  bool writable_ = true, user_ = true, no_execute_ = false;
  std::array<Visited, 4> path_{};
  unsigned depth_ = 0;
};

}  // namespace

Result<Gpa, WalkError> walk(GuestRam& memory, const PagingState& state, Gva at, Access access) {
  return Walker(memory, state, at, access).run();
}

}  // namespace cupel::vmx
