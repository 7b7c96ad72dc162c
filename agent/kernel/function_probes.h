// SPDX-License-Identifier: Apache-2.0
// Attaches the programs of the function probe to places in files and to functions of the kernel, and tells the kernel side
// which slot asks for what. Who wants what and where it is: agent/functions/functions.h.
//
// Threads: any, one at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/fd.h"
#include "agent/base/result.h"
#include "agent/kernel/engine.h"
#include "agent/kernel/traced_functions.h"
#include "agent/module/mapped.h"
#include "agent/symbols/image.h"
#include "bpf/modules/function/function.h"

namespace sonde {

enum class FunctionProgram : uint8_t { Enter, Return, GoEnter, GoReturn, KernelEnter, KernelReturn };
inline constexpr std::size_t kFunctionPrograms = 6;

struct ProbePlace {
  uint64_t offset = 0;     // in the file
  uint64_t semaphore = 0;  // file offset of a USDT counter; 0: none
  uint64_t cookie = 0;     // function_cookie()
};
// `edition`: 0 to 7; see function_instance.
uint64_t function_cookie(uint32_t instance, const ArgumentPlace& argument, uint8_t edition = 0);

// Detaches when it goes.
using ProbeLinks = std::vector<Fd>;

// Probes at the entry of a function of the kernel and, if asked, at its end.
struct KernelProbe {
  ProbeLinks links;
  std::vector<Fd> programs;  // by fentry: of each link
  std::string_view hook;     // "fentry and fexit", "kprobe", …
  uint64_t missed() const;   // calls that the kernel left out so far
};

class FunctionProbes {
 public:
  // Error: the module is off or does not load.
  static Result<std::unique_ptr<FunctionProbes>> open(const Engine& engine);

  // All places or none. `file` need not stay open.
  Result<ProbeLinks> attach(FunctionProgram program, int file, std::span<const ProbePlace> places) const;
  // A function of the kernel or, as module:function, of a kernel module: by fentry where the kernel takes it and is not
  // preemptible, else by kprobe. Not by fentry in modules: it would keep them from being unloaded.
  Result<KernelProbe> attach_kernel(const std::string& symbol, bool with_return, uint32_t instance,
                                    int bytes_argument) const;
  // What the kernel's types say of it.
  std::optional<KernelSignature> signature(const std::string& symbol) const;
  bool attaches_many() const { return many_; }  // by one link per function (uprobe_multi, 6.6), not one per place
  bool has_kernel_probes() const { return kprobe_type_ >= 0 || traced_enter_; }

  // The inode that is mapped at this address of the calling process, as the kernel tells the files of uprobes apart. All 0:
  // this kernel does not say.
  KernelInode inode_at(const void* mapping) const;

  void define(uint32_t instance, const function_instance& what);
  // From now on only probes whose cookie has this edition count.
  void set_edition(uint32_t instance, uint8_t edition);
  void ask(uint32_t slot, uint32_t instance, bool wanted);
  bool asked(uint32_t slot, uint32_t instance) const;
  void forget(uint32_t slot);  // asks for nothing any more
  // Entries seen so far, of all processes.
  uint64_t hits(uint32_t instance) const;

 private:
  FunctionProbes() = default;
  Result<Fd> attach_many(FunctionProgram program, int file, std::span<const ProbePlace> places) const;
  Result<Fd> attach_one(FunctionProgram program, int file, const ProbePlace& place) const;
  Result<KernelProbe> attach_traced(const KernelSignature& signature, bool with_return, uint32_t instance,
                                    int argument) const;
  Result<Fd> attach_kprobe(FunctionProgram program, const std::string& symbol, uint64_t cookie) const;

  int programs_[kFunctionPrograms] = {};
  int inode_program_ = -1;
  bool many_ = false;
  int uprobe_type_ = -1, kprobe_type_ = -1;
  mutable std::shared_ptr<const btf> types_;   // large: read where policies declare functions of the kernel
  const bpf_program* traced_enter_ = nullptr;  // models for fentry and fexit; null: not used on this kernel
  const bpf_program* traced_return_ = nullptr;
  uint32_t slots_ = 0;
  Mapped asked_, instances_, hits_;
};

}  // namespace sonde
