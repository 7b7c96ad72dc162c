// SPDX-License-Identifier: Apache-2.0
// Declared functions in files: each pair of the two is an instance, resolved and attached once for all requesters.
// Belongs to the thread of Functions.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "agent/functions/anchor.h"
#include "agent/functions/kernel_names.h"
#include "agent/kernel/function_probes.h"
#include "agent/policy/policy.h"
#include "agent/symbols/image.h"
#include "agent/symbols/locate.h"

namespace sonde {

// Two files with equal keys are the same to the kernel's uprobes. Containers of one image see the same file through different
// mounts, with other device numbers; copies of a file system have files that are alike in all but the inode. So the key is the
// inode as the kernel has it, and what changes when the file is rewritten. Where the kernel does not tell its inode, a file
// that several containers share has several keys: it is probed more than once, and counted right.
struct FileKey {
  uint64_t address = 0;  // of the inode in the kernel, as long as something is attached to it; 0: not known
  uint64_t device = 0, inode = 0, size = 0, modified_ns = 0, changed_ns = 0;
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
  AnchorPtr anchor;       // of links: the process that shows the file they were attached by
  uint8_t edition = 0;    // of links: see function_instance
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
  // The links keep a mount that nobody uses any more.
  bool orphaned() const { return !links.empty() && anchor->gone(); }
};
using InstancePtr = std::shared_ptr<Instance>;

class FunctionInstances {
 public:
  // `hot_rest_ns`: how long a function that was hit too often is left alone the first time; each further time twice that.
  FunctionInstances(FunctionProbes& probes, const std::string& proc_root, uint64_t hot_rest_ns)
      : probes_(probes), anchors_(proc_root), hot_rest_ns_(hot_rest_ns) {}

  // The instances of these functions in this file, resolved and attached as far as they can be. One that is orphaned is
  // attached by this file and only then detached from where it was, so that nothing is missed but, on each CPU, the call that
  // enters or returns in the very moment.
  // `carriers`: null where the file has no such function, which is remembered.
  std::vector<InstancePtr> in_file(const LocatedFile& file, const std::vector<const FunctionRequest*>& requests,
                                   bool carriers = false);
  InstancePtr in_kernel(const FunctionRequest& request);

  void use(const InstancePtr& instance, uint32_t slot);
  // The slot no longer requests it; the last one to leave detaches it.
  void leave(const InstancePtr& instance, uint32_t slot);
  std::vector<InstancePtr> orphans() const;
  // No living process shows its file: it is detached until one does.
  void let_go(Instance& instance);
  // Detaches what was hit more often than `most_per_second` since the last call. True if something was.
  bool detach_hot(double seconds, double most_per_second);

  // Were kernel modules loaded or unloaded since the last call?
  bool kernel_changed() { return names_.changed(); }
  void kernel_unasked() { names_.forget(); }  // kernel functions are no longer requested

  std::size_t attached() const;
  // Calls of kernel functions that the kernel left out, so far.
  uint64_t missed() const;

 private:
  using Key = std::tuple<FileKey, std::string>;
  InstancePtr find_or_make(const FileKey& file, const FunctionRequest& request, bool& made);
  void resolve(const LocatedFile& file, const std::vector<InstancePtr>& fresh);
  bool forget_if_absent(const FileKey& file, const InstancePtr& instance);
  void attach(const LocatedFile& file, const ImageAnswer& answer, uint32_t query, Instance& instance);
  void attach_kernel(Instance& instance);
  Refusal check_kernel(Instance& instance);
  void detach(Instance& instance);
  void define(const Instance& instance, bool go);
  bool return_probes_work();

  FunctionProbes& probes_;
  Anchors anchors_;
  uint64_t hot_rest_ns_;
  KernelNames names_;
  uint64_t missed_ = 0;  // of those detached
  std::map<Key, InstancePtr> instances_;
  std::set<Key> absent_;  // files without a function that any file may have
  std::vector<bool> taken_ = std::vector<bool>(FUNCTION_INSTANCES);
  uint32_t next_ = 0;
  int return_probes_ = -1;  // not yet tried
  std::string return_probes_detail_;
};

}  // namespace sonde
