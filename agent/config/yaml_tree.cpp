// SPDX-License-Identifier: Apache-2.0
#include "agent/config/yaml_tree.h"

#include <spdlog/fmt/fmt.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <istream>
#include <streambuf>

#include "agent/base/text.h"
#include "agent/base/utf8.h"

namespace sonde {

namespace {

struct Refused {
  int line;
  int column;
  std::string sentence;
};

class Builder : public YAML::EventHandler {
 public:
  std::vector<YamlNode> documents;

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    add(make(mark, anchor, "", YamlNode::Kind::Null));
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    throw Refused{mark.line + 1, mark.column + 1, "aliases are not allowed, write out the value"};
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    YamlNode node = make(mark, anchor, tag, YamlNode::Kind::Scalar);
    node.quoted = tag == "!";
    node.text = value;
    add(std::move(node));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open_.push_back(make(mark, anchor, tag, YamlNode::Kind::Sequence));
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open_.push_back(make(mark, anchor, tag, YamlNode::Kind::Map));
    keys_.emplace_back();
  }
  void OnMapEnd() override {
    keys_.pop_back();
    close();
  }

 private:
  YamlNode make(const YAML::Mark& mark, YAML::anchor_t anchor, const std::string& tag, YamlNode::Kind kind) {
    YamlNode node;
    node.kind = kind;
    // An empty value has no place of its own.
    node.line = std::max(mark.line, 0) + 1;
    node.column = std::max(mark.column, 0) + 1;
    if (anchor != 0) throw Refused{node.line, node.column, "anchors are not allowed, write out the value"};
    if (!tag.empty() && tag != "?" && tag != "!") {
      throw Refused{node.line, node.column, fmt::format("the tag {} is not allowed", one_line(tag))};
    }
    if (open_.size() >= kYamlMaxDepth) {
      throw Refused{node.line, node.column, fmt::format("nested deeper than {} levels", kYamlMaxDepth)};
    }
    if (++nodes_ > kYamlMaxNodes) {
      throw Refused{node.line, node.column, fmt::format("more than {} values", kYamlMaxNodes)};
    }
    return node;
  }

  void close() {
    YamlNode node = std::move(open_.back());
    open_.pop_back();
    add(std::move(node));
  }

  void add(YamlNode node) {
    if (open_.empty()) {
      if (node.kind != YamlNode::Kind::Null) documents.push_back(std::move(node));
      return;
    }
    YamlNode& parent = open_.back();
    if (parent.kind == YamlNode::Kind::Sequence) {
      parent.items.push_back(std::move(node));
      return;
    }
    Key& key = keys_.back();
    if (!key.waiting) {
      if (node.kind != YamlNode::Kind::Scalar) throw Refused{node.line, node.column, "a key must be a word"};
      if (node.text == "<<" && !node.quoted) {
        throw Refused{node.line, node.column, "merge keys (<<) are not allowed, write out the fields"};
      }
      if (parent.find(node.text)) {
        throw Refused{node.line, node.column, describe(node) + " is given twice"};
      }
      key.node = std::move(node);
      key.waiting = true;
      return;
    }
    if (node.kind == YamlNode::Kind::Null) {  // yaml-cpp puts it at the next word
      node.line = key.node.line;
      node.column = key.node.column;
    }
    parent.entries.push_back({std::move(key.node), std::move(node)});
    key = {};
  }

  struct Key {
    YamlNode node;
    bool waiting = false;
  };
  std::vector<YamlNode> open_;
  std::vector<Key> keys_;  // one per open map
  std::size_t nodes_ = 0;
};

// Reads memory in place: no copy of the text.
struct MemoryBuffer : std::streambuf {
  explicit MemoryBuffer(std::string_view text) {
    char* begin = const_cast<char*>(text.data());  // NOLINT: never written, see setg
    setg(begin, begin, begin + text.size());
  }
};

// From 1; 0: all of it is UTF-8. (yaml-cpp would replace the rest, and take UTF-16 and UTF-32 for what they are.)
int first_line_not_utf8(std::string_view text) {
  for (int line = 1; !text.empty(); ++line) {
    const std::size_t end = text.find('\n');
    if (!is_utf8(text.substr(0, end))) return line;
    text = end == std::string_view::npos ? "" : text.substr(end + 1);
  }
  return 0;
}

}  // namespace

const YamlNode* YamlNode::find(std::string_view key) const {
  for (const auto& [name, value] : entries) {
    if (name.text == key) return &value;
  }
  return nullptr;
}

Result<std::vector<YamlNode>> parse_yaml(std::string_view text, const std::string& name) {
  if (text.size() > kYamlMaxBytes) {
    return Error(fmt::format("{}:1:1: larger than {} bytes", name, kYamlMaxBytes));
  }
  if (auto zero = text.find('\0'); zero != std::string_view::npos) {
    auto line = std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(zero), '\n') + 1;
    return Error(fmt::format("{}:{}:1: not a text file", name, line));
  }
  if (const int line = first_line_not_utf8(text)) {
    return Error(fmt::format("{}:{}:1: not UTF-8 text: save the file in UTF-8", name, line));
  }
  Builder builder;
  try {
    MemoryBuffer buffer(text);
    std::istream stream(&buffer);
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const Refused& refused) {
    return Error(fmt::format("{}:{}:{}: {}", name, refused.line, refused.column, refused.sentence));
  } catch (const YAML::Exception& failed) {
    return Error(fmt::format("{}:{}:{}: not valid YAML: {}", name, std::max(failed.mark.line, 0) + 1,
                             std::max(failed.mark.column, 0) + 1, one_line(failed.msg)));
  } catch (const std::exception& failed) {
    return Error(fmt::format("{}:1:1: not valid YAML: {}", name, one_line(failed.what())));
  }
  return std::move(builder.documents);
}

std::string describe(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::Null: return "nothing";
    case YamlNode::Kind::Sequence: return "a list";
    case YamlNode::Kind::Map: return "a map";
    case YamlNode::Kind::Scalar: break;
  }
  return "'" + one_line(node.text) + "'";
}

}  // namespace sonde
