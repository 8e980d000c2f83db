/* Rows of the head in plain C. */
#include "ops/expf.h"
#include "ops/logf.h"
#define HEAD(name) name##_portable

typedef struct { float x[16]; } v16;
#define EACH(expr) for (int i = 0; i < 16; i++) r.x[i] = (expr); return r
static inline v16 LOAD(const float *p) { v16 r; EACH(p[i]); }
static inline v16 SET(float x) { v16 r; EACH(x); }
static inline void STORE(float *p, v16 v) { memcpy(p, v.x, sizeof v.x); }
static inline v16 ADD(v16 a, v16 b) { v16 r; EACH(a.x[i] + b.x[i]); }
static inline v16 SUB(v16 a, v16 b) { v16 r; EACH(a.x[i] - b.x[i]); }
static inline v16 MUL(v16 a, v16 b) { v16 r; EACH(a.x[i] * b.x[i]); }
static inline v16 MAX(v16 a, v16 b) { v16 r; EACH(a.x[i] > b.x[i] ? a.x[i] : b.x[i]); }
static inline v16 FMA(v16 a, v16 b, v16 c) { v16 r; EACH(fmaf(a.x[i], b.x[i], c.x[i])); }
static inline v16 EXP(v16 a) { v16 r; EACH(tn_op_expf(a.x[i])); }
static inline v16 LOG(v16 a) { v16 r; EACH(tn_op_logf(a.x[i])); }
static inline v16 FIRST(int n, v16 a, v16 b) { v16 r; EACH(i < n ? a.x[i] : b.x[i]); }
#include "ops/cpu/head_body.h"
