// What the engine asks of address translation, and how it learns that code has changed.

#include <algorithm>
#include <bit>

#include "hw_models/cpu/unicorn_processor.h"

namespace cupel::cpu {

namespace {

constexpr int kReadPage = 1, kWritePage = 2, kExecPage = 4;
constexpr int kMmuKernelSmap = 0, kMmuUser = 1;

// Accesses of the engine's own making have no size.
unsigned part_on_page(uint64_t address, unsigned size) {
  const auto left = static_cast<unsigned>(kPageSize - (address & (kPageSize - 1)));
  return std::clamp(size, 1u, left);
}

}  // namespace

// Called by the engine for every translation it lacks. Runs under a longjmp regime: nothing with
// a destructor may be alive when cpu_vmexit leaves.
bool UnicornProcessor::on_tlb_fill(void* cpu_object, uint64_t address, unsigned size, int access,
                                   int mmu_index, bool probe, uintptr_t return_to) {
  const uint64_t page = address & ~(kPageSize - 1);
  if (!parked_once_) {
    tlb_set_page_x86_64(cpu_object, page, page, kReadPage | kWritePage | kExecPage, mmu_index,
                        kPageSize);
    return true;
  }
  if (paging_.long_mode()) {
    const int64_t top = static_cast<int64_t>(address) >> 47;
    if (top != 0 && top != -1) {
      if (probe) return false;
      fill_fault_ = {FillFault::Kind::non_canonical, address, 0, {}};
      cpu_vmexit_x86_64(engine_, svm::exception + x86::kPF, 0, return_to);
    }
  }
  ++stats_.tlb_fills;
  const WalkRequest request{Gva(address), static_cast<Access>(access), mmu_index == kMmuUser,
                            mmu_index == kMmuKernelSmap, part_on_page(address, size)};
  const WalkResult r = translate(request);
  if (r.outcome == WalkResult::Outcome::ok) {
    auto& own = context();
    if (!r.global && own.non_global.size() < kMostTracked) own.non_global.push_back(page);
    if (config_.bus != nullptr && !memory_.contains(r.hpa, 1)) [[unlikely]] {
      if (request.access == Access::fetch) {
        if (probe) return false;
        fill_fault_ = {FillFault::Kind::fetch_from_device, address, 0, {}};
        cpu_vmexit_x86_64(engine_, svm::exception + x86::kPF, 0, return_to);
      }
    }
    const int protection = (r.readable ? kReadPage : 0) | (r.writable ? kWritePage : 0) |
                           (request.access == Access::write ? kWritePage : 0) |
                           (r.executable ? kExecPage : 0);
    if (r.executable) own.executable.set(page_slot(page));
    if (r.mapping.span != kPageSize)
      own.large.set(own.large_slot(page, static_cast<unsigned>(std::countr_zero(r.mapping.span))));
    uint64_t extent = kPageSize;
    if (r.virtualized) [[unlikely]] {
      extent = 1;
      if (request.access == Access::write && !probe) {
        if (!stepping_) {
          fill_fault_ = {FillFault::Kind::virtualized_write, address, 0, {}};
          cpu_vmexit_x86_64(engine_, svm::exception + x86::kPF, 0, return_to);
        }
        monitor().on_virtualized_write(r.last);
        virtualized_at_ = r.hpa;
        completion_due_ = true;
      }
    }
    if (breakpoints_.any()) [[unlikely]] {
      if (!probe && !check_breakpoints(address, size, request.access))
        cpu_vmexit_x86_64(engine_, svm::exception + x86::kPF, 0, return_to);
      // Smaller than a page: the engine asks again at each access, and fetches one by one.
      if (breakpoints_.on_page(page, Access::fetch) || breakpoints_.on_page(page, Access::write) ||
          breakpoints_.on_page(page, Access::read))
        extent = 1;
    }
    tlb_set_page_x86_64(cpu_object, page, r.hpa.align_down(kPageSize).value(), protection,
                        mmu_index, extent);
    return true;
  }
  if (probe) return false;
  if (r.outcome == WalkResult::Outcome::page_fault) {
    fill_fault_ = {FillFault::Kind::page_fault, address, r.error_code, {}};
  } else {
    fill_fault_ = {FillFault::Kind::physical, address, 0, r.last};
  }
  cpu_vmexit_x86_64(engine_, svm::exception + x86::kPF, 0, return_to);
}

// False: the access must not go on; what it met is in fill_fault_.
bool UnicornProcessor::check_breakpoints(uint64_t address, unsigned size, Access access) {
  if (access == Access::fetch) {
    const uint64_t page = address & ~(kPageSize - 1);
    if (stepping_ || address != linear_rip() || !breakpoints_.on_page(page, access)) return true;
    fill_fault_ = {FillFault::Kind::code_page_watched, address, 0, {}};
    return false;
  }
  const uint64_t hits = breakpoints_.hits(address, size, access);
  if (hits == 0) return true;
  if (stepping_) {
    step_hits_ |= hits;
    return true;
  }
  fill_fault_ = {FillFault::Kind::data_breakpoint, hits, 0, {}};
  return false;
}

void UnicornProcessor::set_code_page(uint64_t ram_address, bool on) {
  const uint64_t page = ram_address / kPageSize;
  if (page >= code_pages_.size()) return;
  code_pages_[page] = on;
  if (on) group_->watch_page(page);
}

void UnicornProcessor::watch_code_page(uint64_t page) {
  tlb_reset_dirty_x86_64(cpu_object_, reinterpret_cast<uint64_t>(memory_.data()) + page * kPageSize,
                         kPageSize);
  contexts_->for_others([page](TranslationContext& other) {
    other.watched.push_back(page);
    if (other.watched.size() > TranslationContexts::kMostWatched) other.stale = true;
  });
}

void UnicornProcessor::invalidate_code(Hpa start, uint64_t length) {
  if (length != 0) group_->drop_code(start.value(), length, nullptr);
}

void UnicornProcessor::drop_own_code(uint64_t start, uint64_t length) {
  const uint64_t first = start / kPageSize, last = (start + length - 1) / kPageSize;
  auto* outer = std::exchange(current_, this);
  for (uint64_t page = first; page <= last && page < code_pages_.size(); ++page) {
    if (!code_pages_[page]) continue;
    tb_invalidate_phys_range_x86_64(uc_, page * kPageSize, (page + 1) * kPageSize);
    code_pages_[page] = false;
  }
  current_ = outer;
}

}  // namespace cupel::cpu
