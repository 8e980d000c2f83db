/* The reference operations as a table. */
#include "ops/ref/sample.h"
const tn_ops TN_TABLE = {
    .weight_bytes = ref_weight_bytes, .weight_pack = ref_weight_pack,
    .gemm = ref_gemm, .gemm_dx = ref_gemm_dx, .gemm_dw = ref_gemm_dw, .bias_bwd = ref_bias_bwd,
    .lora = ref_lora, .lora_bwd = ref_lora_bwd,
    .embed = ref_embed, .embed_bwd = ref_embed_bwd,
    .rms_norm = ref_rms_norm, .rms_norm_bwd = ref_rms_norm_bwd, .rope = ref_rope, .round = ref_round,
    .act_gate = ref_act_gate, .act_gate_bwd = ref_act_gate_bwd,
    .gather = ref_gather, .scatter_add = ref_scatter_add, .spread = ref_spread, .add = ref_add, .scale = ref_scale,
    .kv_block_bytes = ref_kv_block_bytes, .kv_write = ref_kv_write,
    .attn = ref_attn, .attn_bwd = ref_attn_bwd,
    .head = ref_head, .head_bwd = ref_head_bwd, .head_pair = ref_head_pair, .rowdot = ref_rowdot, .rowdot_bwd = ref_rowdot_bwd,
    .exp_row = tn_ref_exp_row,
    .adamw = ref_adamw, .sumsq = ref_sumsq, .finite = ref_finite,
};
