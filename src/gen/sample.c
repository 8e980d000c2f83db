#include "gen/sample.h"
#include "ops/ops.h"

static int arg_max(const float *p, int V) {
    int best = 0;
    for (int v = 1; v < V; v++)
        if (p[v] > p[best]) best = v;
    return best;
}

/* Inverse of the cumulative sum in ascending ids: by blocks, then within the one that reaches the goal. */
static int draw_all(const float *p, const double *block, int V, double u) {
    double total = 0, sum = 0;
    int blocks = (V + TN_EXP_BLOCK - 1) / TN_EXP_BLOCK, at = 0;
    for (int b = 0; b < blocks; b++) total += block[b];
    double goal = u * total, before = 0;
    for (int b = 0; b < blocks && sum <= goal; b++) {
        if (block[b] > 0) at = b * TN_EXP_BLOCK, before = sum;
        sum += block[b];
    }
    int last = at;
    for (int v = at; v < V && v < at + TN_EXP_BLOCK && before <= goal; v++) {
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

int tn_sample_token(const tn_sampling *s, const float *p, const double *block, int V, double u, int32_t *heap,
                    double *share) {
    *share = 1;
    if (s->temperature == 0) return arg_max(p, V);
    if (!tn_sampling_truncates(s)) return draw_all(p, block, V, u);
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
