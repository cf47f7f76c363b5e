/* Shows a process a wall clock that is CLOCK_AHEAD_S seconds ahead of the machine's; other clocks stay as they are. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = (int)syscall(SYS_clock_gettime, clock, now);
    const char *ahead = getenv("CLOCK_AHEAD_S");
    if (!failed && ahead && clock == CLOCK_REALTIME) now->tv_sec += atol(ahead);
    return failed;
}
