/* Golden cases that are operations of the backend, through its table in double (ref64), and the
 * rounding to bf16: softmax, entropy and their gradients, AdamW, LoRA. NEFTune's noise. */
#include "algo/neftune.h"
#include "algo_case.h"
#include "base/mathx.h"
#include "ops/bf16.h"
#include "ops_case.h"

/* A packed matrix for one case; oc's memory does not outlive its own runs. */
static tn_weight weight_of(tn_backend *b, const double *w, int out, int in) {
    tn_weight m = {out, in, w, calloc(1, b->op->weight_bytes(b, out, in) + 1)};
    b->op->weight_pack(b, &m);
    return m;
}
static void weight_free(tn_weight *w) { free(w->packed); }

/* The head over `rows` copies of z with the unit matrix as its weights: its logits are z, and the
 * gradient of its input that of the logits. target NULL: row r has target r. Gradients by dz [n] of
 * row 0 only, with d_logp = gl and d_entropy = gh. */
typedef struct softmax {
    double logp[16], entropy[16], lse[16], dz[16];
} softmax;
static void head(const vec *z, int rows, const int *target, double tau, double gl, double gh,
                 softmax *out) {
    tn_backend *b = OC_REF64;
    int n = z->n;
    double unit[16 * 16] = {0}, x[16 * 16], dw[16 * 16] = {0};
    int32_t t[16];
    for (int i = 0; i < n; i++) unit[i * n + i] = 1;
    for (int r = 0; r < rows; r++) {
        memcpy(x + r * n, z->v, sizeof(double) * (size_t)n);
        t[r] = target ? target[r] : r;
    }
    tn_weight w = weight_of(b, unit, n, n);
    tn_head h = {.rows = rows,
                 .x = x,
                 .w = &w,
                 .inv_temp = 1 / tau,
                 .target = t,
                 .logp = out->logp,
                 .lse = out->lse,
                 .entropy = out->entropy};
    b->op->head(b, &h);
    tn_head_bwd g = {.rows = 1,
                     .x = x,
                     .w = &w,
                     .inv_temp = 1 / tau,
                     .target = t,
                     .lse = out->lse,
                     .entropy = out->entropy,
                     .d_logp = &gl,
                     .d_entropy = &gh,
                     .dx = out->dz,
                     .dw = dw};
    b->op->head_bwd(b, &g);
    CHECK_OK(tn_backend_check(b, e));
    weight_free(&w);
}

static void log_softmax(kase *k) {
    vec z = in_vec(k, "logits"), p = {.n = z.n};
    int target = (int)in_vec(k, "target").v[0];
    double tau = hp(k, "temperature", 0);
    softmax s;
    head(&z, 1, &target, tau, 1, 0, &s);
    want_loss(k, s.logp[0]);
    want_grad(k, "logits", s.dz, z.n);
    head(&z, z.n, NULL, tau, 1, 0, &s);
    want_metrics(k, "log_probs", s.logp, z.n);
    for (int i = 0; i < z.n; i++) p.v[i] = tn_exp(s.logp[i]);
    if (expected_metric(k, "probs")) want_metrics(k, "probs", p.v, p.n);
}
static void entropy(kase *k) {
    vec z = in_vec(k, "logits");
    int target = 0;
    softmax s;
    head(&z, 1, &target, 1, 0, 1, &s);
    want_loss(k, s.entropy[0]);
    want_grad(k, "logits", s.dz, z.n);
}
/* KL(pi || ref) = -H(pi) - sum pi log ref, KL(ref || pi) = -H(ref) - sum ref log pi: from the
 * head's log-probs, with the gradient by the chain rule through every one of them. */
