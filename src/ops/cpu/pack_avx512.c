/* Packing with AVX-512; bf16 by integer arithmetic, which compilers vectorise. */
#include "ops/cpu/transpose_avx512.h"
#define PACK(name) name##_avx512
#define TRANSPOSE transpose16
#include "ops/cpu/pack_body.h"
