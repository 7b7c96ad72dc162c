// SPDX-License-Identifier: Apache-2.0
// Known work. Everything is made ready, then the process stops itself (SIGSTOP) so that it can be put into a cgroup;
// after SIGCONT it makes exactly the system calls that are asked for, and prints what it did.
//   workload io FILE ROUNDS SIZE FAILS FSYNCS PIPE_READS
//   workload hold FILE ROUNDS SIZE FAILS FSYNCS PIPE_READS      the same, and then nothing until SIGTERM
//   workload armed FILE ROUNDS SIZE FAILS FSYNCS PIPE_READS     the same, all ready at the start, the calls after SIGUSR1
//   workload latencies FILE ROUNDS       reads of 64 KiB, one in twenty of 16 MiB, timed by itself
//   workload load FILE                   reads and writes of 4 KiB until SIGTERM
//   workload ticks FILE MILLISECONDS     one read of 4 KiB each time until SIGTERM, and when each of them was
//   workload slow FILE ROUNDS MILLISECONDS  writes of 4 KiB, then one whose memory arrives only after that time; 0: no such one
//   workload tour FILE                   one read of FILE, and one call of many other kinds, in each cgroup whose
//                                        cgroup.procs is named on stdin
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MUST(condition)                                                              \
	do {                                                                         \
		if (!(condition)) {                                                  \
			fprintf(stderr, "line %d: %s\n", __LINE__, strerror(errno)); \
			_exit(1);                                                    \
		}                                                                    \
	} while (0)

static char block[16 << 20];
static volatile sig_atomic_t ended;
static void *volatile nowhere = (void *)1; /* EFAULT */

static void end(int signal)
{
	(void)signal;
	ended = 1;
}

static int open_file(const char *path, size_t size)
{
	int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	MUST(file >= 0);
	memset(block, 'x', size);
	MUST(pwrite(file, block, size, 0) == (ssize_t)size);
	return file;
}

static void do_io(char **argv, int armed)
{
	int rounds = atoi(argv[1]), fails = atoi(argv[3]), fsyncs = atoi(argv[4]), pipe_reads = atoi(argv[5]);
	size_t size = (size_t)atoi(argv[2]);
	int file = open_file(argv[0], size), ends[2], i, got;
	sigset_t usr1;

	MUST(pipe(ends) == 0);
	for (i = 0; i < pipe_reads; i++)
		MUST(write(ends[1], "p", 1) == 1);
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	if (armed)
		MUST(sigwait(&usr1, &got) == 0);
	else
		raise(SIGSTOP);
	for (i = 0; i < rounds; i++)
		MUST(pread(file, block, size, 0) == (ssize_t)size);
	for (i = 0; i < rounds; i++)
		MUST(pwrite(file, block, size, 0) == (ssize_t)size);
	for (i = 0; i < fails; i++)
		MUST(read(file, nowhere, size) < 0 && errno == EFAULT);
	for (i = 0; i < fsyncs; i++)
		MUST(fsync(file) == 0);
	for (i = 0; i < pipe_reads; i++)
		MUST(read(ends[0], block, 1) == 1);
}

static void do_hold(char **argv, int armed)
{
	struct sigaction action = {.sa_handler = end};
	sigset_t none, both;

	sigaction(SIGTERM, &action, NULL);
	sigemptyset(&none);
	sigemptyset(&both);
	sigaddset(&both, SIGTERM);
	sigaddset(&both, SIGUSR1);
	sigprocmask(SIG_BLOCK, &both, NULL);
	do_io(argv, armed);
	while (!ended)
		sigsuspend(&none);
}

static unsigned long now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (unsigned long)now.tv_sec * 1000000000UL + (unsigned long)now.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	unsigned long x = *(const unsigned long *)a, y = *(const unsigned long *)b;

	return x < y ? -1 : x > y;
}

static void do_latencies(char **argv)
{
	int rounds = atoi(argv[1]), i;
	int file = open_file(argv[0], sizeof(block));
	unsigned long *took = calloc((size_t)rounds, sizeof(*took));

	MUST(took);
	raise(SIGSTOP);
	for (i = 0; i < rounds; i++) {
		size_t size = i % 20 == 19 ? sizeof(block) : 65536;
		unsigned long begin = now_ns();

		MUST(pread(file, block, size, 0) == (ssize_t)size);
		took[i] = now_ns() - begin;
	}
	qsort(took, (size_t)rounds, sizeof(*took), compare);
	printf("{\"p99\": %lu, \"fastest_slow\": %lu}\n", took[rounds * 99 / 100], took[rounds * 95 / 100]);
}

/* Memory that whoever touches it waits for, the kernel too. A process of its own, outside the cgroup, brings it. */
static char *slow_page(long milliseconds)
{
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register area = {.mode = UFFDIO_REGISTER_MODE_MISSING};
	struct uffdio_copy copy = {.src = (unsigned long)block, .len = 4096};
	struct timespec delay = {milliseconds / 1000, milliseconds % 1000 * 1000000};
	char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct uffd_msg message;
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);

	MUST(page != MAP_FAILED && fd >= 0 && ioctl(fd, UFFDIO_API, &api) == 0);
	area.range.start = copy.dst = (unsigned long)page;
	area.range.len = 4096;
	MUST(ioctl(fd, UFFDIO_REGISTER, &area) == 0);
	if (fork() > 0)
		return page;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	MUST(read(fd, &message, sizeof(message)) == sizeof(message));
	MUST(nanosleep(&delay, NULL) == 0);
	MUST(ioctl(fd, UFFDIO_COPY, &copy) == 0);
	_exit(0);
}

