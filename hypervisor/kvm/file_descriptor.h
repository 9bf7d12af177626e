// Owned file descriptors and mappings of the KVM API.
#pragma once

#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string>
#include <utility>

#include "core/error.h"

namespace cupel::kvm {

class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& o) noexcept : fd_(std::exchange(o.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& o) noexcept {
    std::swap(fd_, o.fd_);
    return *this;
  }
  ~FileDescriptor() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }

  // The system call's own value: -1 with errno set on failure.
  template <class Argument>
  int call(unsigned long request, Argument argument) const {
    return ioctl(fd_, request, argument);
  }

  // For requests that answer 0; `name` is the request's.
  template <class Argument>
  Result<void> control(unsigned long request, const char* name, Argument argument) const {
    if (call(request, argument) >= 0) return {};
    return fail(ErrorKind::environment, std::string(name) + " failed: " + std::strerror(errno));
  }

 private:
  int fd_ = -1;
};

class Mapping {
 public:
  Mapping() = default;
  Mapping(void* base, size_t size) : base_(base), size_(size) {}
  Mapping(Mapping&& o) noexcept
      : base_(std::exchange(o.base_, nullptr)), size_(std::exchange(o.size_, 0)) {}
  Mapping& operator=(Mapping&& o) noexcept {
    std::swap(base_, o.base_);
    std::swap(size_, o.size_);
    return *this;
  }
  ~Mapping() {
    if (base_ != nullptr) munmap(base_, size_);
  }
  void* get() const { return base_; }

 private:
  void* base_ = nullptr;
  size_t size_ = 0;
};

}  // namespace cupel::kvm
