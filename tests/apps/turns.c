// SPDX-License-Identifier: Apache-2.0
// turns PAIRS ROUNDS: threads in pairs hand a turn to and fro, asleep in futex() while it is the other's. Prints how often its
// threads gave up their CPU by themselves meanwhile, which they do nowhere else.
#define _GNU_SOURCE
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

struct side {
	sem_t mine, *other;
};

static int rounds;
static int done[2];

static long slept(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_nvcsw;
}

static void *take_turns(void *argument)
{
	struct side *side = argument;
	long before = slept(), after;

	for (int i = 0; i < rounds; i++) {
		sem_wait(&side->mine);
		sem_post(side->other);
	}
	after = slept() - before;
	if (write(done[1], &after, sizeof(after)) != sizeof(after))
		_exit(3);
	return NULL;
}

int main(int argc, char **argv)
{
	int pairs = argc > 2 ? atoi(argv[1]) : 0;
	long sum = 0, one;
	struct side *sides = calloc((size_t)pairs * 2 + 1, sizeof(*sides));
	pthread_t thread;

	rounds = argc > 2 ? atoi(argv[2]) : 0;
	if (!sides || pipe(done))
		return 2;
	for (int i = 0; i < pairs * 2; i++) {
		sem_init(&sides[i].mine, 0, i % 2 == 0);
		sides[i].other = &sides[i ^ 1].mine;
	}
	for (int i = 0; i < pairs * 2; i++) {
		if (pthread_create(&thread, NULL, take_turns, &sides[i]))
			return 2;
		pthread_detach(thread);
	}
	for (int i = 0; i < pairs * 2; i++) {
		if (read(done[0], &one, sizeof(one)) != sizeof(one))
			return 2;
		sum += one;
	}
	printf("%ld\n", sum);
	return 0;
}
