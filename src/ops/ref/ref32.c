/* The reference in float: the definition of every bit (N1). */

#include "ops/ref/real.h"
#include "ops/ref/gemm.h"
#include "ops/ref/rows.h"
#include "ops/ref/optim.h"
#include "ops/ref/attn.h"
#include "ops/ref/attn_bf16.h"
#include "ops/ref/head.h"

#define TN_TABLE tn_ops_ref32
#include "ops/ref/table.h"
