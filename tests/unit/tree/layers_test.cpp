// SPDX-License-Identifier: Apache-2.0
// Who may include what: the layers and the library borders of docs/dev/architecture.md.
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <set>

#include "tests/unit/tree/files.h"

namespace sonde::tree {
namespace {

using Names = std::set<std::string>;

// base <- {module, slots} <- {identity, policy, kernel, pipeline} <- {export, config, api, kube} <- runtime <- cli, main, and the
// siblings that may see each other.
const std::map<std::string, Names>& allowed_layers() {
  static const Names middle = {"base", "module", "identity", "policy", "kernel", "pipeline"};
  const auto with = [](Names names, const Names& more) {
    names.insert(more.begin(), more.end());
    return names;
  };
  static const std::map<std::string, Names> allowed = {
      {"base", {"base"}},
      {"module", {"base", "module"}},
      {"symbols", {"base", "symbols"}},
      {"slots", {"slots"}},
      {"identity", {"base", "module", "identity"}},
      {"policy", {"base", "module", "identity", "policy"}},
      {"kernel", {"base", "module", "symbols", "slots", "kernel"}},
      {"pipeline", {"base", "module", "identity", "policy", "pipeline"}},
      {"export", with(middle, {"export"})},
      {"config", with(middle, {"config", "export"})},
      {"api", with(middle, {"api", "export"})},
      {"kube", with(middle, {"kube", "api", "export"})},
      {"functions", with(middle, {"symbols", "functions"})},
      {"runtime", with(middle, {"symbols", "slots", "functions", "export", "config", "api", "kube", "runtime"})},
      {"operator", with(middle, {"config", "kube", "operator"})},
      {"cli", with(middle, {"export", "config", "api", "kube", "runtime", "operator", "cli"})},
      {"main", with(middle, {"export", "config", "api", "kube", "runtime", "operator", "cli"})},
  };
  return allowed;
}

struct Library {
  std::string name;
  std::vector<std::string> prefixes;  // of what is included
  Names layers;                       // of agent/
};

const std::vector<Library>& libraries() {
  static const std::vector<Library> all = {
      {"libbpf", {"bpf/bpf.h", "bpf/libbpf", "bpf/btf.h", "linux/bpf.h", "linux/btf.h"}, {"kernel", "module"}},
      {"cpprest", {"cpprest/", "pplx/"}, {"kube", "api"}},
      {"gRPC", {"grpcpp/", "grpc/", "grpc++/"}, {"export", "api"}},
      {"yaml-cpp", {"yaml-cpp/"}, {"config"}},
      {"zydis", {"Zydis/"}, {"symbols"}},
      {"CLI11", {"CLI/"}, {"cli", "main"}},
  };
  return all;
}

std::string where(const SourceFile& file, const Include& include) {
  return file.path + ":" + std::to_string(include.line) + " includes " + include.name;
}

TEST(Layers, EveryFolderOfTheAgentIsOne) {
  for (const SourceFile& file : sources()) {
    const std::string layer = file.layer();
    if (layer.empty()) continue;
    EXPECT_TRUE(allowed_layers().contains(layer)) << file.path << ": agent/" << layer << " is not a layer";
  }
}

TEST(Layers, IncludeOnlyThoseBelow) {
  for (const SourceFile& file : sources()) {
    const auto allowed = allowed_layers().find(file.layer());
    if (allowed == allowed_layers().end()) continue;
    for (const Include& include : includes_of(file)) {
      if (!include.name.starts_with("agent/")) continue;
      const std::string target = SourceFile{include.name, {}}.layer();
      EXPECT_TRUE(allowed->second.contains(target))
          << where(file, include) << ": " << allowed->first << " must not see " << target;
    }
  }
}

TEST(Layers, LibrariesStayBehindTheirBorder) {
  for (const SourceFile& file : sources()) {
    const std::string layer = file.layer();
    if (layer.empty()) continue;
    for (const Include& include : includes_of(file)) {
      for (const Library& library : libraries()) {
        for (const std::string& prefix : library.prefixes) {
          if (!include.name.starts_with(prefix)) continue;
          EXPECT_TRUE(library.layers.contains(layer))
              << where(file, include) << ": " << library.name << " is not for agent/" << layer;
        }
      }
    }
  }
}

TEST(Layers, ModulesSeeTheContractOnly) {
  static const Names allowed = {"base", "module"};
  for (const SourceFile& file : sources()) {
    if (!file.under("bpf/modules/") || file.path.ends_with("_test.cpp")) continue;
    for (const Include& include : includes_of(file)) {
      if (!include.name.starts_with("agent/")) continue;
      EXPECT_TRUE(allowed.contains(SourceFile{include.name, {}}.layer()))
          << where(file, include) << ": a module knows agent/base and agent/module";
    }
  }
}

TEST(Layers, IncludesAreRootedAtTheTop) {
  static const Names tops = {"agent", "bpf", "tests"};
  for (const SourceFile& file : sources()) {
    if (file.layer().empty() && !file.under("tests/")) continue;
    for (const Include& include : includes_of(file)) {
      if (include.angled) continue;
      // Two more are found beside the top: generated headers, and those shared with the kernel side.
      const bool generated = include.name.ends_with(".pb.h") || include.name.ends_with(".skel.h");
      if (include.name.starts_with("sonde/") && std::filesystem::exists(top() / "bpf/include" / include.name)) continue;
      EXPECT_TRUE(generated || tops.contains(include.name.substr(0, include.name.find('/'))))
          << where(file, include) << ": write the path from the top of the tree";
      EXPECT_TRUE(generated || std::filesystem::exists(top() / include.name)) << where(file, include) << ": not there";
    }
  }
}

TEST(Layers, AgentDoesNotIncludeTests) {
  for (const SourceFile& file : sources()) {
    if (file.layer().empty()) continue;
    for (const Include& include : includes_of(file))
      EXPECT_FALSE(include.name.starts_with("tests/")) << where(file, include);
  }
}

}  // namespace
}  // namespace sonde::tree
