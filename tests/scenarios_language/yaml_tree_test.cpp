#include "scenarios/language/yaml_tree.h"

#include <gtest/gtest.h>

namespace cupel::scenarios {
namespace {

std::string message(const std::string& text, const YamlLimits& limits = {}) {
  auto result = parse_yaml(text, limits);
  return result.ok() ? "ok" : result.error().message;
}

TEST(YamlTree, NodesKnowTheirPlace) {
  const auto root = parse_yaml("a: 1\nb:\n  - x\n  - {c: d}\n");
  ASSERT_TRUE(root.ok());
  ASSERT_EQ(root.value()->entries.size(), 2u);
  EXPECT_EQ(root.value()->entries[1].where, (Position{2, 1}));
  const auto& list = *root.value()->entries[1].value;
  EXPECT_EQ(list.items[0]->where, (Position{3, 5}));
  EXPECT_EQ(list.items[1]->entries[0].where, (Position{4, 6}));
}

TEST(YamlTree, SyntaxErrorsHaveAPlace) {
  const auto result = parse_yaml("a: 1\nb: [1, 2\n");
  ASSERT_FALSE(result.ok());
  EXPECT_GT(result.error().where.line, 0u);
}

TEST(YamlTree, NestsOfAliasesAreRefusedNotExpanded) {
  std::string text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
  for (int i = 1; i < 12; ++i) {
    const auto n = std::to_string(i), p = std::to_string(i - 1);
    text += "a" + n + ": &a" + n + " [";
    for (int j = 0; j < 10; ++j) text += (j ? ",*a" : "*a") + p;
    text += "]\n";
  }
  EXPECT_NE(message(text).find("more than 20000 values"), std::string::npos);
}

TEST(YamlTree, AnAliasOfItsOwnPartIsRefused) {
  EXPECT_NE(message("a: &a [1, *a]\n").find("contains itself"), std::string::npos);
}

TEST(YamlTree, AnAliasStandsForItsPartAtItsOwnPlace) {
  const auto root = parse_yaml("a: &x {k: v}\nb: *x\n");
  ASSERT_TRUE(root.ok());
  EXPECT_EQ(root.value()->entries[1].value->where, (Position{2, 4}));
  EXPECT_EQ(root.value()->entries[1].value->entries[0].key, "k");
}

TEST(YamlTree, LimitsAreNamed) {
  EXPECT_NE(message(std::string(100, '[')).find("nested deeper than 32"), std::string::npos);
  EXPECT_NE(message(std::string(1 << 20, '[')).find("nested deeper than 32"), std::string::npos);
  EXPECT_NE(message(std::string((1 << 20) + 1, ' ')).find("the most is 1048576"),
            std::string::npos);
  EXPECT_NE(message("a: 1\n---\nb: 2\n").find("second document"), std::string::npos);
  EXPECT_NE(message("").find("empty"), std::string::npos);
  EXPECT_NE(message(std::string("a: \0b", 5)).find("not a text file"), std::string::npos);
  EXPECT_NE(message("[a]: b\n").find("key must be"), std::string::npos);
}

TEST(YamlTree, RubbishNeverThrows) {
  const std::string rubbish[] = {"%",
                                 "*x",
                                 "&",
                                 "!!!",
                                 "a: b: c",
                                 "\t- x",
                                 "- - - -",
                                 "? : ? :",
                                 "\xff\xfe\x00a",
                                 "|\n >",
                                 "{",
                                 "}",
                                 "]",
                                 "'",
                                 "\"\\x",
                                 "--- ---",
                                 "<<: *a",
                                 "a: !<",
                                 "? [",
                                 "%YAML 9.9\n---\na"};
  for (const auto& text : rubbish) (void)message(text);
  std::string mixed = "name: x\nhosts: [{name: a}]\n";
  for (size_t i = 0; i < mixed.size(); ++i) {
    for (const char c : {'{', '*', '\n', ':', '\x01', '\xff', '-', '"'}) {
      auto broken = mixed;
      broken[i] = c;
      (void)message(broken);
    }
  }
}

}  // namespace
}  // namespace cupel::scenarios
