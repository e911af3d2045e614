/*
 * The yardstick for moving pages: copies pages of 4096 bytes from one place to another with memcpy,
 * once for each line of standard input, and prints the nanoseconds of processor time that it took.
 * The number of pages is the only argument.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PAGE_BYTES 4096

static long long now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

int main(int argc, char **argv)
{
	size_t pages = argc == 2 ? strtoull(argv[1], NULL, 10) : 0;
	size_t bytes = pages * PAGE_BYTES;
	char *from = malloc(bytes);
	char *to = malloc(bytes);
	unsigned char round = 0;
	char line[16];

	if (pages == 0 || from == NULL || to == NULL)
		return 1;
	/* Every page is there before the clock runs. */
	memset(from, 1, bytes);
	memset(to, 2, bytes);
	while (fgets(line, sizeof(line), stdin) != NULL) {
		long long start;

		from[0] = ++round;
		from[bytes - 1] = round;
		start = now_ns();
		for (size_t at = 0; at < bytes; at += PAGE_BYTES)
			memcpy(to + at, from + at, PAGE_BYTES);
		printf("%lld\n", now_ns() - start);
		/* Also keeps the compiler from leaving the copy out. */
		if ((unsigned char)to[0] != round || (unsigned char)to[bytes - 1] != round)
			return 1;
		fflush(stdout);
	}
	return 0;
}
