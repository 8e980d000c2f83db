/* Rows of the head with AVX-512. */
#include "ops/expf.h"
#include "ops/logf.h"
#define HEAD(name) name##_avx512

typedef __m512 v16;
#define LOAD(p) _mm512_loadu_ps(p)
#define SET(x) _mm512_set1_ps(x)
#define STORE(p, v) _mm512_storeu_ps((p), (v))
#define ADD(a, b) _mm512_add_ps((a), (b))
#define SUB(a, b) _mm512_sub_ps((a), (b))
#define MUL(a, b) _mm512_mul_ps((a), (b))
#define MAX(a, b) _mm512_max_ps((a), (b))
#define FMA(a, b, c) _mm512_fmadd_ps((a), (b), (c))
#define EXP(v) tn_op_expf_avx512(v)
#define LOG(v) tn_op_logf_avx512(v)
static inline v16 FIRST(int n, v16 a, v16 b) {
    return _mm512_mask_blend_ps(n >= 16 ? 0xffff : (__mmask16)((1u << n) - 1), b, a);
}
#include "ops/cpu/head_body.h"
