#include "core/result.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "core/error.h"

namespace cupel {
namespace {

// Counts live objects, to see that every Result destroys exactly what it holds.
struct Counted {
  static inline int alive = 0;
  explicit Counted(int v) : value(v) { ++alive; }
  Counted(Counted&& o) noexcept : value(o.value) { ++alive; }
  Counted& operator=(Counted&&) = default;
  ~Counted() { --alive; }
  int value;
};

Result<int> half(int n) {
  if (n % 2 != 0) return fail(ErrorKind::bad_input, "odd", "use an even number");
  return n / 2;
}
Result<std::string> describe_half(int n) {
  CUPEL_TRY(half(n));
  return std::string("fine");
}

TEST(Result, HoldsAValueOrAnError) {
  const auto good = half(8);
  ASSERT_TRUE(good.ok());
  EXPECT_TRUE(static_cast<bool>(good));
  EXPECT_EQ(good.value(), 4);
  const auto bad = half(7);
  ASSERT_FALSE(bad.ok());
  EXPECT_EQ(bad.error().kind, ErrorKind::bad_input);
  EXPECT_EQ(bad.error().hint, "use an even number");
}

TEST(Result, TryPassesTheErrorOnToAnotherType) {
  EXPECT_TRUE(describe_half(2).ok());
  const auto bad = describe_half(3);
  ASSERT_FALSE(bad.ok());
  EXPECT_EQ(bad.error().message, "odd");
}

TEST(Result, CarriesMoveOnlyValues) {
  Result<std::unique_ptr<int>> r = std::make_unique<int>(5);
  EXPECT_EQ(**r, 5);
  const std::unique_ptr<int> taken = std::move(r).value();
  EXPECT_EQ(*taken, 5);
}

TEST(Result, DestroysWhatItHoldsOnce) {
  {
    Result<Counted> a = Counted(1);
    Result<Counted> b = std::move(a);
    EXPECT_EQ(b->value, 1);
    b = Result<Counted>(fail(ErrorKind::guest, "gone"));
    EXPECT_FALSE(b.ok());
    b = Result<Counted>(Counted(2));
    EXPECT_EQ(b->value, 2);
  }
  EXPECT_EQ(Counted::alive, 0);
}

TEST(Result, OfNothingSucceedsByDefault) {
  Result<void> r;
  EXPECT_TRUE(r.ok());
  r = Result<void>(fail(ErrorKind::internal, "broken"));
  EXPECT_FALSE(r.ok());
  r = Result<void>();
  EXPECT_TRUE(r.ok());
}

TEST(Error, KindsHaveTheirExitCodes) {
  EXPECT_EQ(exit_code(ErrorKind::bad_input), 2);
  EXPECT_EQ(exit_code(ErrorKind::environment), 3);
  EXPECT_EQ(exit_code(ErrorKind::guest), 4);
  EXPECT_EQ(exit_code(ErrorKind::internal), 5);
}

TEST(Error, DescribesWhatHappenedAndWhatToDo) {
  EXPECT_EQ(describe({ErrorKind::bad_input, "no such image", "give a path"}),
            "bad input: no such image\n  -> give a path");
  EXPECT_EQ(describe({ErrorKind::guest, "triple fault", ""}), "guest: triple fault");
}

}  // namespace
}  // namespace cupel
