#include "scenarios/language/yaml_tree.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <map>
#include <sstream>
#include <utility>

namespace cupel::scenarios {
namespace {

using NodePtr = std::shared_ptr<const YamlNode>;

Position position(const YAML::Mark& mark) {
  if (mark.is_null()) return {};
  return {static_cast<uint32_t>(mark.line) + 1, static_cast<uint32_t>(mark.column) + 1};
}

// Ends parsing from inside an event; yaml-cpp lets it through.
struct Refused {
  Problem problem;
};
[[noreturn]] void refuse(Position where, std::string message, std::string hint) {
  throw Refused{{Severity::error, where, std::move(message), std::move(hint)}};
}

class TreeBuilder : public YAML::EventHandler {
 public:
  explicit TreeBuilder(const YamlLimits& limits) : limits_(limits) {}

  NodePtr take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (root_) {
      refuse(position(mark), "a second document starts here", "keep one scenario in one file");
    }
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    add(leaf(YamlNode::Kind::null, mark, {}), anchor);
  }
  void OnScalar(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                const std::string& value) override {
    add(leaf(YamlNode::Kind::scalar, mark, value), anchor);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end()) {
      refuse(position(mark), "this alias stands for a part that contains itself",
             "write the part out instead");
    }
    // A copy of the node's top, so that messages point at the place of use.
    auto node = std::make_shared<YamlNode>(*found->second);
    node->where = position(mark);
    add(std::move(node), 0);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(YamlNode::Kind::sequence, mark, anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(YamlNode::Kind::map, mark, anchor);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Open {
    std::shared_ptr<YamlNode> node;
    YAML::anchor_t anchor;
    bool has_key = false;
  };

  static std::shared_ptr<YamlNode> leaf(YamlNode::Kind kind, const YAML::Mark& mark,
                                        std::string text) {
    auto node = std::make_shared<YamlNode>();
    node->kind = kind;
    node->where = position(mark);
    node->text = std::move(text);
    return node;
  }

  void open(YamlNode::Kind kind, const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (open_.size() >= limits_.depth) {
      refuse(position(mark), "nested deeper than " + std::to_string(limits_.depth) + " levels",
             "a scenario needs fewer than ten; is a bracket missing?");
    }
    open_.push_back({leaf(kind, mark, {}), anchor});
  }

  void close() {
    Open done = std::move(open_.back());
    open_.pop_back();
    add(std::move(done.node), done.anchor);
  }

  void add(std::shared_ptr<YamlNode> node, YAML::anchor_t anchor) {
    if (anchor != 0) anchors_[anchor] = node;
    if (open_.empty()) {
      root_ = std::move(node);
      return;
    }
    Open& parent = open_.back();
    count(parent, *node);
    if (parent.node->kind == YamlNode::Kind::sequence) {
      parent.node->items.push_back(std::move(node));
    } else if (parent.has_key) {
      parent.node->entries.back().value = std::move(node);
      parent.has_key = false;
    } else {
      if (node->kind != YamlNode::Kind::scalar) {
        refuse(node->where,
               "a key must be a single word, not " + std::string(to_string(node->kind)),
               "write 'key: value'");
      }
      parent.node->entries.push_back({node->where, node->text, nullptr});
      parent.has_key = true;
    }
  }

  // All open nodes together weigh what the finished document will weigh at least.
  void count(Open& parent, const YamlNode& child) {
    parent.node->weight += child.weight;
    size_t total = 0;
    for (const Open& open : open_) total += open.node->weight;
    if (total > limits_.nodes) {
      refuse(child.where,
             "more than " + std::to_string(limits_.nodes) +
                 " values, aliases counted with what they stand for",
             "make the scenario smaller");
    }
  }

  const YamlLimits limits_;
  NodePtr root_;
  std::vector<Open> open_;
  std::map<YAML::anchor_t, NodePtr> anchors_;
};

NodePtr build(std::string_view text, const YamlLimits& limits) {
  if (text.size() > limits.bytes) {
    refuse({},
           "the file has " + std::to_string(text.size()) + " bytes; the most is " +
               std::to_string(limits.bytes),
           "make the scenario smaller");
  }
  if (const size_t nul = text.find('\0'); nul != std::string_view::npos) {
    refuse({}, "byte " + std::to_string(nul) + " is zero: this is not a text file",
           "a scenario is YAML in UTF-8");
  }
  std::istringstream stream{std::string(text)};
  YAML::Parser parser(stream);
  TreeBuilder builder(limits);
  while (parser.HandleNextDocument(builder)) {
  }
  auto root = builder.take();
  if (!root) refuse({1, 1}, "the file is empty", "start from one in scenarios/library");
  return root;
}

}  // namespace

std::string_view to_string(YamlNode::Kind kind) {
  switch (kind) {
    case YamlNode::Kind::null:
      return "nothing";
    case YamlNode::Kind::scalar:
      return "a single value";
    case YamlNode::Kind::sequence:
      return "a list";
    case YamlNode::Kind::map:
      return "a mapping";
  }
  return "nothing";
}

Result<NodePtr, Problem> parse_yaml(std::string_view text, const YamlLimits& limits) {
  try {
    return build(text, limits);
  } catch (Refused& refused) {
    return Failure(std::move(refused.problem));
  } catch (const YAML::Exception& e) {
    return Failure(Problem{Severity::error, position(e.mark), "not valid YAML: " + e.msg,
                           "check indentation, colons and brackets here and in the line above"});
  } catch (const std::exception& e) {
    return Failure(Problem{Severity::error,
                           {},
                           std::string("cannot be read as YAML: ") + e.what(),
                           "a scenario is YAML in UTF-8"});
  }
}

}  // namespace cupel::scenarios
