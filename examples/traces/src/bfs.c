/*
 * Breadth-first search of a graph whose edges are drawn at random: the frontier jumps about in memory, as
 * graph programs do.
 *
 *     bfs NODES DEGREE     (40000 6: edges of 0.9 MiB, 40000 nodes)
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static uint32_t state = 2463534242u;

/* Marsaglia's xorshift. */
static uint32_t draw(void) {
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

int main(int argc, char **argv) {
    uint32_t nodes = argc > 1 ? (uint32_t)atoi(argv[1]) : 40000;
    uint32_t degree = argc > 2 ? (uint32_t)atoi(argv[2]) : 6;
    if (nodes < 2 || degree < 1) return 2;
    uint32_t *edges = malloc((size_t)nodes * degree * sizeof *edges);
    int32_t *distance = malloc(nodes * sizeof *distance);
    uint32_t *queue = malloc(nodes * sizeof *queue);
    if (edges == NULL || distance == NULL || queue == NULL) return 1;
    for (size_t i = 0; i < (size_t)nodes * degree; i++) edges[i] = draw() % nodes;
    for (uint32_t i = 0; i < nodes; i++) distance[i] = -1;
    uint32_t head = 0, tail = 0, reached = 0;
    int32_t farthest = 0;
    distance[0] = 0;
    queue[tail++] = 0;
    while (head < tail) {
        uint32_t node = queue[head++];
        reached++;
        farthest = distance[node];
        for (uint32_t i = 0; i < degree; i++) {
            uint32_t next = edges[(size_t)node * degree + i];
            if (distance[next] >= 0) continue;
            distance[next] = distance[node] + 1;
            queue[tail++] = next;
        }
    }
    printf("%u of %u nodes, %d steps\n", reached, nodes, farthest);
    return 0;
}