static unsigned long unix_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (unsigned long)now.tv_sec * 1000000000UL + (unsigned long)now.tv_nsec;
}

static void do_slow(char **argv)
{
	int rounds = atoi(argv[1]), i;
	long milliseconds = atol(argv[2]);
	int file = open_file(argv[0], 4096);
	char *page = milliseconds ? slow_page(milliseconds) : NULL;
	unsigned long begin;

	raise(SIGSTOP);
	for (i = 0; i < rounds; i++)
		MUST(pwrite(file, block, 4096, 0) == 4096);
	if (!page)
		return;
	begin = unix_ns();
	MUST(pwrite(file, page, 4096, 0) == 4096);
	printf("{\"pid\": %d, \"begin\": %lu, \"end\": %lu}\n", getpid(), begin, unix_ns());
}

static void do_load(char **argv)
{
	const struct timespec pause = {.tv_nsec = 200 * 1000};
	struct sigaction action = {.sa_handler = end};
	int file = open_file(argv[0], 4096);
	unsigned long rounds = 0;

	sigaction(SIGTERM, &action, NULL);
	raise(SIGSTOP);
	while (!ended) {
		MUST(pread(file, block, 4096, 0) == 4096);
		MUST(pwrite(file, block, 4096, 0) == 4096);
		rounds++;
		if (rounds % 16 == 0)
			nanosleep(&pause, NULL);
	}
	printf("{\"rounds\": %lu}\n", rounds);
}

/* Prints CLOCK_MONOTONIC before the first read, and for each read the microseconds since then. */
static void do_ticks(char **argv)
{
	const struct timespec pause = {.tv_nsec = atoi(argv[1]) * 1000000L};
	struct sigaction action = {.sa_handler = end};
	int file = open_file(argv[0], 4096), n = 0, i;
	static unsigned long at[1 << 16];
	unsigned long begin;

	sigaction(SIGTERM, &action, NULL);
	raise(SIGSTOP);
	begin = now_ns();
	while (!ended && n < (int)(sizeof(at) / sizeof(at[0]))) {
		at[n++] = now_ns();
		MUST(pread(file, block, 4096, 0) == 4096);
		nanosleep(&pause, NULL);
	}
	printf("{\"begin\": %lu, \"at\": [", begin);
	for (i = 0; i < n; i++)
		printf("%s%lu", i ? "," : "", (at[i] - begin) / 1000);
	printf("]}\n");
}

/* So that a cgroup has about as many streams as one of a busy container. */
static void other_calls(const char *path, int file, int *ends)
{
	const struct timespec moment = {.tv_nsec = 1000};
	struct stat status;
	int second = open(path, O_RDONLY | O_CLOEXEC);

	MUST(second >= 0 && fstat(second, &status) == 0 && close(second) == 0);
	MUST(pwrite(file, block, 4096, 0) == 4096);
	MUST(read(file, nowhere, 4096) < 0 && errno == EFAULT);
	MUST(read(-1, block, 1) < 0 && errno == EBADF);
	MUST(rename("/nonexistent/a", "/nonexistent/b") < 0 && unlink("/nonexistent/a") < 0);
	MUST(write(ends[1], "p", 1) == 1 && read(ends[0], block, 1) == 1);
	nanosleep(&moment, NULL);
}

static void do_tour(char **argv)
{
	static char line[4096];
	int file = open_file(argv[0], 4096), cgroups = 0, *procs = NULL, ends[2], i;

	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		procs = realloc(procs, sizeof(*procs) * (size_t)(cgroups + 1));
		MUST(procs);
		procs[cgroups] = open(line, O_WRONLY | O_CLOEXEC);
		MUST(procs[cgroups] >= 0);
		cgroups++;
	}
	MUST(pipe(ends) == 0);
	raise(SIGSTOP);
	for (i = 0; i < cgroups; i++) {
		MUST(write(procs[i], "0", 1) == 1);
		MUST(pread(file, block, 4096, 0) == 4096);
		other_calls(argv[0], file, ends);
	}
	printf("{\"cgroups\": %d}\n", cgroups);
}

int main(int argc, char **argv)
{
	if (argc == 8 && !strcmp(argv[1], "io"))
		do_io(argv + 2, 0);
	else if (argc == 8 && !strcmp(argv[1], "hold"))
		do_hold(argv + 2, 0);
	else if (argc == 8 && !strcmp(argv[1], "armed"))
		do_hold(argv + 2, 1);
	else if (argc == 4 && !strcmp(argv[1], "latencies"))
		do_latencies(argv + 2);
	else if (argc == 5 && !strcmp(argv[1], "slow"))
		do_slow(argv + 2);
	else if (argc == 3 && !strcmp(argv[1], "load"))
		do_load(argv + 2);
	else if (argc == 4 && !strcmp(argv[1], "ticks"))
		do_ticks(argv + 2);
	else if (argc == 3 && !strcmp(argv[1], "tour"))
		do_tour(argv + 2);
	else
		return 2;
	fflush(stdout);
	_exit(0);
}
