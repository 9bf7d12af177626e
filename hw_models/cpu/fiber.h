// A stack of its own for the engine's loop: switch in, switch out, told to AddressSanitizer.
#pragma once

#include <boost/context/fiber.hpp>
#include <boost/context/protected_fixedsize_stack.hpp>
#include <functional>
#include <memory>
#include <utility>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace cupel::cpu {

// resume() runs the body until it calls suspend() or returns. The body must have returned before
// the fiber is destroyed: C frames of the engine cannot be unwound.
class Fiber {
 public:
  static constexpr size_t kStackSize = 512 * 1024;
  // Frames of a fiber that is dropped are never left: AddressSanitizer's marks on them must not
  // outlive the mapping, or the next one at that address seems out of scope.
  using Mapping = boost::context::protected_fixedsize_stack;
  struct Stack : Mapping {
    explicit Stack(size_t size) : Mapping(size) {}
    void deallocate(boost::context::stack_context& stack) {
#if defined(__SANITIZE_ADDRESS__)
      __asan_unpoison_memory_region(static_cast<char*>(stack.sp) - stack.size, stack.size);
#endif
      Mapping::deallocate(stack);
    }
  };

  explicit Fiber(std::function<void()> body) : body_(std::move(body)) {
    Stack allocator(kStackSize);
    auto stack = allocator.allocate();
    remember_stack(stack);
    inner_ = boost::context::fiber(std::allocator_arg,
                                   boost::context::preallocated(stack.sp, stack.size, stack),
                                   allocator, [this](boost::context::fiber&& caller) {
                                     outer_ = std::move(caller);
                                     entered();
                                     body_();
                                     finished_ = true;
                                     leaving(true);
                                     return std::move(outer_);
                                   });
  }
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  void resume() {
#if defined(__SANITIZE_ADDRESS__)
    void* fake = nullptr;
    __sanitizer_start_switch_fiber(&fake, inner_bottom_, inner_size_);
    inner_ = std::move(inner_).resume();
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#else
    inner_ = std::move(inner_).resume();
#endif
  }
  void suspend() {
    leaving(false);
    outer_ = std::move(outer_).resume();
    entered();
  }
  bool finished() const { return finished_; }

 private:
#if defined(__SANITIZE_ADDRESS__)
  void entered() { __sanitizer_finish_switch_fiber(fake_, &outer_bottom_, &outer_size_); }
  void leaving(bool last) {
    __sanitizer_start_switch_fiber(last ? nullptr : &fake_, outer_bottom_, outer_size_);
  }
  void remember_stack(const boost::context::stack_context& stack) {
    inner_size_ = stack.size;
    inner_bottom_ = static_cast<char*>(stack.sp) - stack.size;
  }
  void* fake_ = nullptr;
  const void* outer_bottom_ = nullptr;
  size_t outer_size_ = 0;
  const void* inner_bottom_ = nullptr;
  size_t inner_size_ = 0;
#else
  void remember_stack(const boost::context::stack_context&) {}
  void entered() {}
  void leaving(bool) {}
#endif

  std::function<void()> body_;
  boost::context::fiber inner_;
  boost::context::fiber outer_;
  bool finished_ = false;
};

}  // namespace cupel::cpu
