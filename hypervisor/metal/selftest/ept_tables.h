// EPT tables of one test: identity, but for one page that the test may spoil. Freestanding.
#pragma once

#include "hypervisor/metal/lab.h"
#include "hypervisor/vmx/ept_builder.h"

namespace cupel::metal {

// The first 4 GiB map to themselves. Around page() the tables go down to 4-KByte pages. Give the
// frames back at the end.
class EptTables {
 public:
  explicit EptTables(Lab& lab);
  ~EptTables();
  EptTables(const EptTables&) = delete;
  EptTables& operator=(const EptTables&) = delete;

  uint64_t pointer() const { return pointer_; }
  // Two frames of memory, zeroed.
  Hpa page() const { return page_; }
  Hpa other_page() const { return other_page_; }
  // The entry that maps an address, and the one that refers to the last table on the way to it.
  uint64_t& leaf(Hpa at);
  uint64_t& table_entry(Hpa at);
  // Accessed and dirty flags in all entries, but no dirty flag in the one that maps `at`.
  void set_all_flags_but(Hpa at);
  void set_in_all(uint64_t bits);  // of the present entries
  void map_page_to(Hpa at);

  // Makes them the VM's; invalidates what the processor may remember.
  void use(TestVm& vm);
  void invalidate();

 private:
  uint64_t& entry(Hpa at, unsigned above_leaf);
  void set_below(uint64_t table, unsigned level, uint64_t bits);

  Lab& lab_;
  vmx::EptBuilder builder_;
  uint64_t pointer_;
  Hpa page_, other_page_;
};

}  // namespace cupel::metal
