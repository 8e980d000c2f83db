#include "gen/sample.h"

static int arg_max(const float *p, int V) {
    int best = 0;
    for (int v = 1; v < V; v++)
        if (p[v] > p[best]) best = v;
    return best;
}

#define BLOCK 512
#define LANES 16

/* Sum of up to BLOCK probabilities: id v in lane v mod LANES, lanes by halves. */
static double block_sum(const float *p, int n) {
    double lane[LANES] = {0};
    int v = 0;
    for (; v + LANES <= n; v += LANES)
        for (int l = 0; l < LANES; l++) lane[l] += (double)p[v + l];
    for (; v < n; v++) lane[v % LANES] += (double)p[v];
    for (int w = LANES / 2; w > 0; w /= 2)
        for (int l = 0; l < w; l++) lane[l] += lane[l + w];
    return lane[0];
}

static int block_width(int V, int v) { return V - v < BLOCK ? V - v : BLOCK; }

double tn_sample_sum(const float *p, int V) {
    double total = 0;
    for (int v = 0; v < V; v += BLOCK) total += block_sum(p + v, block_width(V, v));
    return total;
}

/* Inverse of the cumulative sum in ascending ids: by blocks, then within the one that reaches the goal. */
static int draw_all(const float *p, int V, double u) {
    double sum = 0, goal = u * tn_sample_sum(p, V), before = 0;
    int at = 0;
    for (int v = 0; v < V && sum <= goal; v += BLOCK) {
        double share = block_sum(p + v, block_width(V, v));
        if (share > 0) at = v, before = sum;
        sum += share;
    }
    int last = at;
    for (int v = at; v < at + block_width(V, at) && before <= goal; v++) {
        if (p[v] <= 0) continue;
        before += (double)p[v];
        last = v;
    }
    return last;
}

/* Larger probability first, lower id on ties. */
static bool before(const float *p, int32_t a, int32_t b) {
    return p[a] > p[b] || (p[a] == p[b] && a < b);
}

static void sift(const float *p, int32_t *h, int n, int i) {
    for (;;) {
        int c = 2 * i + 1;
        if (c >= n) return;
        if (c + 1 < n && before(p, h[c + 1], h[c])) c++;
        if (!before(p, h[c], h[i])) return;
        int32_t t = h[i];
        h[i] = h[c];
        h[c] = t;
        i = c;
    }
}

static int32_t pop(const float *p, int32_t *h, int *n) {
    int32_t top = h[0];
    h[0] = h[--*n];
    sift(p, h, *n, 0);
    return top;
}

int tn_sample_token(const tn_sampling *s, const float *p, int V, double u, int32_t *heap,
                    double *share) {
    *share = 1;
    if (s->temperature == 0) return arg_max(p, V);
    if (!tn_sampling_truncates(s)) return draw_all(p, V, u);
    double all = 0, total = 0, sum = 0;
    int n = V, kept = 0, limit = s->top_k > 0 && s->top_k < V ? s->top_k : V;
    for (int v = 0; v < V; v++) heap[v] = v, all += (double)p[v];
    for (int i = V / 2; i-- > 0;) sift(p, heap, n, i);
    /* popped ids go to the freed end of the array, descending from the back: kept i at heap[V-1-i] */
    if (limit < V) {
        for (; kept < limit; kept++) {
            int32_t v = pop(p, heap, &n);
            heap[V - 1 - kept] = v;
            total += (double)p[v];
        }
        int k = 0;
        for (; k < kept; k++) { /* the smallest set that reaches top_p of what top-k left */
            if (k > 0 && sum >= s->top_p * total) break;
            sum += (double)p[heap[V - 1 - k]];
        }
        kept = k;
    } else {
        total = all;
        while (n > 0 && (kept == 0 || sum < s->top_p * total)) {
            int32_t v = pop(p, heap, &n);
            heap[V - 1 - kept++] = v;
            sum += (double)p[v];
        }
    }
    double floor_p = s->min_p * (double)p[heap[V - 1]];
    while (kept > 1 && (double)p[heap[V - kept]] < floor_p) sum -= (double)p[heap[V - kept--]];
    double goal = u * sum, run = 0;
    *share = sum / all;
    for (int k = 0; k < kept; k++) {
        run += (double)p[heap[V - 1 - k]];
        if (run > goal) return heap[V - 1 - k];
    }
    return heap[V - kept];
}
