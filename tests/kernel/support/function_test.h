// SPDX-License-Identifier: Apache-2.0
// What tests of declared functions stand on: the thread that attaches them, told what each cgroup asks for.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "agent/base/clock.h"
#include "agent/functions/functions.h"
#include "agent/functions/rules.h"
#include "bpf/modules/function/function.h"
#include "sonde/histogram.h"
#include "tests/kernel/support/held_process.h"
#include "tests/kernel/support/kernel_test.h"
#include "tests/kernel/support/pod.h"

namespace sonde::test {

inline std::string own_path() { return std::filesystem::read_symlink("/proc/self/exe").string(); }

inline std::string own_header() {
  std::string bytes(64, '\0');
  std::ifstream("/proc/self/exe", std::ios::binary).read(bytes.data(), 64);
  return bytes;
}

inline int bucket_of(uint64_t ns) { return static_cast<int>(sonde_hist_index(ns)); }

class TemporaryFiles {
 public:
  TemporaryFiles() {
    std::string name = "/tmp/sonde-function-XXXXXX";
    if (mkdtemp(name.data())) directory_ = name;
  }
  ~TemporaryFiles() { std::filesystem::remove_all(directory_); }
  TemporaryFiles(const TemporaryFiles&) = delete;
  TemporaryFiles& operator=(const TemporaryFiles&) = delete;
  const std::string& directory() const { return directory_; }
  std::string add(const std::string& name, const std::string& content) const {
    std::ofstream(directory_ + "/" + name, std::ios::binary) << content;
    return directory_ + "/" + name;
  }

 private:
  std::string directory_;
};

class FunctionTest : public KernelTest {
 protected:
  EngineOptions options() const override { return only("function"); }
  void SetUp() override {
    KernelTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    FunctionsOptions options;
    options.cgroup_root = cgroup_root();
    options.most_per_second = most_per_second();
    options.hot_rest_ns = hot_rest_ns();
    if (Pod::wanted()) {
      options.cgroup_root = Pod::get().cgroup_root();
      options.proc_root = Pod::get().proc_root();
      process_ = std::make_unique<PodProcess>();  // its thread attaches, and lives as long as it does
    }
    in_its_process([&] { functions_ = std::make_unique<Functions>(engine(), options); });
  }
  void TearDown() override {
    in_its_process([&] { functions_.reset(); });
    process_.reset();
    KernelTest::TearDown();
  }
  virtual double most_per_second() const { return 1e9; }
  virtual uint64_t hot_rest_ns() const { return 60'000'000'000; }

  Functions& functions() { return *functions_; }

  static FunctionRequest function(const std::string& name, const std::string& symbol, std::vector<std::string> measure,
                                  int bytes_argument = 0) {
    FunctionRequest request;
    request.name = name;
    request.type = "Uprobe";
    request.path = own_path();
    request.symbol = symbol;
    request.measure = std::move(measure);
    if (bytes_argument) request.bytes_argument = bytes_argument;
    return request;
  }

  Cgroup& cgroup(const std::string& name) {
    Cgroup& made = KernelTest::cgroup(name);
    known_.push_back(&made);
    return made;
  }

  // What this cgroup asks for from now on; the others as before. Nothing: it is not selected any more.
  void ask(const Cgroup& cgroup, const std::vector<FunctionRequest>& requests) {
    set(cgroup, requests);
    tell();
  }
  void ask_all(const std::vector<FunctionRequest>& requests) {
    for (const Cgroup* one : known_) set(*one, requests);
    tell();
  }

  // Waits until so many functions are attached in it.
  bool attached(const Cgroup& cgroup, uint32_t wanted) {
    return eventually([&] {
      uint32_t n = 0;
      for (const FunctionReport& one : functions_->reports()) n += one.policy == cgroup.path() && one.attached;
      return n >= wanted;
    });
  }

  // Over all cgroups, each of which is a policy of its own.
  FunctionReport report(const std::string& name) const {
    FunctionReport sum;
    for (const FunctionReport& one : functions_->reports()) {
      if (one.name != name) continue;
      sum.attached += one.attached;
      sum.asked += one.asked;
      if (!one.hook.empty()) sum.hook = one.hook;
      if (one.refusal == Refusal::None) continue;
      sum.refusal = one.refusal;
      sum.message = one.message;
    }
    return sum;
  }
  std::string problems() const {
    std::string all;
    for (const FunctionReport& one : functions_->reports()) {
      all += one.name + " attached " + std::to_string(one.attached) + " " + one.message + "\n";
    }
    return all;
  }

 private:
  void set(const Cgroup& cgroup, const std::vector<FunctionRequest>& requests) {
    uint8_t flags = 0;
    auto decision = std::make_shared<Decision>();
    decision->selected = !requests.empty();
    decision->probes.resize(modules().size());
    for (const FunctionRequest& request : requests) {
      flags |= measures_of(request);
      decision->functions.push_back({request, cgroup.path()});
    }
    decision->probes[module_id("function")].flags = flags;
    const uint32_t slot = select(cgroup, {{"function", flags}});
    Subject subject;
    subject.cgroup_path = cgroup.path();
    subject.cgroup_id = cgroup.id();
    identity_.slots[slot] = {std::make_shared<const Subject>(subject), 0, "", false};
    decisions_.slots[slot] = decision;
  }
  void tell() {
    functions_->update(std::make_shared<const IdentitySnapshot>(identity_),
                       std::make_shared<const PolicySnapshot>(decisions_));
  }

  void in_its_process(const std::function<void()>& work) {
    if (process_) {
      process_->call(work);
    } else {
      work();
    }
  }

  std::unique_ptr<PodProcess> process_;  // none outside the pod
  std::unique_ptr<Functions> functions_;
  std::vector<const Cgroup*> known_;
  IdentitySnapshot identity_;
  PolicySnapshot decisions_;
};

}  // namespace sonde::test
