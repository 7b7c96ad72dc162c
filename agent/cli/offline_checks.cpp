// SPDX-License-Identifier: Apache-2.0
// `sonde doctor --btf FILE`: the probes on a kernel that is not here.
#include <spdlog/fmt/fmt.h>

#include <algorithm>

#include "agent/base/text.h"
#include "agent/cli/checks.h"
#include "agent/kernel/offline.h"

namespace sonde::cli {
namespace {

std::string sentence_of(const OfflineProgram& program) {
  return fmt::format("{} ({}): {}", program.name, program.hook, program.reason);
}

bool fits_without_gap(const OfflineModule& module, const ModuleInfo& info, int alternative) {
  for (std::size_t i = 0; i < module.programs.size(); ++i) {
    const ProgramSpec& spec = info.programs[i];
    const bool ours = spec.alternative == kEveryAlternative || spec.alternative == alternative;
    if (ours && spec.gap.empty() && !module.programs[i].fits) return false;
  }
  return true;
}

bool works(const OfflineModule& module, const ModuleInfo& info) {
  for (int alternative = 0; alternative < std::max<int>(1, static_cast<int>(info.alternatives.size())); ++alternative) {
    if (fits_without_gap(module, info, alternative)) return true;
  }
  return false;
}

Check check_of(const OfflineModule& module, bool works) {
  const auto fit = std::ranges::count_if(module.programs, &OfflineProgram::fits);
  Check check{(module.name == "core" ? "" : "probe ") + module.name, Verdict::Ok,
              module.programs.empty() ? "reads files, has no BPF program"
                                      : fmt::format("{} of {} programs relocate", fit, module.programs.size()),
              ""};
  for (const OfflineProgram& program : module.programs) {
    if (!program.fits) check.finding += "; " + sentence_of(program);
  }
  if (works && fit == static_cast<std::ptrdiff_t>(module.programs.size())) return check;
  check.verdict = works ? Verdict::Warning : Verdict::Failure;
  check.remedy = works ? "the rest of this probe works; its README says what the other programs are for"
                       : "it would not work on that kernel";
  return check;
}

}  // namespace

Result<std::vector<Check>> offline_checks(const std::string& btf_file) {
  const auto checked = check_offline(btf_file);
  if (!checked) return checked.error();
  std::vector<Check> checks;
  for (std::size_t i = 0; i < checked->size(); ++i) {
    const OfflineModule& module = (*checked)[i];
    const bool core = i == 0;  // needs each of its programs
    const bool fits = core ? std::ranges::all_of(module.programs, &OfflineProgram::fits)
                           : works(module, modules()[i - 1].module->info());
    checks.push_back(check_of(module, fits));
  }
  return checks;
}

}  // namespace sonde::cli