static void kl_full(kase *k) {
    vec z = in_vec(k, "policy_logits"), zr = in_vec(k, "ref_logits"), g = {.n = z.n};
    bool reverse = strncmp(hp_text(k, "direction"), "reverse", 7) == 0;
    softmax s, r;
    double kl = 0;
    head(&z, z.n, NULL, 1, 0, 0, &s);
    head(&zr, z.n, NULL, 1, 0, 0, &r);
    for (int v = 0; v < z.n; v++) {
        double p = tn_exp(s.logp[v]), q = tn_exp(r.logp[v]);
        kl += reverse ? p * (s.logp[v] - r.logp[v]) : q * (r.logp[v] - s.logp[v]);
    }
    want_loss(k, kl);
    for (int y = 0; y < z.n;
         y++) { /* d KL / d logp_y times d logp_y / d z, from the head's backward */
        softmax one;
        double p = tn_exp(s.logp[y]),
               d = reverse ? p * (s.logp[y] - r.logp[y] + 1) : -tn_exp(r.logp[y]);
        head(&z, 1, &y, 1, d, 0, &one);
        for (int v = 0; v < z.n; v++) g.v[v] += one.dz[v];
    }
    want_grad(k, "policy_logits", g.v, g.n);
}

static void adamw(kase *k) {
    int off[34], n_step = jrows(jin(k, "grads"), off);
    vec p = in_vec(k, "params"), all = in_vec(k, "grads");
    double m[8] = {0}, v[8] = {0};
    tn_backend *b = OC_REF64;
    const json_t *steps = expected_metric(k, "steps");
    k->seen++;
    for (int i = 0; i < n_step; i++) {
        const json_t *want = json_array_get(steps, (size_t)i);
        double block[1], max = hp(k, "max_grad_norm", 0), scale = 1;
        b->op->sumsq(b, all.v + off[i], (size_t)p.n, NULL, block);
        double norm = sqrt(block[0]), share = max / (norm + hp(k, "clip_denominator_eps", 0));
        if (share < 1) scale = share; /* as src/train/step.c */
        tn_adamw s = {hp(k, "lr", 0),
                      hp(k, "beta1", 0),
                      hp(k, "beta2", 0),
                      hp(k, "eps", 0),
                      hp(k, "weight_decay", 0),
                      scale,
                      i + 1,
                      TN_MOMENTS_FULL,
                      0,
                      0,
                      NULL};
        b->op->adamw(b, p.v, all.v + off[i], m, v, (size_t)p.n, &s);
        const struct {
            const char *name;
            const double *got;
            int n;
        } out[] = {{"grad_norm", &norm, 1},
                   {"scale", &scale, 1},
                   {"params", p.v, p.n},
                   {"m", m, p.n},
                   {"v", v, p.n}};
        for (int j = 0; j < 5; j++) {
            vec w = jvec(json_object_get(want, out[j].name));
            CHECK_MSG(w.n == out[j].n, "%s: %s of step %d has %d numbers", k->id, out[j].name, i,
                      w.n);
            for (int q = 0; q < w.n; q++) CHECK_NEAR(out[j].got[q], w.v[q], k->rel, k->abs);
        }
    }
}

/* One token through a matrix with an adapter. */
static void lora(kase *k) {
    tn_backend *b = OC_REF64;
    vec w = in_vec(k, "W"), A = in_vec(k, "A"), B = in_vec(k, "B"), x = in_vec(k, "x"),
        dy = in_vec(k, "grad_y");
    int in = x.n, out = dy.n, rank = A.n / in;
    tn_weight base = weight_of(b, w.v, out, in);
    tn_lora l = {
        .parts = 1, .rank = rank, .scale = hp(k, "scale", 0), .a = weight_of(b, A.v, rank, in)};
    l.b[0] = weight_of(b, B.v, out, rank);
    double y[8], u[8], v[8], dx[8], dA[16] = {0}, dB[16] = {0};
    b->op->gemm(b, TN_SET, y, out, x.v, in, &base, NULL, 1);
    want_metrics(k, "y_adapters_off", y, out);
    b->op->lora(b, TN_ADD_NONZERO, y, out, u, x.v, in, &l, 1);
    want_metrics(k, "y", y, out);
    tn_lora_grad g = {.a = dA, .b = {dB}};
    b->op->gemm_dx(b, TN_SET, dx, in, dy.v, out, &base, 1);
    b->op->lora_bwd(b, dx, in, &g, dy.v, out, u, v, x.v, in, &l, 1);
    want_grad(k, "A", dA, A.n);
    want_grad(k, "B", dB, B.n);
    want_grad(k, "x", dx, in);
    CHECK_OK(tn_backend_check(b, e));
    weight_free(&base), weight_free(&l.a), weight_free(&l.b[0]);
}

