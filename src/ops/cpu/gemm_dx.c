/* dX = dY W from the packed form of the forward, which has W^T in panels.
 *
 * A block of TN_NR rows and TN_NR columns of W is contiguous in either form, so one is made from the other in
 * registers, at the speed of the caches: turned for each call, some rows and columns of W at a time, and used at once. That
 * is less than 1 % of a product over hundreds of tokens, and saves half of the packed weights' memory. */
#include "base/pool.h"
#include "ops/cpu/gemm.h"

#define TURNED_BYTES ((size_t)4 << 20) /* what the threads share in their caches */
#define INLINE_TURN 20000              /* elements: below, a second thread costs more than it brings */

size_t tn_turn_bytes(const tn_turn *t) {
    return (size_t)tn_panels(t->cols) * (size_t)tn_units(t->kern, t->rows) * TN_NR * 4;
}

/* Panels begin .. end of the rows: each is read once, whole. */
static void turn_panels(void *ctx, size_t begin, size_t end, int thread) {
    const tn_turn *t = ctx;
    const tn_kernel *g = t->kern;
    int step = TN_NR / tn_unit_k(g->form), from_units = tn_units(g, t->w->in), units = tn_units(g, t->rows);
    int last = tn_panels(t->rows) - 1;
    for (int p = (int)begin; p < (int)end; p++) {
        const uint32_t *panel = (const uint32_t *)t->w->packed + (size_t)(t->row / TN_NR + p) * (size_t)from_units * TN_NR;
        int want = p == last ? units - p * step : step; /* with what the kernel pads K to */
        for (int c = 0; c < tn_panels(t->cols); c++) {
            int u = (t->col / TN_NR + c) * step, have = from_units - u < step ? from_units - u : step;
            uint32_t *to = t->to + ((size_t)c * (size_t)units + (size_t)(p * step)) * TN_NR;
            g->pack->turn((int)g->form, to, panel + (size_t)u * TN_NR, have, want);
        }
    }
}

void tn_turn_run(const tn_turn *t, tn_pool *pool) {
    size_t n = (size_t)tn_panels(t->rows);
    if ((size_t)t->rows * (size_t)t->cols < INLINE_TURN) turn_panels((void *)(uintptr_t)t, 0, n, 0);
    else tn_pool_deal(pool, n, 1, turn_panels, (void *)(uintptr_t)t);
}

void tn_gemm_dx_of(tn_backend *b, tn_mode mode, void *dx, int lddx, tn_source dy, const tn_weight *w, int T) {
    const tn_kernel *g = tn_kernel_of(b);
    tn_turn turn = {.kern = g, .w = w, .rows = w->out, .cols = w->in};
    tn_product p = {.kern = g, .m = T, .n = w->in, .k = w->out, .a = dy.p, .half = dy.half, .lda = (size_t)dy.ld,
                    .turn = &turn, .mode = tn_mode_of(b, mode), .ldy = (size_t)lddx};
    int piece = tn_product_piece(&p);
    if (turn.rows > piece) turn.rows = piece;
    size_t fit = TURNED_BYTES / ((size_t)tn_units(g, turn.rows) * TN_NR * 4);
    int most = (fit < 1 ? 1 : (int)fit) * TN_NR;
    if (turn.cols > most) turn.cols = most;
    size_t turned = tn_turn_bytes(&turn), need = 0;
    for (int last = 0; last < 2; last++) { /* the last turn's columns may end within a panel, which takes more */
        p.n = last ? (w->in - 1) % most + 1 : turn.cols;
        size_t bytes = tn_product_whole_scratch(&p, tn_pool_threads(b->pool));
        if (bytes > need) need = bytes;
    }
    char *scratch = tn_backend_scratch(b, turned + need);
    if (!scratch) return;
    turn.to = (uint32_t *)(void *)scratch;
    for (turn.col = 0; turn.col < w->in; turn.col += most) {
        p.n = turn.cols = w->in - turn.col < most ? w->in - turn.col : most;
        p.y = (char *)dx + (size_t)turn.col * tn_y_size(p.mode);
        tn_product_run_whole(&p, b->pool, scratch + turned);
    }
}

void tn_cpu_gemm_dx(tn_backend *b, tn_mode mode, void *dx, int lddx, const void *dy, int lddy, const tn_weight *w, int T) {
    tn_gemm_dx_of(b, mode, dx, lddx, tn_operands(b, dy, lddy), w, T);
}
