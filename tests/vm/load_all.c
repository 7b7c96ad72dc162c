// SPDX-License-Identifier: Apache-2.0
// Loads and attaches every program of BPF objects on the running kernel, without the agent:
//   load_all FILE.bpf.o…
// A program passes if the verifier takes it and its hook attaches. It is skipped, with the reason, if this kernel does not
// have the hook or refuses the kind of program (fentry before arm64 had trampolines); everything else is a failure.
// Each object is tried twice where the kernel has bpf_rdonly_cast, since that chooses between two ways through the code.
// Plain C, statically linked: it is cross-compiled for arm64.
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

enum { kNotSupported = 524 };  // ENOTSUPP: kernel-internal, not in errno.h

static struct btf *vmlinux;
static int passed, failed, skipped;
static char last_log[4096];  // the end of what libbpf said: the verifier's log if there was one
static bool have_verdict;

static int remember(enum libbpf_print_level level, const char *format, va_list arguments)
{
	char line[65536];
	size_t length, keep;

	if (level == LIBBPF_DEBUG)
		return 0;
	length = vsnprintf(line, sizeof(line), format, arguments);
	if (length >= sizeof(line))
		length = sizeof(line) - 1;
	if (getenv("SONDE_LOAD_VERBOSE"))
		fwrite(line, 1, length, stdout);
	if (have_verdict)
		return 0;  // what follows only says that it failed
	have_verdict = strstr(line, "PROG LOAD LOG");
	keep = length < sizeof(last_log) - 1 ? length : sizeof(last_log) - 1;
	memcpy(last_log, line + length - keep, keep);
	last_log[keep] = 0;
	return 0;
}

static void report(const char *verdict, const char *object, const char *program, const char *format, ...)
{
	va_list arguments;

	printf("%s %s/%s", verdict, object, program);
	if (format) {
		printf(": ");
		va_start(arguments, format);
		vprintf(format, arguments);
		va_end(arguments);
	}
	printf("\n");
	fflush(stdout);
	if (!strcmp(verdict, "pass"))
		passed++;
	else if (!strcmp(verdict, "skip"))
		skipped++;
	else
		failed++;
}

static bool has_function(const char *name) { return btf__find_by_name_kind(vmlinux, name, BTF_KIND_FUNC) >= 0; }

// The hook that this kernel lacks, or null: only programs that name theirs in BTF can be asked beforehand.
static const char *missing_hook(const struct bpf_program *program)
{
	static char name[256];
	const char *section = bpf_program__section_name(program);
	const char *slash = strchr(section, '/');
	enum bpf_attach_type type = bpf_program__expected_attach_type(program);

	if (bpf_program__type(program) == BPF_PROG_TYPE_SYSCALL) /* ours go through all tasks */
		return has_function("bpf_iter_task_new") ? NULL : "bpf_iter_task_new";
	if (!slash || bpf_program__type(program) != BPF_PROG_TYPE_TRACING)
		return NULL;
	if (type == BPF_TRACE_RAW_TP) {
		snprintf(name, sizeof(name), "btf_trace_%s", slash + 1);
		return btf__find_by_name_kind(vmlinux, name, BTF_KIND_TYPEDEF) < 0 ? name : NULL;
	}
	if (type == BPF_TRACE_FENTRY || type == BPF_TRACE_FEXIT || type == BPF_MODIFY_RETURN) {
		snprintf(name, sizeof(name), "%s", slash + 1);
		return btf__find_by_name_kind(vmlinux, name, BTF_KIND_FUNC) < 0 ? name : NULL;
	}
	return NULL;
}

static bool needs_trampoline(const struct bpf_program *program)
{
	enum bpf_attach_type type = bpf_program__expected_attach_type(program);

	return bpf_program__type(program) == BPF_PROG_TYPE_TRACING &&
	       (type == BPF_TRACE_FENTRY || type == BPF_TRACE_FEXIT || type == BPF_MODIFY_RETURN);
}

