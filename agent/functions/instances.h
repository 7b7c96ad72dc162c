// SPDX-License-Identifier: Apache-2.0
// Declared functions in files: each pair of the two is an instance, resolved and attached once, whoever asks for it.
// Belongs to the thread of Functions.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "agent/kernel/function_probes.h"
#include "agent/policy/policy.h"
#include "agent/symbols/image.h"
#include "agent/symbols/locate.h"

namespace sonde {

// Two files with equal keys are the same. Containers of one image see the same file through different mounts; there device
// numbers differ, and what tells files apart is the rest.
struct FileKey {
  uint64_t inode = 0, size = 0, modified_ns = 0, changed_ns = 0;
  auto operator<=>(const FileKey&) const = default;
};
FileKey key_of(const LocatedFile& file);

struct Instance {
  uint32_t id = 0;
  FunctionRequest request;
  FileKey file;       // all 0: the kernel
  Refusal refusal = Refusal::None;
  std::string detail;  // more about the refusal: what the kernel said
  ProbeLinks links;
  std::set<uint32_t> slots;
  uint64_t hits = 0;        // at the last look
  uint64_t module_seen = 0;  // of a function in a kernel module: which loading of it

  bool attached() const { return !links.empty(); }
};
using InstancePtr = std::shared_ptr<Instance>;

class FunctionInstances {
 public:
  explicit FunctionInstances(FunctionProbes& probes) : probes_(probes) {}

  // The instances of these functions in this file, resolved and attached as far as they can be.
  std::vector<InstancePtr> in_file(const LocatedFile& file, const std::vector<const FunctionRequest*>& requests);
  InstancePtr in_kernel(const FunctionRequest& request);

  void use(const InstancePtr& instance, uint32_t slot);
  // The slot does not ask for it any more; who asks last detaches it.
  void leave(const InstancePtr& instance, uint32_t slot);
  // Detaches what was hit more often than `most_per_second` since the last call. True if something was.
  bool detach_hot(double seconds, double most_per_second);

  std::size_t attached() const;

 private:
  using Key = std::tuple<FileKey, std::string>;
  InstancePtr find_or_make(const FileKey& file, const FunctionRequest& request, bool& made);
  void resolve(const LocatedFile& file, const std::vector<InstancePtr>& fresh);
  void attach(const LocatedFile& file, const ImageAnswer& answer, uint32_t query, Instance& instance);
  void attach_kernel(Instance& instance);
  void define(const Instance& instance, bool go);
  bool return_probes_work();

  FunctionProbes& probes_;
  std::map<Key, InstancePtr> instances_;
  std::vector<bool> taken_ = std::vector<bool>(FUNCTION_INSTANCES);
  uint32_t next_ = 0;
  int return_probes_ = -1;  // not yet tried
  std::string return_probes_detail_;
};

}  // namespace sonde
