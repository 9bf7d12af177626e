#include "bench/process_memory.h"

#include <malloc.h>

#include <algorithm>
#include <fstream>
#include <vector>

#include "core/types.h"

namespace cupel::bench {

uint64_t resident_bytes() {
  malloc_trim(0);
  uint64_t virtual_pages = 0, pages = 0;
  std::ifstream("/proc/self/statm") >> virtual_pages >> pages;
  return pages * kPageSize;
}

uint64_t resident_pages(std::span<const std::byte> range) {
  constexpr uint64_t kPresent = 1ull << 63;
  std::vector<uint64_t> entries(range.size() / kPageSize);
  std::ifstream pagemap("/proc/self/pagemap", std::ios::binary);
  pagemap.seekg(static_cast<std::streamoff>(reinterpret_cast<uintptr_t>(range.data()) / kPageSize *
                                            sizeof(uint64_t)));
  pagemap.read(reinterpret_cast<char*>(entries.data()),
               static_cast<std::streamsize>(entries.size() * sizeof(uint64_t)));
  return static_cast<uint64_t>(std::count_if(
      entries.begin(), entries.end(), [](uint64_t entry) { return (entry & kPresent) != 0; }));
}

}  // namespace cupel::bench