static void want_bits(kase *k, const uint16_t *bits, int n) {
    char text[32][8];
    const char *p[32];
    for (int i = 0; i < n; i++) {
        snprintf(text[i], sizeof text[i], "0x%04x", bits[i]);
        p[i] = text[i];
    }
    want_texts(k, "bf16_bits_hex", p, n);
}
/* v of a first AdamW step with gradient sqrt(x) and b2 = 0, kept as bf16: x rounded by the draw of
 * `key`. */
static uint16_t by_draw(double x, uint32_t key) {
    double p = 0, g = sqrt(x);
    uint16_t m[2] = {0}, v[2] = {0};
    tn_adamw s = {0, 0.9, 0, 1e-8, 0, 1, 1, TN_MOMENTS_BF16, 0, key, NULL};
    OC_REF64->op->adamw(OC_REF64, &p, &g, m, v, 1, &s);
    return v[0];
}
static void bf16_stochastic(kase *k) {
    static uint32_t key_of[1 << 16];
    static bool known[1 << 16];
    double x = in_vec(k, "x_fp32").v[0], sum = 0, up = 0;
    vec r = in_vec(k, "random16");
    uint16_t bits[32], low = tn_bf16_bits(1);
    int left = 1 << 16;
    for (uint32_t key = 0; left > 0 && key < 1u << 24;
         key++) { /* a key for each of the 2^16 draws */
        uint32_t h = tn_moment_draw(key, 0) >> 16;
        if (known[h]) continue;
        known[h] = true, key_of[h] = key, left--;
    }
    CHECK(left == 0);
    for (int i = 0; i < r.n; i++) bits[i] = by_draw(x, key_of[(int)r.v[i]]);
    want_bits(k, bits, r.n);
    for (int h = 0; h < 1 << 16; h++) {
        uint32_t u = (uint32_t)by_draw(x, key_of[h]) << 16;
        float y;
        memcpy(&y, &u, 4);
        sum += y / 65536.0;
        up += (u >> 16 != low) / 65536.0;
    }
    want_metric(k, "expected_value_of_rounding", sum);
    want_metric(k, "prob_round_up", up);
}
static void bf16(kase *k) {
    vec x = in_vec(k, "x_fp32"), value = {.n = x.n};
    uint16_t bits[32];
    if (jin(k, "random16")) {
        bf16_stochastic(k);
        return;
    }
    for (int i = 0; i < x.n; i++)
        bits[i] = tn_bf16_bits((float)x.v[i]), value.v[i] = tn_bf16_round((float)x.v[i]);
    want_bits(k, bits, x.n);
    want_metrics(k, "value", value.v, value.n);
}
static void lost_update(kase *k) {
    float w = (float)in_vec(k, "w").v[0], u = (float)in_vec(k, "update").v[0], master = w;
    for (int i = 0; i < (int)in_vec(k, "steps").v[0]; i++) {
        w = tn_bf16_round(w + u);
        master += u;
    }
    want_metric(k, "bf16_rne_weight", w);
    want_metric(k, "fp32_master_weight", master);
}
static void neftune(kase *k) {
    int len = (int)in_vec(k, "L").v[0], d = (int)in_vec(k, "d").v[0];
    want_metric(k, "uniform_half_width", tn_neftune_width(hp(k, "alpha", 0), len, d));
}

const runner num_op_runners[] = {
    {"log_softmax_gather", log_softmax},
    {"entropy_from_logits", entropy},
    {"kl_full_vocab", kl_full},
    {"adamw", adamw},
    {"lora_linear", lora},
    {"bf16_round", bf16},
    {"bf16_lost_update", lost_update},
    {"neftune_scale", neftune},
    {NULL, NULL},
};
