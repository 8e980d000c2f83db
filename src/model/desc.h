/* What a checkpoint's config.json says, for the Llama shape: one descriptor covers Llama 2/3,
 * Mistral, Qwen2, Qwen3, SmolLM, TinyLlama and the built-in world.                            */
#ifndef TN_MODEL_DESC_H
#define TN_MODEL_DESC_H
#include "base/json.h"
#include "ops/ops.h"

typedef enum tn_rope_type { TN_ROPE_DEFAULT, TN_ROPE_LINEAR, TN_ROPE_DYNAMIC, TN_ROPE_LLAMA3, TN_ROPE_YARN, TN_ROPE_LONGROPE } tn_rope_type;
#define TN_MAX_HEAD_DIM 512
#define TN_MAX_LAYERS 512
typedef struct tn_rope {
    tn_rope_type type;
    double theta, factor;
    double low_freq_factor, high_freq_factor;        /* llama3 */
    double beta_fast, beta_slow, mscale, mscale_all_dim, attention_factor; /* yarn, longrope; 0 = not given */
    bool truncate;                                   /* yarn */
    int original_max;                                /* original_max_position_embeddings */
    int rot_dim;                                     /* elements of a head that rotate */
    double short_factor[TN_MAX_HEAD_DIM / 2], long_factor[TN_MAX_HEAD_DIM / 2]; /* longrope */
} tn_rope;

/* Tensors that a score head has beside score.weight while it is trained, for readers of their own
 * ("reward_head.": others leave them out). */
#define TN_HEAD_PARTS 3
#define TN_HEAD_PREFIX "reward_head."
typedef struct tn_head_part {
    char name[48];
    int rows, cols;
} tn_head_part;

typedef struct tn_desc {
    char family[24];       /* "llama", "mistral", "qwen2", "qwen3" (model_type) */
    int vocab, hidden, layers, heads, kv_heads, head_dim, ffn, max_pos;
    double norm_eps, init_range;
    bool half_embed;       /* the file has the embedding in bf16 */
    bool tied, qkv_bias, o_bias, mlp_bias, qk_norm;
    tn_act act;
    int window;            /* 0: none; see tn_desc_window */
    uint8_t windowed[TN_MAX_LAYERS]; /* 1: this layer has the window (max_window_layers, layer_types) */
    tn_rope rope;
    int num_labels;        /* 0: language model; >= 1: sequence classification (score head) */
    bool per_token;        /* token classification: the head is read at tokens that end something */
    int n_part;            /* of the score head, when asked for by who trains it (tn_load) */
    tn_head_part part[TN_HEAD_PARTS];
    int bos, pad;          /* -1: none */
    int eos[8], n_eos;
} tn_desc;

/* Window of one layer, 0 for none. Key p is visible to query q iff q - window < p <= q. */
static inline int tn_desc_window(const tn_desc *d, int layer) { return d->windowed[layer] ? d->window : 0; }

/* From config.json (both `rope_scaling`/`rope_theta` and transformers 5's `rope_parameters`).
 * Anything outside the shape is refused by name: field, value, what is supported. */
tn_status tn_desc_from_config(tn_desc *d, const json_t *config, const char *where, tn_err *e);
/* A config.json that transformers loads. `base` (may be NULL): fields to keep as they were. */
json_t *tn_desc_to_config(const tn_desc *d, const json_t *base, bool reward_model);
size_t tn_desc_params(const tn_desc *d); /* number of parameters, tied head counted once */

/* What passes of a model are to work through. Rows that nothing reads end within the last layer (forward.c). */
typedef struct tn_effort {
    double tokens;      /* through the layers */
    double read;        /* of them by a head */
    double logits;      /* of those by the language-model head; 0 for scores */
    double pairs;       /* (query, visible key) */
} tn_effort;
typedef struct tn_effort_flop { double layers, head; } tn_effort_flop;
tn_effort_flop tn_desc_flop(const tn_desc *d, const tn_effort *w); /* floating-point operations of one forward */

/* cos/sin tables [n_pos, rot_dim/2] in double, angles and inverse frequencies rounded to f32 as
 * transformers computes them, attention scaling applied. `seq_len`: longest sequence of the run
 * (longrope picks its factors by it; dynamic beyond the original length is refused). */
tn_status tn_rope_tables(const tn_desc *d, int n_pos, int seq_len, double *cos, double *sin, tn_err *e);
#endif
