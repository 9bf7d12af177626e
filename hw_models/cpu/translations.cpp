// The translations that the engine holds: where they come from, and what drops them.

#include "hw_models/cpu/self_check.h"
#include "hw_models/cpu/unicorn_processor.h"

namespace cupel::cpu {

// The flushes come from hooks and from outside of a run, where our corrections see no processor.
void UnicornProcessor::flush_tlb() {
  auto* outer = std::exchange(current_, this);
  context().fetch_from = nullptr;
  context().non_global.clear();
  context().executable.reset();
  context().large.reset();
  tlb_flush_x86_64(cpu_object_);
  current_ = outer;
}
// SDM vol. 3A, "Operations that Invalidate TLBs and Paging-Structure Caches". Page by page:
// dropping everything would also drop the engine's memory of where indirect jumps lead.
void UnicornProcessor::flush_non_global() {
  auto& pages = context().non_global;
  if ((paging_.cr4 & x86::cr4::PGE) == 0 || pages.size() >= kMostTracked) return flush_tlb();
  context().fetch_from = nullptr;
  for (const uint64_t page : pages) drop_page(page);
  pages.clear();
}

// "The instruction invalidates all TLB entries for the page, whatever its size": the engine holds a
// large page in pieces. SDM vol. 2A, "INVLPG—Invalidate TLB Entries".
void UnicornProcessor::flush_tlb_page(Gva linear) {
  if (context().in_large_page(linear.value())) return flush_tlb();
  context().fetch_from = nullptr;
  drop_page(linear.align_down(kPageSize).value());
}

void UnicornProcessor::drop_page(uint64_t linear) {
  auto* outer = std::exchange(current_, this);
  tlb_flush_page_x86_64(cpu_object_, linear);
  current_ = outer;
}

// SDM vol. 3A, "Operations that Invalidate TLBs and Paging-Structure Caches": page faults do.
WalkResult UnicornProcessor::translate_by_memory(const WalkRequest& request) {
  WalkResult result;
  if (paging_.paging() && translations_->find(request, paging_, result)) return result;
  result = walk(memory_, monitor(), paging_, request);
  if (result.outcome == WalkResult::Outcome::page_fault)
    translations_->page_invalidated(request.linear);
  if (result.outcome == WalkResult::Outcome::ok && paging_.paging() && !result.virtualized)
    translations_->remember(request, result);
  return result;
}

void UnicornProcessor::set_translation_memory(TranslationMemory* translations) {
  translations_ = translations;
  drop_all_translations();
}

// Blocks are told apart by the number of the set, in bits of the mode that the engine leaves free.
void UnicornProcessor::use_translations(const TranslationTag& tag) {
  if (context().tag == tag) return;
  contexts_->select(tag);
  engine_->hflags = (engine_->hflags & ~hf::context) | contexts_->current_number() * hf::context1;
  auto& own = context();
  if (own.stale) {
    own.stale = false;
    flush_tlb();
  } else {
    for (const uint64_t page : own.watched)
      tlb_reset_dirty_x86_64(
          cpu_object_, reinterpret_cast<uint64_t>(memory_.data()) + page * kPageSize, kPageSize);
  }
  own.watched.clear();
}

void UnicornProcessor::switch_translations(const TranslationTag& tag) {
  use_translations(tag);
  hold_context_to_paging();
}

// What INVLPG and MOV to control registers invalidate, they invalidate under every EPT pointer.
// SDM vol. 3C, "Operations that Invalidate Cached Mappings".
void UnicornProcessor::expire_other_contexts() {
  const uint16_t vpid = context().tag.vpid;
  contexts_->for_others([vpid](auto& other) { other.stale |= other.tag.vpid == vpid; });
}

void UnicornProcessor::drop_translations_of_vpid(uint16_t vpid) {
  if (context().tag.vpid == vpid) flush_tlb();
  contexts_->for_others([vpid](auto& other) { other.stale |= other.tag.vpid == vpid; });
}
void UnicornProcessor::drop_translations_of_ept(uint64_t ept) {
  if (context().tag.ept == ept) flush_tlb();
  contexts_->for_others([ept](auto& other) { other.stale |= other.tag.ept == ept; });
}
void UnicornProcessor::drop_page_of_vpid(uint16_t vpid, Gva linear) {
  if (context().tag.vpid == vpid) flush_tlb_page(linear);
  contexts_->for_others([vpid](auto& other) { other.stale |= other.tag.vpid == vpid; });
}
void UnicornProcessor::drop_all_translations() {
  flush_tlb();
  contexts_->for_others([](auto& other) { other.stale = true; });
}

}  // namespace cupel::cpu
