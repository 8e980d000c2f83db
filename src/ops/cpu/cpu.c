/* The cpu table. */
#include "ops/cpu/rows.h"
#include <string.h>

const struct tn_cpu_rows *tn_cpu_rows_pick(const char *kernels) {
#ifdef __x86_64__
    if (strcmp(kernels, "avx2") == 0) return &tn_rows_avx2;
    if (strcmp(kernels, "avx512") == 0) return &tn_rows_avx512;
    if (strcmp(kernels, "avx512bf16") == 0 || strcmp(kernels, "amx") == 0) return &tn_rows_avx512bf16;
#endif
    return &tn_rows_scalar;
}

const tn_ops tn_ops_cpu = {
    .weight_bytes = tn_cpu_weight_bytes, .weight_pack = tn_cpu_weight_pack,
    .gemm = tn_cpu_gemm, .gemm_dx = tn_cpu_gemm_dx, .gemm_dw = tn_cpu_gemm_dw, .bias_bwd = tn_cpu_bias_bwd,
    .lora = tn_cpu_lora, .lora_bwd = tn_cpu_lora_bwd,
    .embed = tn_cpu_embed, .embed_bwd = tn_cpu_embed_bwd,
    .rms_norm = tn_cpu_rms_norm, .rms_norm_bwd = tn_cpu_rms_norm_bwd, .rope = tn_cpu_rope, .round = tn_cpu_round,
    .act_gate = tn_cpu_act_gate, .act_gate_bwd = tn_cpu_act_gate_bwd,
    .gather = tn_cpu_gather, .scatter_add = tn_cpu_scatter_add, .spread = tn_cpu_spread, .add = tn_cpu_add, .scale = tn_cpu_scale,
    .kv_block_bytes = tn_cpu_kv_block_bytes, .kv_write = tn_cpu_kv_write, .attn = tn_cpu_attn, .attn_bwd = tn_cpu_attn_bwd,
    .head = tn_cpu_head, .head_bwd = tn_cpu_head_bwd, .head_pair = tn_cpu_head_pair,
    .rowdot = tn_cpu_rowdot, .rowdot_bwd = tn_cpu_rowdot_bwd,
    .exp_row = tn_cpu_exp_row,
    .adamw = tn_cpu_adamw, .sumsq = tn_cpu_sumsq, .finite = tn_cpu_finite,
};
