// What the compiler and the core may call behind our back in a program without a library.
#include <cstddef>
#include <new>

#include "hypervisor/metal/console.h"

extern "C" {

void* memcpy(void* to, const void* from, size_t n) {
  void* const result = to;
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n)::"memory");
  return result;
}

void* memset(void* to, int value, size_t n) {
  void* const result = to;
  asm volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(value) : "memory");
  return result;
}

void* memmove(void* to, const void* from, size_t n) {
  if (to <= from || static_cast<char*>(to) >= static_cast<const char*>(from) + n) {
    return memcpy(to, from, n);
  }
  for (size_t i = n; i-- > 0;) static_cast<char*>(to)[i] = static_cast<const char*>(from)[i];
  return to;
}

int memcmp(const void* a, const void* b, size_t n) {
  const auto* x = static_cast<const unsigned char*>(a);
  const auto* y = static_cast<const unsigned char*>(b);
  for (size_t i = 0; i < n; ++i) {
    if (x[i] != y[i]) return x[i] < y[i] ? -1 : 1;
  }
  return 0;
}

// assert() of builds without NDEBUG.
[[noreturn]] void __assert_fail(const char* expression, const char* file, unsigned line,
                                const char*) {
  using namespace cupel::metal;
  bail_out("assertion ", expression, " at ", file, ":", line);
}

[[noreturn]] void __cxa_pure_virtual() { cupel::metal::bail_out("pure virtual call"); }

}  // extern "C"

// A virtual destructor names operator delete; nothing here is ever allocated with new.
void operator delete(void*, size_t) noexcept { cupel::metal::bail_out("operator delete"); }
void operator delete(void*) noexcept { cupel::metal::bail_out("operator delete"); }
