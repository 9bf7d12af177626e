#include "core/physical_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <vector>

namespace cupel {
namespace {

constexpr uint64_t kSmallest = 64_KiB;
constexpr uint64_t kLargest = 1024_GiB;
constexpr uint64_t kPagemapPrivate = 1ull << 63;     // page present
constexpr uint64_t kPagemapSwapped = 1ull << 62;     // page in swap
constexpr uint64_t kPagemapFileBacked = 1ull << 61;  // file page or shared anonymous

std::string os_error() { return std::strerror(errno); }

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

// Calls visit(first_page, count) for each run of pages that are private to the mapping, that is
// written since it was made. Source: Linux Documentation/admin-guide/mm/pagemap.rst.
template <class Visit>
bool for_private_runs(const std::byte* base, uint64_t size, Visit visit) {
  const Descriptor pagemap(open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
  if (pagemap.get() < 0) return false;
  const uint64_t pages = size / kPageSize;
  const uint64_t first = reinterpret_cast<uintptr_t>(base) / kPageSize;
  std::vector<uint64_t> entries(32768);
  for (uint64_t page = 0; page < pages;) {
    const uint64_t want = std::min<uint64_t>(entries.size(), pages - page);
    const ssize_t got = pread(pagemap.get(), entries.data(), want * sizeof(uint64_t),
                              static_cast<off_t>((first + page) * sizeof(uint64_t)));
    if (got <= 0) return false;
    const uint64_t count = static_cast<uint64_t>(got) / sizeof(uint64_t);
    auto is_private = [&](uint64_t i) {
      return (entries[i] & (kPagemapPrivate | kPagemapSwapped)) != 0 &&
             (entries[i] & kPagemapFileBacked) == 0;
    };
    for (uint64_t i = 0; i < count;) {
      if (!is_private(i)) {
        ++i;
        continue;
      }
      uint64_t end = i + 1;
      while (end < count && is_private(end)) ++end;
      if (!visit(page + i, end - i)) return false;
      i = end;
    }
    page += count;
  }
  return true;
}

}  // namespace

Result<std::unique_ptr<PhysicalMemory>> PhysicalMemory::create(uint64_t size) {
  if (size < kSmallest || size > kLargest || size % kPageSize != 0) {
    return fail(ErrorKind::bad_input,
                "memory of " + std::to_string(size) + " bytes is not possible",
                "give a multiple of 4 KiB between 64 KiB and 1 TiB");
  }
  const int file = memfd_create("cupel-memory", MFD_CLOEXEC);
  if (file < 0 || ftruncate(file, static_cast<off_t>(size)) != 0) {
    const std::string why = os_error();
    if (file >= 0) close(file);
    return fail(ErrorKind::environment, "cannot create a memory file: " + why);
  }
  void* base = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, file, 0);
  if (base == MAP_FAILED) {
    const std::string why = os_error();
    close(file);
    return fail(ErrorKind::environment,
                "cannot reserve " + std::to_string(size >> 20) + " MiB of address space: " + why,
                "use less memory, or raise the limit on virtual memory (ulimit -v)");
  }
  return std::unique_ptr<PhysicalMemory>(
      new PhysicalMemory(static_cast<std::byte*>(base), size, file));
}

PhysicalMemory::~PhysicalMemory() {
  munmap(base_, size_);
  close(file_);
}

uint64_t PhysicalMemory::resident_bytes() const {
  const uint64_t pages = size_ / kPageSize;
  uint64_t private_pages = 0;
  for_private_runs(base_, size_, [&](uint64_t, uint64_t n) {
    private_pages += n;
    return true;
  });
  // Pages of the file are those that a snapshot wrote; holes cost nothing.
  uint64_t file_pages = 0;
  off_t at = 0;
  while (at < static_cast<off_t>(pages * kPageSize)) {
    const off_t data = lseek(file_, at, SEEK_DATA);
    if (data < 0) break;
    const off_t hole = lseek(file_, data, SEEK_HOLE);
    file_pages += static_cast<uint64_t>(hole - data) / kPageSize;
    at = hole;
  }
  return (private_pages + file_pages) * kPageSize;
}

Result<PhysicalMemory::SnapshotStats> PhysicalMemory::take_snapshot() {
  SnapshotStats stats;
  const bool copied = for_private_runs(base_, size_, [&](uint64_t page, uint64_t count) {
    const std::byte* from = base_ + page * kPageSize;
    uint64_t done = 0;
    while (done < count * kPageSize) {
      const ssize_t n = pwrite(file_, from + done, count * kPageSize - done,
                               static_cast<off_t>(page * kPageSize + done));
      if (n <= 0) return false;
      done += static_cast<uint64_t>(n);
    }
    stats.pages_copied += count;
    return madvise(base_ + page * kPageSize, count * kPageSize, MADV_DONTNEED) == 0;
  });
  if (!copied) return fail(ErrorKind::environment, "cannot take a memory snapshot: " + os_error());
  has_snapshot_ = true;
  return stats;
}

Result<void> PhysicalMemory::restore_snapshot() {
  if (madvise(base_, size_, MADV_DONTNEED) != 0)
    return fail(ErrorKind::environment, "cannot restore a memory snapshot: " + os_error());
  return {};
}

}  // namespace cupel
