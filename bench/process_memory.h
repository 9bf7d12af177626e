// Which memory of this process is resident. Linux: Documentation/filesystems/proc.rst,
// Documentation/admin-guide/mm/pagemap.rst.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace cupel::bench {

// Bytes; memory that the allocator holds without use is given back first.
uint64_t resident_bytes();
// Pages of `range` (page-aligned) that are mapped in: somebody touched them.
uint64_t resident_pages(std::span<const std::byte> range);

}  // namespace cupel::bench
