// SPDX-License-Identifier: Apache-2.0
#include "agent/module/bpf_run.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>
#include <string>

#include "agent/base/fd.h"

namespace sonde {
namespace {

struct DestroyLink {
  void operator()(bpf_link* link) const { bpf_link__destroy(link); }
};

Error cannot_run(const char* name, int error) { return Error::system(std::string("cannot run ") + name, error); }

Result<void> run_iterator(bpf_object* object, const char* name, const bpf_iter_attach_opts* options) {
  const bpf_program* program = bpf_object__find_program_by_name(object, name);
  const std::unique_ptr<bpf_link, DestroyLink> link(bpf_program__attach_iter(program, options));
  if (!link) return cannot_run(name, errno);
  const Fd iterator(bpf_iter_create(bpf_link__fd(link.get())));
  if (!iterator) return cannot_run(name, errno);
  std::array<char, 64> nothing{};
  for (;;) {  // each read goes on where the last one stopped; what the program writes is for nobody
    const ssize_t n = read(iterator.get(), nothing.data(), nothing.size());
    if (n == 0) return {};
    if (n < 0 && errno != EAGAIN && errno != EINTR) return cannot_run(name, errno);
  }
}

}  // namespace

int program_fd(bpf_object* object, const char* name) {
  const bpf_program* program = bpf_object__find_program_by_name(object, name);
  return program ? bpf_program__fd(program) : -1;
}

Result<void> run_iterator(bpf_object* object, const char* name) {
  if (program_fd(object, name) < 0) return {};
  return run_iterator(object, name, nullptr);
}

Result<void> run_map_iterator(bpf_object* object, const char* name, const char* map) {
  if (program_fd(object, name) < 0) return {};
  bpf_iter_link_info info{};
  info.map.map_fd = static_cast<__u32>(bpf_object__find_map_fd_by_name(object, map));
  LIBBPF_OPTS(bpf_iter_attach_opts, options);
  options.link_info = &info;
  options.link_info_len = sizeof(info);
  return run_iterator(object, name, &options);
}

Result<void> run_program(bpf_object* object, const char* name) {
  const int program = program_fd(object, name);
  if (program < 0) return {};
  LIBBPF_OPTS(bpf_test_run_opts, options);
  if (const int error = bpf_prog_test_run_opts(program, &options)) return cannot_run(name, -error);
  return {};
}

Result<void> run_on_each_cpu(bpf_object* object, const char* name) {
  const int program = program_fd(object, name);
  if (program < 0) return {};
  const int cpus = libbpf_num_possible_cpus();
  for (int cpu = 0; cpu < cpus; ++cpu) {
    LIBBPF_OPTS(bpf_test_run_opts, options);
    options.flags = BPF_F_TEST_RUN_ON_CPU;
    options.cpu = static_cast<__u32>(cpu);
    const int error = bpf_prog_test_run_opts(program, &options);
    if (error && error != -ENXIO) return cannot_run(name, -error);  // ENXIO: it is offline
  }
  return {};
}

}  // namespace sonde
