/*
 * A five-point stencil on a square grid, by threads that have a band of rows each: every thread reads the
 * last row of its neighbours, the halo. Two grids take turns.
 *
 *     stencil SIDE STEPS THREADS     (512 4 3: two grids of 1 MiB, 513 pages)
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static int side, steps, threads;
static float *grids[2];
static pthread_barrier_t all_done;

static void band(const float *from, float *to, int first, int end) {
    for (int y = first; y < end; y++)
        for (int x = 1; x < side - 1; x++) {
            int at = y * side + x;
            to[at] = 0.2f * (from[at] + from[at - 1] + from[at + 1] + from[at - side] + from[at + side]);
        }
}

static void *work(void *argument) {
    long self = (long)argument;
    int rows = side - 2;
    int first = 1 + (int)(rows * self / threads);
    int end = 1 + (int)(rows * (self + 1) / threads);
    for (int step = 0; step < steps; step++) {
        band(grids[step % 2], grids[(step + 1) % 2], first, end);
        pthread_barrier_wait(&all_done);
    }
    return NULL;
}

static int argument(char **argv, int argc, int i, int otherwise) {
    return argc > i ? atoi(argv[i]) : otherwise;
}

int main(int argc, char **argv) {
    side = argument(argv, argc, 1, 512);
    steps = argument(argv, argc, 2, 4);
    threads = argument(argv, argc, 3, 3);
    if (side < 3 || steps < 1 || threads < 1 || threads > 64) return 2;
    size_t bytes = (size_t)side * side * sizeof(float);
    for (int i = 0; i < 2; i++) {
        grids[i] = malloc(bytes);
        if (grids[i] == NULL) return 1;
        for (int at = 0; at < side * side; at++) grids[i][at] = (float)(at % 17);
    }
    pthread_t handles[64];
    pthread_barrier_init(&all_done, NULL, threads);
    for (long i = 0; i < threads; i++) pthread_create(&handles[i], NULL, work, (void *)i);
    for (int i = 0; i < threads; i++) pthread_join(handles[i], NULL);
    printf("%f\n", grids[steps % 2][side + 1]);
    return 0;
}
