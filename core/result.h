// Result<T, E>: a value or an error, never ignored. Freestanding when E is.
#pragma once

#include <cassert>
#include <new>
#include <type_traits>
#include <utility>

namespace cupel {

template <class E>
class Failure {
 public:
  explicit Failure(E error) : error_(std::move(error)) {}
  E&& take() && { return std::move(error_); }

 private:
  E error_;
};

struct Error;

// What an operation on guests, images, files or wire data returns. Our own bugs are assertions.
template <class T, class E = Error>
class [[nodiscard]] Result {
 public:
  Result(T value) : ok_(true) { new (&value_) T(std::move(value)); }  // NOLINT: implicit by design
  Result(Failure<E> failure) : ok_(false) { new (&error_) E(std::move(failure).take()); }  // NOLINT
  Result(Result&& o) noexcept : ok_(o.ok_) {
    if (ok_) {
      new (&value_) T(std::move(o.value_));
    } else {
      new (&error_) E(std::move(o.error_));
    }
  }
  Result(const Result&) = delete;
  Result& operator=(const Result&) = delete;
  Result& operator=(Result&& o) noexcept {
    if (this != &o) {
      this->~Result();
      new (this) Result(std::move(o));
    }
    return *this;
  }
  ~Result() {
    if (ok_) {
      value_.~T();
    } else {
      error_.~E();
    }
  }

  bool ok() const { return ok_; }
  explicit operator bool() const { return ok_; }
  T& value() & {
    assert(ok_);
    return value_;
  }
  const T& value() const& {
    assert(ok_);
    return value_;
  }
  T&& value() && {
    assert(ok_);
    return std::move(value_);
  }
  T& operator*() & { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  const E& error() const {
    assert(!ok_);
    return error_;
  }
  Failure<E> failure() && { return Failure<E>(std::move(error_)); }

 private:
  bool ok_;
  union {
    T value_;
    E error_;
  };
};

template <class E>
class [[nodiscard]] Result<void, E> {
 public:
  Result() : ok_(true) {}
  Result(Failure<E> failure) : ok_(false) {  // NOLINT: implicit by design
    new (&error_) E(std::move(failure).take());
  }
  Result(Result&& o) noexcept : ok_(o.ok_) {
    if (!ok_) new (&error_) E(std::move(o.error_));
  }
  Result(const Result&) = delete;
  Result& operator=(const Result&) = delete;
  Result& operator=(Result&& o) noexcept {
    if (this != &o) {
      this->~Result();
      new (this) Result(std::move(o));
    }
    return *this;
  }
  ~Result() {
    if (!ok_) error_.~E();
  }

  bool ok() const { return ok_; }
  explicit operator bool() const { return ok_; }
  const E& error() const {
    assert(!ok_);
    return error_;
  }
  Failure<E> failure() && { return Failure<E>(std::move(error_)); }

 private:
  bool ok_ = true;
  union {
    E error_;
  };
};

// Returns from the calling function when `expr` failed.
#define CUPEL_TRY(expr)                                                                     \
  do {                                                                                      \
    if (auto cupel_try_ = (expr); !cupel_try_.ok()) return std::move(cupel_try_).failure(); \
  } while (false)

}  // namespace cupel
