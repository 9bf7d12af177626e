#include "hw_models/vtx/tagged_tlb.h"

#include <algorithm>
#include <bit>
#include <cinttypes>
#include <cstdio>

#include "core/x86/registers.h"

namespace cupel::vtx {
namespace {

uint64_t page_of(Gva linear) { return linear.value() >> 12; }
// A large page, by its size and number.
uint64_t region_of(uint64_t linear, unsigned shift) { return (linear >> shift) << 8 | shift; }
constexpr unsigned kLargeShifts[] = {21, 22, 30};

bool allows(const cpu::PhysicalAccess& access, const EptMode& mode, bool readable, bool writable,
            bool executable) {
  if (is_ept_write(access, mode.flags())) return writable;
  return access.access == cpu::Access::fetch ? executable : readable;
}

}  // namespace

std::string describe(const StaleUse& use) {
  static constexpr const char* kinds[] = {"linear", "combined", "guest-physical"};
  static constexpr const char* accesses[] = {"read", "write", "fetch"};
  char text[400];
  int at = std::snprintf(text, sizeof text,
                         "stale %s mapping used for a %s:", kinds[static_cast<int>(use.kind)],
                         accesses[static_cast<int>(use.access)]);
  const auto add = [&](const char* format, auto... values) {
    at += std::snprintf(text + at, sizeof text - static_cast<size_t>(at), format, values...);
  };
  if (use.kind != StaleUse::Kind::guest_physical)
    add(" VPID %u, linear %" PRIx64 "H,", unsigned{use.tag.vpid}, use.linear.value());
  if (use.tag.ept != cpu::TranslationTag::kNoEpt)
    add(" EP4TA %" PRIx64 "H, guest-physical %" PRIx64 "H,", use.tag.ept, use.gpa.value());
  add(" used physical %" PRIx64 "H; a walk now", use.used.value());
  if (!use.now) {
    add(" refuses the access");
  } else if (use.dirty_missing) {
    add(" would set a dirty flag");
  } else {
    add(" gives %" PRIx64 "H", use.now->value());
  }
  add("; missing: %s (RIP about %" PRIx64 "H)",
      use.ept_differs ? "INVEPT" : "INVLPG, a load of CR3, or INVVPID", use.rip);
  return text;
}

// --- Pages --------------------------------------------------------------------------------------

const TaggedTlb::Entry* TaggedTlb::Pages::find(uint64_t page, uint64_t ept) const {
  const auto known = entries.find(page);
  if (known == entries.end()) return nullptr;
  for (const Entry& e : known->second)
    if (e.ept == ept) return &e;
  return nullptr;
}

void TaggedTlb::Pages::insert(uint64_t page, const Entry& entry) {
  auto& list = entries[page];
  std::erase_if(list, [&](const Entry& e) { return e.ept == entry.ept; });
  list.push_back(entry);
  if (entry.mapping.span == kPageSize) return;
  const auto shift = static_cast<unsigned>(std::countr_zero(entry.mapping.span));
  large[region_of(page << 12, shift)].push_back(page);
}

// "Regardless of the page size": all pieces of a large page go.
void TaggedTlb::Pages::erase(Gva linear) {
  entries.erase(page_of(linear));
  for (const unsigned shift : kLargeShifts) {
    const auto known = large.find(region_of(linear.value(), shift));
    if (known == large.end()) continue;
    for (const uint64_t page : known->second) entries.erase(page);
    large.erase(known);
  }
}

void TaggedTlb::Pages::erase_ept(bool all, uint64_t tag) {
  for (auto& [page, list] : entries) {
    std::erase_if(list, [&](const Entry& e) {
      return e.ept != cpu::TranslationTag::kNoEpt && (all || e.ept == tag);
    });
  }
  std::erase_if(entries, [](const auto& known) { return known.second.empty(); });
}

// --- Linear and combined mappings ---------------------------------------------------------------

bool TaggedTlb::find(const cpu::WalkRequest& request, const cpu::PagingState& paging,
                     cpu::WalkResult& result) {
  const auto space = spaces_.find(tag_.vpid);
  if (space == spaces_.end()) return false;
  const uint64_t page = page_of(request.linear);
  const Entry* e = space->second.local.find(page, tag_.ept);
  const bool global = e == nullptr;
  if (global) e = space->second.global.find(page, tag_.ept);
  if (e == nullptr || !result_of(paging, request, e->mapping, result)) return false;
  const uint64_t offset = request.linear.offset_in(kPageSize);
  result.hpa = e->frame + offset;
  result.global = global;

  cpu::WalkRequest question = request;
  question.dry = true;
  const cpu::WalkResult now = fresh_(question, paging);
  const bool ok = now.outcome == cpu::WalkResult::Outcome::ok;
  if (ok && now.hpa == result.hpa && !now.dirty_missing) return true;
  StaleUse use;
  const Gpa gpa = e->mapping.gpa.align_down(kPageSize) + offset;
  const bool with_ept = tag_.ept != cpu::TranslationTag::kNoEpt;
  use.kind = with_ept ? StaleUse::Kind::combined : StaleUse::Kind::linear;
  use.ept_differs = with_ept && (ok ? now.mapping.gpa == gpa
                                    : now.outcome == cpu::WalkResult::Outcome::physical_fault);
  use.access = request.access;
  use.tag = tag_;
  use.linear = request.linear;
  use.gpa = gpa;
  use.used = result.hpa;
  if (ok) use.now = now.hpa;
  use.dirty_missing = ok && now.hpa == result.hpa;
  report(use, page);
  return true;
}

void TaggedTlb::remember(const cpu::WalkRequest& request, const cpu::WalkResult& result) {
  make_room();
  Space& space = spaces_[tag_.vpid];
  const uint64_t page = page_of(request.linear);
  Pages& to = result.global ? space.global : space.local;
  Pages& other = result.global ? space.local : space.global;
  if (const auto known = other.entries.find(page); known != other.entries.end())
    std::erase_if(known->second, [this](const Entry& e) { return e.ept == tag_.ept; });
  to.insert(page, {tag_.ept, result.hpa.align_down(kPageSize), result.mapping});
}

// SDM vol. 3A, "Operations that Invalidate TLBs and Paging-Structure Caches". CR4.PCIDE is not
// offered: all is of PCID 000H.
void TaggedTlb::control_register_written(unsigned number, const cpu::PagingState& before,
                                         const cpu::PagingState& after) {
  using namespace x86;
  const uint64_t cr0_cleared = before.cr0 & ~after.cr0, cr4_changed = before.cr4 ^ after.cr4;
  if (number == 3) {
    spaces_[tag_.vpid].local = {};
  } else if (number == 0 && (cr0_cleared & cr0::PG) != 0) {
    drop_vpid(tag_.vpid);
  } else if (number == 4 && ((cr4_changed & (cr4::PGE | cr4::PAE)) != 0 ||
                             (cr4_changed & after.cr4 & cr4::SMEP) != 0)) {
    drop_vpid(tag_.vpid);
  }
}

void TaggedTlb::forget_everything() {
  spaces_.clear();
  guest_physical_.clear();
  inserted_ = 0;
}

// --- Guest-physical mappings --------------------------------------------------------------------

std::optional<cpu::PhysicalTranslation> TaggedTlb::find(const EptMode& mode,
                                                        const cpu::PhysicalAccess& access,
                                                        const EptWalk& fresh) {
  const auto tables = guest_physical_.find(mode.tag());
  if (tables == guest_physical_.end()) return std::nullopt;
  const auto known = tables->second.find(access.gpa.value() >> 12);
  if (known == tables->second.end()) return std::nullopt;
  const GuestPhysical& m = known->second;
  const bool executable = access.user ? m.user_executable : m.executable;
  if (!allows(access, mode, m.readable, m.writable, executable)) return std::nullopt;
  const Hpa hpa = m.frame + access.gpa.offset_in(kPageSize);
  const bool ok = fresh.outcome == EptWalk::Outcome::translated;
  if (!ok || fresh.hpa != hpa || fresh.dirty_missing) {
    StaleUse use;
    use.kind = StaleUse::Kind::guest_physical;
    use.ept_differs = true;
    use.access = access.access;
    use.tag = {0, mode.tag()};
    use.linear = access.linear;
    use.gpa = access.gpa;
    use.used = hpa;
    if (ok) use.now = fresh.hpa;
    use.dirty_missing = ok && fresh.hpa == hpa;
    report(use, access.gpa.value() >> 12);
  }
  return cpu::PhysicalTranslation{true, hpa, m.writable, executable, m.readable};
}

void TaggedTlb::remember(const EptMode& mode, Gpa gpa, const EptWalk& walk) {
  make_room();
  guest_physical_[mode.tag()][gpa.value() >> 12] = {walk.hpa.align_down(kPageSize), walk.readable,
                                                    walk.writable && walk.dirty, walk.executable,
                                                    walk.user_executable};
}

// --- Operations that invalidate -----------------------------------------------------------------

void TaggedTlb::drop_page(uint16_t vpid, Gva linear) {
  const auto space = spaces_.find(vpid);
  if (space == spaces_.end()) return;
  space->second.local.erase(linear);
  space->second.global.erase(linear);
}
void TaggedTlb::drop_vpid(uint16_t vpid) { spaces_.erase(vpid); }
void TaggedTlb::drop_vpid_but_globals(uint16_t vpid) {
  if (const auto space = spaces_.find(vpid); space != spaces_.end()) space->second.local = {};
}
void TaggedTlb::drop_vpids() {
  std::erase_if(spaces_, [](const auto& space) { return space.first != 0; });
}
void TaggedTlb::drop_ept(uint64_t tag) {
  guest_physical_.erase(tag);
  for (auto& [vpid, space] : spaces_) {
    space.local.erase_ept(false, tag);
    space.global.erase_ept(false, tag);
  }
}
void TaggedTlb::drop_all_ept() {
  guest_physical_.clear();
  for (auto& [vpid, space] : spaces_) {
    space.local.erase_ept(true, 0);
    space.global.erase_ept(true, 0);
  }
}

// "An EPT violation invalidates any guest-physical mappings that would be used to translate the
// guest-physical address", and combined mappings of the linear address under the same tags.
void TaggedTlb::ept_violation(const cpu::PhysicalAccess& access) {
  if (const auto tables = guest_physical_.find(tag_.ept); tables != guest_physical_.end())
    tables->second.erase(access.gpa.value() >> 12);
  const auto space = spaces_.find(tag_.vpid);
  if (!access.linear_valid || space == spaces_.end()) return;
  for (Pages* pages : {&space->second.local, &space->second.global}) {
    const auto known = pages->entries.find(page_of(access.linear));
    if (known == pages->entries.end()) continue;
    std::erase_if(known->second, [this](const Entry& e) { return e.ept == tag_.ept; });
  }
}

// A processor may forget at any time.
void TaggedTlb::make_room() {
  if (++inserted_ > kMost) forget_everything();
}

size_t TaggedTlb::size() const {
  size_t n = 0;
  for (const auto& [vpid, space] : spaces_)
    for (const Pages* pages : {&space.local, &space.global})
      for (const auto& [page, list] : pages->entries) n += list.size();
  for (const auto& [tag, tables] : guest_physical_) n += tables.size();
  return n;
}

void TaggedTlb::clear_stale_uses() {
  uses_.clear();
  reported_.clear();
}

void TaggedTlb::report(StaleUse use, uint64_t page) {
  use.rip = rip_();
  if (sink_) sink_(use);
  if (uses_.size() >= kMostUses) return;
  const std::string key = std::to_string(static_cast<int>(use.kind)) + ' ' +
                          std::to_string(use.tag.vpid) + ' ' + std::to_string(use.tag.ept) + ' ' +
                          std::to_string(page) + ' ' + std::to_string(use.used.value() >> 12);
  if (reported_.insert(key).second) uses_.push_back(use);
}

}  // namespace cupel::vtx
