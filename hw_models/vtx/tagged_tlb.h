// A TLB that forgets nothing it may keep: linear, guest-physical and combined mappings with their
// tags, dropped by exactly the operations that invalidate them. What a hypervisor forgets to
// invalidate stays in use, as it may on any processor, and is reported.
// SDM vol. 3C, "Caching Translation Information".
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "hw_models/cpu/processor.h"
#include "hw_models/cpu/translation_memory.h"
#include "hw_models/vtx/ept.h"

namespace cupel::vtx {

// The processor has used a mapping that a walk of the tables would no longer give.
struct StaleUse {
  enum class Kind : uint8_t {
    linear,          // without EPT: of guest paging, or of the host's own
    combined,        // linear address to physical address, under EPT
    guest_physical,  // EPT alone
  };
  Kind kind = Kind::linear;
  // What differs: EPT entries (INVEPT is missing), or paging structures (INVLPG, a load of CR3, or
  // INVVPID is missing).
  bool ept_differs = false;
  cpu::Access access = cpu::Access::read;
  cpu::TranslationTag tag;  // guest_physical: only the EPT part
  Gva linear;               // not for guest_physical mappings of the page walk
  Gpa gpa;
  Hpa used;
  std::optional<Hpa> now;      // none: the access would be refused
  bool dirty_missing = false;  // same page, but a dirty flag would have been set
  uint64_t rip = 0;            // of the instruction, or of an earlier one in its block
};
std::string describe(const StaleUse& use);

// What is left out: paging-structure caches, and spurious faults from rights that have grown (an
// access that a remembered mapping does not allow is walked anew). Not thread-safe.
class TaggedTlb final : public cpu::TranslationMemory {
 public:
  using Sink = std::function<void(const StaleUse&)>;
  // Says what a walk would give now, changing nothing.
  using FreshWalk =
      std::function<cpu::WalkResult(const cpu::WalkRequest&, const cpu::PagingState&)>;
  TaggedTlb(FreshWalk fresh, std::function<uint64_t()> rip)
      : fresh_(std::move(fresh)), rip_(std::move(rip)) {}

  // Each page with each frame once, the first 1000. The sink sees all.
  const std::vector<StaleUse>& stale_uses() const { return uses_; }
  void clear_stale_uses();
  void set_sink(Sink sink) { sink_ = std::move(sink); }

  // The address space of the code that is executed from now on.
  void use(const cpu::TranslationTag& tag) { tag_ = tag; }

  // --- cpu::TranslationMemory: linear and combined mappings --------------------------------------
  bool find(const cpu::WalkRequest& request, const cpu::PagingState& paging,
            cpu::WalkResult& result) override;
  void remember(const cpu::WalkRequest& request, const cpu::WalkResult& result) override;
  void page_invalidated(Gva linear) override { drop_page(tag_.vpid, linear); }
  void control_register_written(unsigned number, const cpu::PagingState& before,
                                const cpu::PagingState& after) override;
  void forget_everything() override;

  // --- Guest-physical mappings -------------------------------------------------------------------
  // `fresh`: what a walk gives now.
  std::optional<cpu::PhysicalTranslation> find(const EptMode& mode,
                                               const cpu::PhysicalAccess& access,
                                               const EptWalk& fresh);
  void remember(const EptMode& mode, Gpa gpa, const EptWalk& walk);

  // --- Operations that invalidate: SDM, "Operations that Invalidate Cached Mappings"
  // --------------
  void drop_page(uint16_t vpid, Gva linear);  // INVVPID, individual-address
  void drop_vpid(uint16_t vpid);              // single-context; entries and exits with VPID 0
  void drop_vpid_but_globals(uint16_t vpid);  // single-context-retaining-globals
  void drop_vpids();                          // all-context: all but VPID 0
  void drop_ept(uint64_t tag);                // INVEPT, single-context
  void drop_all_ept();                        // all-context
  void ept_violation(const cpu::PhysicalAccess& access);

  size_t size() const;  // mappings held

 private:
  struct Entry {
    uint64_t ept = cpu::TranslationTag::kNoEpt;
    Hpa frame;
    cpu::Mapping mapping;
  };
  // Mappings of one VPID, 4 KiB each, with those of large pages known by page as well.
  struct Pages {
    std::unordered_map<uint64_t, std::vector<Entry>> entries;
    std::unordered_map<uint64_t, std::vector<uint64_t>> large;  // region -> its pages
    const Entry* find(uint64_t page, uint64_t ept) const;
    void insert(uint64_t page, const Entry& entry);
    void erase(Gva linear);
    void erase_ept(bool all, uint64_t tag);
  };
  struct Space {
    Pages local, global;
  };
  struct GuestPhysical {
    Hpa frame;
    bool readable = false, writable = false, executable = false, user_executable = false;
  };
  static constexpr size_t kMostUses = 1000, kMost = 1 << 20;

  void report(StaleUse use, uint64_t page);
  void make_room();

  FreshWalk fresh_;
  std::function<uint64_t()> rip_;
  cpu::TranslationTag tag_;
  std::unordered_map<uint16_t, Space> spaces_;
  std::unordered_map<uint64_t, std::unordered_map<uint64_t, GuestPhysical>> guest_physical_;
  std::vector<StaleUse> uses_;
  std::unordered_set<std::string> reported_;
  Sink sink_;
  size_t inserted_ = 0;
};

}  // namespace cupel::vtx
