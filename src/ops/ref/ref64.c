/* The reference in double: the oracle, the same formulas in a wider type. */
#define TN_REF64
#include "ops/ref/real.h"
#include "ops/ref/gemm.h"
#include "ops/ref/rows.h"
#include "ops/ref/optim.h"
#include "ops/ref/attn.h"
#include "ops/ref/attn_bf16.h"
#include "ops/ref/head.h"

#define TN_TABLE tn_ops_ref64
#include "ops/ref/table.h"