// Programs of these kinds have no hook of their own: user space aims them (uprobe, perf event, iterators
// over a map) or runs them (syscall).
static bool attaches_by_itself(const struct bpf_program *program)
{
	const char *section = bpf_program__section_name(program);

	return strchr(section, '/') && strncmp(section, "uprobe", 6) && strncmp(section, "uretprobe", 9) &&
	       strncmp(section, "usdt", 4) && strncmp(section, "iter/bpf_", 9);
}

// Sets a `const volatile bool` in .rodata; false if the object has none of that name.
static bool set_constant(struct bpf_object *object, const char *name, bool value)
{
	const struct btf *btf = bpf_object__btf(object);
	const struct btf_var_secinfo *variable;
	const struct btf_type *section;
	struct bpf_map *map = NULL;
	size_t size;
	int id, i;

	while ((map = bpf_object__next_map(object, map)))
		if (strstr(bpf_map__name(map), ".rodata"))
			break;
	id = btf ? btf__find_by_name_kind(btf, ".rodata", BTF_KIND_DATASEC) : -1;
	if (!map || id < 0)
		return false;
	section = btf__type_by_id(btf, id);
	variable = btf_var_secinfos(section);
	for (i = 0; i < btf_vlen(section); i++, variable++) {
		const struct btf_type *type = btf__type_by_id(btf, variable->type);
		char *data = (char *)bpf_map__initial_value(map, &size);

		if (data && !strcmp(btf__name_by_offset(btf, type->name_off), name)) {
			data[variable->offset] = value;
			return true;
		}
	}
	return false;
}

// Ring buffers need a page; all other maps whose size the agent sets are good with one entry.
static void set_sizes(struct bpf_object *object)
{
	struct bpf_map *map = NULL;

	while ((map = bpf_object__next_map(object, map)))
		if (bpf_map__type(map) == BPF_MAP_TYPE_RINGBUF && bpf_map__max_entries(map) < 4096)
			bpf_map__set_max_entries(map, 65536);
}

static const char *last_line(void)
{
	char *end = last_log + strlen(last_log), *line, *verdict;

	verdict = strstr(last_log, "\nprocessed ");  // the verifier's statistics: the line before says what is wrong
	if (verdict)
		end = verdict;
	while (end > last_log && end[-1] == '\n')
		end--;
	*end = 0;
	line = strrchr(last_log, '\n');
	return line ? line + 1 : last_log;
}

static struct bpf_link *attach_to_root_cgroup(const struct bpf_program *program)
{
	int directory = open("/sys/fs/cgroup/unified", O_RDONLY | O_DIRECTORY | O_CLOEXEC), error;
	struct bpf_link *link;

	if (directory < 0)
		directory = open("/sys/fs/cgroup", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	link = bpf_program__attach_cgroup(program, directory);
	error = errno;
	close(directory);
	errno = error;
	return link;
}

static void attach(const char *name, const struct bpf_program *program, const char *note)
{
	struct bpf_link *link;
	int error;

	if (!attaches_by_itself(program)) {
		report("pass", name, bpf_program__name(program), "loaded%s", note);
		return;
	}
	link = bpf_program__type(program) == BPF_PROG_TYPE_CGROUP_SKB ? attach_to_root_cgroup(program) : bpf_program__attach(program);
	if (!link) {
		error = errno;
		if (needs_trampoline(program) && (error == kNotSupported || error == EPERM || error == EOPNOTSUPP))
			report("skip", name, bpf_program__name(program), "loaded; this kernel refuses to attach %s (error %d)",
			       bpf_program__section_name(program), error);
		else if (error == ENOENT && bpf_program__type(program) != BPF_PROG_TYPE_TRACING)
			report("skip", name, bpf_program__name(program), "loaded; this kernel has no %s",
			       bpf_program__section_name(program));
		else
			report("FAIL", name, bpf_program__name(program), "attach %s: %s (%d); %s",
			       bpf_program__section_name(program), strerror(error), error, last_line());
		return;
	}
	report("pass", name, bpf_program__name(program), "loaded, attached to %s%s", bpf_program__section_name(program),
	       note);
	bpf_link__destroy(link);
}

// `only`: null for all programs at once, else the name of the one to load.
static struct bpf_object *open_and_load(const char *path, const char *only, bool cast, bool *has_cast)
{
	struct bpf_object *object = bpf_object__open_file(path, NULL);
	struct bpf_program *program;

