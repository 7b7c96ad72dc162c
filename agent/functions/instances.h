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

#include "agent/functions/kernel_names.h"
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
  FileKey file;  // all 0: the kernel
  Refusal refusal = Refusal::None;
  std::string detail;  // more about the refusal: what the kernel said
  ProbeLinks links;
  KernelProbe kernel;     // of a kernel function, in place of links
  std::string_view hook;  // in use: "uprobe", "fentry and fexit", …
  std::set<uint32_t> slots;
  uint64_t hits = 0;         // at the last look
  std::string module;        // of a kernel function: in which kernel module it is
  uint64_t loading = 0;      // and which loading of that
  uint64_t names = 0;        // version() of the names by which it was refused
  uint64_t attached_ns = 0;  // CLOCK_BOOTTIME
  uint64_t hot_rest_ns = 0;  // TooHot: how long it rests, and until when
  uint64_t hot_until_ns = 0;

  bool attached() const { return !links.empty() || !kernel.links.empty(); }
};
using InstancePtr = std::shared_ptr<Instance>;

class FunctionInstances {
 public:
  // `hot_rest_ns`: how long a function that was hit too often is left alone the first time; each further time twice that.
  FunctionInstances(FunctionProbes& probes, uint64_t hot_rest_ns) : probes_(probes), hot_rest_ns_(hot_rest_ns) {}

  // The instances of these functions in this file, resolved and attached as far as they can be.
  std::vector<InstancePtr> in_file(const LocatedFile& file, const std::vector<const FunctionRequest*>& requests);
  InstancePtr in_kernel(const FunctionRequest& request);

  void use(const InstancePtr& instance, uint32_t slot);
  // The slot does not ask for it any more; who asks last detaches it.
  void leave(const InstancePtr& instance, uint32_t slot);
  // Detaches what was hit more often than `most_per_second` since the last call. True if something was.
  bool detach_hot(double seconds, double most_per_second);

  // Were kernel modules loaded or unloaded since the last call?
  bool kernel_changed() { return names_.changed(); }
  void kernel_unasked() { names_.forget(); }  // nobody asks for functions of the kernel any more

  std::size_t attached() const;
  // Calls of kernel functions that the kernel left out, so far.
  uint64_t missed() const;

 private:
  using Key = std::tuple<FileKey, std::string>;
  InstancePtr find_or_make(const FileKey& file, const FunctionRequest& request, bool& made);
  void resolve(const LocatedFile& file, const std::vector<InstancePtr>& fresh);
  void attach(const LocatedFile& file, const ImageAnswer& answer, uint32_t query, Instance& instance);
  void attach_kernel(Instance& instance);
  Refusal check_kernel(Instance& instance);
  void detach(Instance& instance);
  void define(const Instance& instance, bool go);
  bool return_probes_work();

  FunctionProbes& probes_;
  uint64_t hot_rest_ns_;
  KernelNames names_;
  uint64_t missed_ = 0;  // of those detached
  std::map<Key, InstancePtr> instances_;
  std::vector<bool> taken_ = std::vector<bool>(FUNCTION_INSTANCES);
  uint32_t next_ = 0;
  int return_probes_ = -1;  // not yet tried
  std::string return_probes_detail_;
};

}  // namespace sonde
