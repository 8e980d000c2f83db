/* AdamW with rounded moments (ops.h N9), block by block: read, update as always, round; a part of rows_body.h.
 * Blocks are worked on whole, in arrays of their own whose ends hold zeros. */
#include "ops/cpu/vec_int.h"

enum { BLOCK = TN_MOMENT_BLOCK };
#define EACH_VECTOR(i) for (int i = 0; i < BLOCK; i += VF)
static const uint32_t sign_bit = 0x80000000u;
static inline vf vf_abs(vf x) { return vi_as_float(vi_and(vi_bits(x), vi_set(~sign_bit))); }

/* tn_moment_draw of elements i, i+1, ... */
static inline vi draws(uint32_t key, uint32_t i) {
    vi h = vi_add(vi_mul(vi_add(vi_lanes(), vi_set(i)), vi_set(0x9e3779b1u)), vi_set(key));
    h = vi_mul(vi_xor(h, vi_right(h, 16)), vi_set(0x85ebca6bu));
    h = vi_mul(vi_xor(h, vi_right(h, 13)), vi_set(0xc2b2ae35u));
    return vi_xor(h, vi_right(h, 16));
}

static void read_bf16(float *x, const void *kept, size_t n) {
    uint16_t c[BLOCK] = {0};
    memcpy(c, kept, 2 * n);
    EACH_VECTOR(i) vf_store(x + i, vi_as_float(vi_left(vi_get_u16(c + i), 16)));
}
static void keep_bf16(void *kept, const float *x, size_t n, bool nearest, uint32_t key, uint32_t first) {
    uint16_t c[BLOCK];
    EACH_VECTOR(i) {
        vi u = vi_bits(vf_load(x + i)), up;
        if (nearest) up = vi_add(vi_set(0x7fff), vi_and(vi_right(u, 16), vi_set(1)));
        else up = vi_right(draws(key, first + (uint32_t)i), 16);
        vi_put_16(c + i, vi_right(vi_add(u, up), 16));
    }
    memcpy(kept, c, 2 * n);
}

static void read_m8(float *m, const char *kept, size_t n) {
    uint8_t c[BLOCK] = {0};
    float s;
    memcpy(&s, kept, 4);
    memcpy(c, kept + 4, n);
    EACH_VECTOR(i) {
        vf f = vf_mul(vi_float(vi_get_i8(c + i)), vf_set(1.0f / 127));
        vf_store(m + i, vf_mul(vf_mul(vf_mul(f, vf_abs(f)), vf_mul(f, f)), vf_set(s)));
    }
}
static void read_v8(float *v, const char *kept, size_t n) {
    uint8_t c[BLOCK] = {0};
    float s;
    memcpy(&s, kept, 4);
    memcpy(c, kept + 4, n);
    EACH_VECTOR(i) {
        vf f = vf_mul(vi_float(vi_get_u8(c + i)), vf_set(1.0f / 255)), r = vf_mul(vf_mul(f, f), vf_set(s));
        vf_store(v + i, vf_mul(r, r));
    }
}
/* C root + draw/65536, at most C. */
static inline vf code_of(vf root, vi draw, float top) {
    vf u = vf_mul(vi_float(draw), vf_set(0x1p-16f));
    return vf_min(vf_add(vf_mul(root, vf_set(top)), u), vf_set(top));
}
static void keep_m8(char *kept, const float *m, size_t n, uint32_t key, uint32_t first) {
    uint8_t c[BLOCK];
    vf most = vf_zero();
    EACH_VECTOR(i) most = vf_max(vf_abs(vf_load(m + i)), most);
    float s = vf_top(most);
    if (s == 0) {
        memset(kept, 0, 4 + n);
        return;
    }
    vf inv = vf_set(1 / s);
    EACH_VECTOR(i) {
        vf x = vf_load(m + i), root = vf_sqrt(vf_sqrt(vf_mul(vf_abs(x), inv)));
        vf y = code_of(root, vi_and(draws(key, first + (uint32_t)i), vi_set(0xffff)), 127);
        vi_put_8(c + i, vi_cut(vi_as_float(vi_or(vi_bits(y), vi_and(vi_bits(x), vi_set(sign_bit))))));
    }
    memcpy(kept, &s, 4);
    memcpy(kept + 4, c, n);
}
static void keep_v8(char *kept, const float *v, size_t n, uint32_t key, uint32_t first) {
    uint8_t c[BLOCK];
    vf most = vf_zero();
    EACH_VECTOR(i) most = vf_max(vf_load(v + i), most);
    float s = sqrtf(vf_top(most)); /* the root of the largest is the largest root */
    if (s == 0) {
        memset(kept, 0, 4 + n);
        return;
    }
    vf inv = vf_set(1 / s);
    EACH_VECTOR(i) {
        vf root = vf_sqrt(vf_mul(vf_sqrt(vf_load(v + i)), inv));
        vf y = code_of(root, vi_right(draws(key, first + (uint32_t)i), 16), 255);
        vi_put_8(c + i, vi_cut(vf_max(y, vf_set(1))));
    }
    memcpy(kept, &s, 4);
    memcpy(kept + 4, c, n);
}

static void adamw_kept(const tn_adam *c, tn_moment_kind kind, float *p, const float *g, void *mv, void *vv, size_t n,
                       uint32_t key, uint32_t first) {
    float m[BLOCK] = {0}, v[BLOCK] = {0};
    for (size_t at = 0; at < n; at += BLOCK) {
        size_t len = n - at < BLOCK ? n - at : BLOCK, byte = tn_moment_bytes(kind, at, sizeof *p);
        char *mk = (char *)mv + byte, *vk = (char *)vv + byte;
        uint32_t i = first + (uint32_t)at;
        if (kind == TN_MOMENTS_BF16) read_bf16(m, mk, len), read_bf16(v, vk, len);
        else read_m8(m, mk, len), read_v8(v, vk, len);
        adamw(c, p + at, g + at, m, v, len);
        if (kind == TN_MOMENTS_BF16) keep_bf16(mk, m, len, true, key, i), keep_bf16(vk, v, len, false, key, i);
        else keep_m8(mk, m, len, key, i), keep_v8(vk, v, len, key, i);
    }
}