	have_verdict = false;
	if (!object)
		return NULL;
	*has_cast = set_constant(object, "sonde_have_cast", cast);
	set_constant(object, "sonde_have_task_iterator", has_function("bpf_iter_task_new"));
	set_constant(object, "sonde_have_task_from_pid", has_function("bpf_task_from_pid"));
	set_sizes(object);
	bpf_object__for_each_program(program, object)
		bpf_program__set_autoload(program, !missing_hook(program) && (!only || !strcmp(only, bpf_program__name(program))));
	if (bpf_object__load(object)) {
		int error = errno;

		bpf_object__close(object);
		errno = error;
		return NULL;
	}
	return object;
}

static void try_object(const char *path, bool cast)
{
	struct bpf_object *object, *names;
	struct bpf_program *program;
	const char *missing, *note;
	char name[128];
	bool has_cast = false;

	snprintf(name, sizeof(name), "%s", strrchr(path, '/') ? strrchr(path, '/') + 1 : path);
	if (strstr(name, ".bpf.o"))
		*strstr(name, ".bpf.o") = 0;
	names = bpf_object__open_file(path, NULL);
	if (!names) {
		report("FAIL", name, "*", "open: %s; %s", strerror(errno), last_line());
		return;
	}
	if (cast && !set_constant(names, "sonde_have_cast", true)) {
		bpf_object__close(names);
		return;  // it has one way only
	}
	note = cast ? " (with bpf_rdonly_cast)" : "";
	object = open_and_load(path, NULL, cast, &has_cast);
	bpf_object__for_each_program(program, names) {
		const char *which = bpf_program__name(program);
		struct bpf_object *single = object;

		missing = missing_hook(program);
		if (missing) {
			if (!cast)
				report("skip", name, which, "this kernel has no %s", missing);
			continue;
		}
		if (!object)  // something in it does not load: find out what
			single = open_and_load(path, which, cast, &has_cast);
		if (!single) {
			int error = errno;

			if (needs_trampoline(program) && error == EPERM)
				report("skip", name, which, "this kernel refuses fentry and fexit (error %d)", error);
			else
				report("FAIL", name, which, "load%s: %s (%d); %s", note, strerror(error), error, last_line());
			continue;
		}
		attach(name, bpf_object__find_program_by_name(single, which), note);
		if (single != object)
			bpf_object__close(single);
	}
	bpf_object__close(object);
	bpf_object__close(names);
}

// Does an empty fentry program load and attach? Printed as a fact about the kernel.
static void print_fentry(void)
{
	struct bpf_insn code[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	LIBBPF_OPTS(bpf_prog_load_opts, options, .expected_attach_type = BPF_TRACE_FENTRY);
	int program, link;

	options.attach_btf_id = btf__find_by_name_kind(vmlinux, "vfs_fsync_range", BTF_KIND_FUNC);
	program = bpf_prog_load(BPF_PROG_TYPE_TRACING, "sonde_fact", "GPL", code, 2, &options);
	link = program < 0 ? -1 : bpf_raw_tracepoint_open(NULL, program);
	if (link >= 0)
		printf("fact fentry: available\n");
	else
		printf("fact fentry: not available (%s fails with error %d)\n", program < 0 ? "load" : "attach", errno);
	if (link >= 0)
		close(link);
	if (program >= 0)
		close(program);
}

int main(int count, char **files)
{
	struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
	bool cast;
	int i;

	setrlimit(RLIMIT_MEMLOCK, &all);
	libbpf_set_print(remember);
	vmlinux = btf__load_vmlinux_btf();
	if (!vmlinux) {
		printf("FAIL this kernel has no BTF: %s\n", strerror(errno));
		return 1;
	}
	print_fentry();
	cast = has_function("bpf_rdonly_cast");
	printf("fact bpf_rdonly_cast: %s\n", cast ? "available" : "not available");
	for (i = 1; i < count; i++) {
		try_object(files[i], false);
		if (cast)
			try_object(files[i], true);
	}
	printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
	return failed ? 1 : 0;
}
