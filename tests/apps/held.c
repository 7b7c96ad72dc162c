// SPDX-License-Identifier: Apache-2.0
// held PROGRAM [ARGUMENT]…: stops itself, so that it can be put into a cgroup and its counters be read; after SIGCONT it
// becomes the program. What the program does is all that happens in the cgroup.
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc < 2)
		return 2;
	raise(SIGSTOP);
	execvp(argv[1], argv + 1);
	perror(argv[1]);
	return 127;
}
