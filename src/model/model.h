/* Models: parameters on shared stores, the forest of token segments, forward, heads, backward, KV cache.
 *
 *   tokens of a forest --forward--> hidden rows --heads--> logp, entropy, lse, value/score
 *   d(logp), d(entropy), ... --head backward--> --backward--> gradients, accumulated in the store
 *
 * A trunk can be shared: views add adapters (LoRA) and score heads of their own to one set of weights.
 *
 * One forward serves training, reference, scoring and sampling: a token's numbers are the same bits
 * in any batch, packing or thread count, cached or not (ops.h N1; segments below).               */
#ifndef TN_MODEL_H
#define TN_MODEL_H
#include "base/mem.h"
#include "base/park.h"
#include "base/str.h"
#include "model/desc.h"

/* ---------------- parameters ---------------- */
/* Elements of all tensors of one model part in one slab; shared by views, counted. */
typedef struct tn_store {
    void *data;             /* [n] elements */
    void *grad, *m, *v;     /* NULL until tn_model_trainable; m, v: of elements [first, last) */
    size_t n, first, last, moment_bytes; /* of m, and of v */
    uint8_t *live;          /* which blocks of the first n_live elements, an embedding, are in use (live.h); NULL: all */
    size_t n_live;
    int refs;
    bool resting;           /* the gradient was given back or never touched: tn_model_rest_grad */
    bool dropped;           /* matrices are gone: tn_model_drop_masters */
    bool half_embed;        /* then, and where the embedding came in bf16, that is how it is kept */
} tn_store;

typedef struct tn_tensor {
    char name[96];          /* Hugging Face name */
    int rows, cols;         /* a vector has cols = 1 */
    size_t off;             /* elements from the store's start; 64-byte aligned unless it follows in a fusion */
    tn_store *store;        /* trunk or head store */
} tn_tensor;

typedef struct tn_layer {
    /* fused matrices: rows of q, k, v (gate, up) are consecutive in the store */
    tn_weight qkv, o, gate_up, down;
    size_t qkv_off, o_off, gate_up_off, down_off; /* of their masters in the trunk store */
    size_t in_norm, post_norm, q_norm, k_norm, qkv_bias, o_bias, gate_up_bias, down_bias; /* offsets; TN_NONE */
} tn_layer;
#define TN_NONE ((size_t)-1)

/* ---- adapters: LoRA on a frozen trunk ---- */
/* The linear modules of a layer in the order of their rows, and the fused matrices they are parts of. */
typedef enum tn_module {
    TN_Q_PROJ, TN_K_PROJ, TN_V_PROJ, TN_O_PROJ, TN_GATE_PROJ, TN_UP_PROJ, TN_DOWN_PROJ, TN_MODULES
} tn_module;
typedef enum tn_matrix { TN_QKV, TN_O, TN_GATE_UP, TN_DOWN, TN_MATRICES } tn_matrix;
extern const char *const tn_module_names[TN_MODULES]; /* "q_proj", ... */
#define TN_ALL_LINEAR ((1u << TN_MODULES) - 1)
typedef struct tn_lora_spec {
    int rank;
    double alpha;
    bool rslora;      /* scale alpha/sqrt(rank), else alpha/rank */
    unsigned modules; /* bit 1 << tn_module */
} tn_lora_spec;

/* A and B of every adapted module of every layer, in a store of their own, under PEFT's names. */
typedef struct tn_adapter {
    tn_lora_spec spec;
    tn_store *store;
    int n_tensor;
    tn_tensor *tensor;
    tn_lora (*layer)[TN_MATRICES]; /* [layers] */
    void *packed;                  /* of all A and B */
    size_t packed_bytes;
} tn_adapter;
#define TN_MAX_ADAPTERS 16
#define TN_NO_ADAPTER (-1)

typedef struct tn_model {
    tn_desc desc;
    tn_backend *be;         /* not owned */
    json_t *config;         /* as read; NULL for fresh models */
    char dir[512];          /* where it came from, "" for fresh models */
    int n_tensor;
    tn_tensor *tensor;
    /* A model with adapters never trains its trunk. Number 0 is the one that is trained and saved; a forest's
     * segments say which number is theirs (0 unless told otherwise; ignored by models without adapters). */
    int n_adapter;
    tn_adapter *adapter[TN_MAX_ADAPTERS];
    double adapter_dropout; /* that a loaded adapter was trained with; never applied here */
    tn_store *trunk;        /* embeddings, layers, final norm, lm_head when untied */
    tn_store *head;         /* score.weight [num_labels, D] and bias (value heads); NULL without */
    tn_layer *layer;
    tn_weight lm_head;      /* tied: master = embedding */
    size_t embed, final_norm, lm_head_off, score, score_bias; /* offsets (trunk; score in head) */
    size_t head_parts;      /* offset in head of its parts, which are one array (desc.part) */
    void *packed;           /* all packed forms, one big buffer */
    size_t packed_bytes;
    bool packs_shared;      /* a view: packed forms belong to another model, which must outlive it */
    tn_moment_kind moments;     /* how AdamW's are kept, and the seed of their rounding: tn_model_moments */
    uint64_t moments_seed;
    bool trainable, no_lm_head; /* no_lm_head: reward models and critics never pack it */
    bool fresh_score;       /* the folder had no score head; this one is zero until tn_model_init_score */
    /* normalisation of a reward model, from tenet.json's {"score": {"mean": m, "sd": s}}; 0, 1 without */
    double score_mean, score_sd;
    bool score_is_cost;     /* {"score": {"kind": "cost"}}: higher is worse, above 0 is unsafe */
} tn_model;

/* Loads a Hugging Face folder. num_labels comes from the config (architectures *ForSequenceClassification);
 * `want_score`: give the model a score head even if the folder has none (fresh, zero-initialised
 * -> reward training) and never pack the LM head. Missing, extra or misshapen tensors are named.
 * An adapter folder of PEFT (adapter_config.json, adapter_model.safetensors) is loaded as its base with
 * the adapter as number 0; m->dir is the base's folder. */
typedef struct tn_load {
    bool frozen;            /* for ever: tn_model_drop_masters has been there */
    bool want_score;
    bool score_bias;        /* a fresh head has one */
    bool per_token;         /* a fresh head is a token classifier's */
    int labels;             /* of a fresh head; 0: one */
    /* want_score: the head has these parts, fresh with it or in the folder; cols 0: the hidden size */
    int n_part;
    tn_head_part part[TN_HEAD_PARTS];
    const char *base;       /* of an adapter folder, if not what adapter_config.json names */
    /* A model with a frozen trunk: when the folder (an adapter's base) is the one it came from, the result is a
     * view of it, and goes before it. */
    tn_model *on;
} tn_load;
bool tn_adapter_folder(const char *dir);
/* Folder of the base model of an adapter folder: `base`, or (NULL) what adapter_config.json names, as it
 * stands or beside the adapter. A full model's folder is its own base. */
tn_status tn_adapter_base(const char *dir, const char *base, tn_str *out, tn_err *e);
/* The folder with a model's tokenizer: its own, or that of an adapter's base. */
tn_status tn_model_tokenizer_dir(const char *dir, const char *base, tn_str *out, tn_err *e);
/* Shape of an adapter folder's adapter; rank 0 for a full model's folder. */
tn_status tn_adapter_peek(tn_lora_spec *s, const char *dir, tn_err *e);
/* Adds a module by PEFT's name, or all of "all-linear", to a set. */
tn_status tn_lora_modules(unsigned *set, const char *name, const char *where, tn_err *e);
tn_status tn_model_load(tn_model **m, const char *dir, tn_backend *be, const tn_load *how, tn_err *e);
/* The descriptor that tn_model_load would give the model; no weights are kept (memory plans). */
tn_status tn_model_peek(tn_desc *d, const char *dir, const tn_load *how, tn_err *e);
/* Fresh model: embedding N(0, 0.02^2); matrices N(0, 1/fan_in), residual outputs / sqrt(2 layers);
 * norms 1, biases and score 0. Counter-based: element i of tensor t is a function of (seed, t, i). */
tn_status tn_model_new(tn_model **m, const tn_desc *d, uint64_t seed, tn_backend *be, tn_err *e);
/* Independent copy (copy) or one sharing trunk, packed forms and head (view, without adapters). The
 * copy has no gradients. `score`: drop the head and give it a fresh one of a
 * critic (score.weight and score.bias, zero). A view goes before the model it looks at; it can be trained
 * once it has an adapter. A model with adapters is not copied: take a view and adapt that. */
tn_status tn_model_copy(tn_model **m, const tn_model *from, bool score, tn_err *e);
tn_status tn_model_view(tn_model **m, tn_model *from, tn_err *e);
/* A copy as tn_model_drop_masters leaves it, without ever having had more. The packed forms of `from` are those of its weights. */
tn_status tn_model_copy_frozen(tn_model **m, const tn_model *from, tn_err *e);
/* Hangs another adapter on m. Fresh: A uniform in +-1/sqrt(in) (PEFT's kaiming_uniform(a = sqrt 5)), a
 * function of (seed, tensor, element); B zero, so that nothing changes yet. Copy: of `from`, values only. */
tn_status tn_model_adapt(tn_model *m, const tn_lora_spec *s, uint64_t seed, tn_err *e);
tn_status tn_model_adapt_copy(tn_model *m, const tn_adapter *from, tn_err *e);
/* A score head of its own for a view: the values of `from`'s head, or (NULL) zeros, `bias` among them. */
tn_status tn_model_own_head(tn_model *m, const tn_model *from, bool bias, tn_err *e);
/* W += s B A of adapter 0 in every adapted module (in double, rounded once), then no adapter is left. The trunk
 * must be m's alone. The LM head and score head are as they were. */
tn_status tn_model_merge(tn_model *m, tn_err *e);
void tn_model_free(tn_model *m);
/* score.weight and parts from N(0, sd^2), counter-based as in tn_model_new. Zero weights are a saddle: neither the head nor,
 * through it, the trunk has a direction; a random head gives the trunk one from the first step. */
void tn_model_init_score(tn_model *m, double sd, uint64_t seed);
/* How the moments will be kept: before tn_model_trainable. Norms, biases and tensors of less than 4,096 elements
 * keep full ones. Rounding is a function of (seed, step, tensor, element). */
void tn_model_moments(tn_model *m, tn_moment_kind kind, uint64_t seed);
/* Allocates gradients and AdamW moments, zeroed: of everything, or of adapter 0 and the score head. */
tn_status tn_model_trainable(tn_model *m, tn_err *e);
/* The same with the moments of shard `k` of `n` only (ranks that share the optimiser's state). */
tn_status tn_model_trainable_shard(tn_model *m, int k, int n, tn_err *e);
void tn_model_pack(tn_model *m);  /* after any change of trained weights */
/* Of a trunk that nobody trains, copies, saves or merges: operations read the packed forms, so the matrices go
 * back to the system (norms stay, and the embedding, which loses the half of its bytes that says nothing if it came in
 * bf16 and is still that). Views see the same. */
void tn_model_drop_masters(tn_model *m);
/* Of such a model whose trunk nobody shares: packed forms and embedding move to `k` (base/park.h): between uses
 * tn_park_leave takes them out of memory. TN_IO: some stay in memory. */
tn_status tn_model_park(tn_model *m, tn_park *k, tn_err *e);
/* What training changes, in a fixed order: stores with their names in checkpoints ("trunk" or "adapter",
 * "head"; returns how many) and tensors (NULL past the last). */
typedef struct tn_trained { const char *name; tn_store *store; } tn_trained;
#define TN_TRAINED_MAX 2
int tn_model_trained(const tn_model *m, tn_trained t[TN_TRAINED_MAX]);
const tn_tensor *tn_model_param(const tn_model *m, int i);
/* A model with an adapter: the adapter's folder, and nothing of the trunk. Else
 * writes config.json, generation_config.json (if the source had one), model.safetensors (sharded past
 * 5 GB) in `dtype` ("float32" or "bfloat16") into an existing DIR; durable. */
tn_status tn_model_save(const tn_model *m, const char *dir, const char *dtype, tn_err *e);
const tn_tensor *tn_model_tensor(const tn_model *m, const char *name); /* NULL when there is none */
void *tn_tensor_data(const tn_tensor *t, const tn_backend *be);
void *tn_tensor_grad(const tn_tensor *t, const tn_backend *be);

/* ---------------- forest of segments ---------------- */
/* A segment's tokens see its ancestors and, causally, itself. Rule on roles alone: the prompt and every
 * sampled or trained span start and end a segment, whatever the batch or packing; that fixes the
 * 32-key blocks, hence the bits. */
typedef struct tn_forest {
    int n_tok, n_seg;
    int32_t *ids, *pos;            /* [n_tok] */
    tn_aseg *seg;                  /* [n_seg] */
    int32_t *parent, *seq;         /* [n_seg]; seq: caller's number of the logical sequence */
    int32_t *adapter;              /* [n_seg] number in the model, or TN_NO_ADAPTER; add takes the parent's, a root's 0 */
    int n_block, n_chain;
    tn_kblock *chain;
    int32_t *row_block, *row_slot, *desc_off, *desc;
    size_t cap_tok, cap_seg, cap_chain, cap_desc; /* capacities: grown, never shrunk */
} tn_forest;
void tn_forest_clear(tn_forest *f);
/* Appends a segment of n >= 1 tokens under `parent` (-1: a root, position 0); *index gets its number. */
tn_status tn_forest_add(tn_forest *f, const int32_t *ids, int n, int parent, int seq, int *index, tn_err *e);
/* Room for forests of that size: what fits them allocates nothing. */
tn_status tn_forest_reserve(tn_forest *f, size_t tokens, size_t segs, size_t chain, size_t desc, tn_err *e);
tn_status tn_forest_finish(tn_forest *f, tn_err *e); /* fills chains, blocks, descendants */
void tn_forest_free(tn_forest *f);

/* ---------------- running ---------------- */
/* Workspace of one model shape: activations for up to max_tok tokens and max_rows head rows. Nothing is
 * allocated by the calls below but blocks that were not reserved. */
typedef struct tn_run tn_run;
/* What a forward keeps for backward, which makes the rest again, to the same bits. Floats a token and layer, and
 * the products of a layer's forward that backward repeats:
 *   ALL     2D + Q + Hd + 2F   none
 *   CHEAP   2D + Q + Hd        gate|up
 *   LAYER   D                  all but down */
typedef enum tn_keep { TN_KEEP_NOTHING, TN_KEEP_ALL, TN_KEEP_CHEAP, TN_KEEP_LAYER } tn_keep;
tn_status tn_run_new(tn_run **r, const tn_model *m, int max_tok, int max_rows, int max_pos, tn_keep keep, tn_err *e);
void tn_run_free(tn_run *r);
bool tn_run_serves(const tn_run *r, const tn_model *m); /* made for models of m's shape and adapters */
/* Room for forests of that many 32-key blocks; a forward takes more when its forest needs them. */
tn_status tn_run_reserve(tn_run *r, const tn_model *m, int blocks, tn_err *e);

/* Forward of a finished forest: fills the run's final residual rows. */
tn_status tn_forward(tn_run *r, const tn_model *m, const tn_forest *f, tn_err *e);
/* The same for heads that will read `rows` alone (in any order, some perhaps twice): the others end in the last layer. */
tn_status tn_forward_rows(tn_run *r, const tn_model *m, const tn_forest *f, const int32_t *rows, int n, tn_err *e);
/* Hidden states after layer `l` (0 = embeddings, layers = after the last, before the final norm);
 * layers+1 = after the final norm. [n_tok, D] elements copied to `out`. l < layers: something must be kept; else
 * all rows must be read. */
tn_status tn_run_hidden(tn_run *r, const tn_model *m, int l, void *out, tn_err *e);

/* Language-model head at `rows` of the last forward (row i predicts target[i], the token after it). */
typedef struct tn_lm {
    int n;
    const int32_t *rows, *target;
    double inv_temp;
    double *logp, *lse, *entropy, *mean_logit, *top1, *log_sum_sq; /* [n], each may be NULL */
    float *z;                                         /* [n, V] or NULL */
} tn_lm;
tn_status tn_lm_head(tn_run *r, const tn_model *m, const tn_lm *q, tn_err *e);
/* Gradient of the same head; d_* [n] may be NULL. Adds to the hidden gradient and to the weights'. */
tn_status tn_lm_head_backward(tn_run *r, tn_model *m, const tn_lm *q, const double *d_logp,
                              const double *d_entropy, const double *d_lse, tn_err *e);
/* The same head beside a second model's, frozen and with the same vocabulary: divergences of their distributions (ops.h
 * N10), exact and without an array of the vocabulary's size. `run` is the second model's own; its last forward had the
 * same forest, so that rows are the same, or another one, whose rows of the same tokens are `rows`. */
typedef struct tn_lm_pair {
    tn_run *run;
    const tn_model *model;
    const int32_t *rows;     /* [n] of the second model's forward; NULL: the first one's */
    double beta;             /* of jsd, in (0, 1) */
    double *lse2;            /* [n] of the second model */
    double *logp2, *kl, *rkl, *jsd, *kl_mix; /* [n], each may be NULL; backward reads kl for d_kl, kl_mix for d_jsd */
} tn_lm_pair;
/* After tn_lm_head of the first has filled q->lse. */
tn_status tn_lm_pair_head(tn_run *r, const tn_model *m, const tn_lm *q, const tn_lm_pair *p, tn_err *e);
/* Gradient of both heads' numbers; each array may be NULL. */
typedef struct tn_lm_grad { const double *logp, *entropy, *lse, *kl, *rkl, *jsd; } tn_lm_grad;
tn_status tn_lm_pair_backward(tn_run *r, tn_model *m, const tn_lm *q, const tn_lm_pair *p, const tn_lm_grad *d,
                              tn_err *e);
/* Score/value head: out[n] = final_norm(x[row]) . w (+ b); raw, not normalised. */
tn_status tn_score_head(tn_run *r, const tn_model *m, const int32_t *rows, int n, double *out, tn_err *e);
tn_status tn_score_head_backward(tn_run *r, tn_model *m, const int32_t *rows, int n, const double *d_out, tn_err *e);
/* The same with a row of the head's first part as weights. */
tn_status tn_part_head(tn_run *r, const tn_model *m, int row, const int32_t *rows, int n, double *out, tn_err *e);
/* Head of two classes (process reward models): the logit of the second against the first,
 * out[n] = x . (w1 - w0) (+ b1 - b0). */
tn_status tn_logit_head(tn_run *r, const tn_model *m, const int32_t *rows, int n, double *out, tn_err *e);
tn_status tn_logit_head_backward(tn_run *r, tn_model *m, const int32_t *rows, int n, const double *d_out, tn_err *e);
/* For heads of the caller's own: final_norm(x[row]), [n, D]; backward takes the gradient of those, and adds. */
tn_status tn_hidden_rows(tn_run *r, const tn_model *m, const int32_t *rows, int n, double *out, tn_err *e);
tn_status tn_hidden_rows_backward(tn_run *r, tn_model *m, const int32_t *rows, int n, const double *d, tn_err *e);
/* Back through the trunk; call once after the head backwards. Gradients are added in the store. */
tn_status tn_backward(tn_run *r, tn_model *m, const tn_forest *f, tn_err *e);
void tn_model_zero_grad(tn_model *m);
void tn_model_fresh_grad(tn_model *m); /* the same when other things have been written there */
/* The same by giving their memory back; wake: before it is written again, which then no kernel waits for. */
void tn_model_rest_grad(tn_model *m);
void tn_model_wake_grad(tn_model *m);

/* ---------------- paged key/value cache ---------------- */
/* Pages of 32 keys for all layers, reference-counted so that samples of one prompt share its pages.
 * A cached sequence is a list of segments (prompt, response, ...), each starting a fresh page. */
typedef struct tn_kv tn_kv;
tn_status tn_kv_new(tn_kv **kv, const tn_model *m, int pages, int max_seqs, int max_pos, tn_err *e);
/* More of each, if need be; sequences stay as they are. */
tn_status tn_kv_grow(tn_kv *kv, int pages, int max_seqs, int max_pos, tn_err *e);
void tn_kv_free(tn_kv *kv);
void tn_kv_rest(tn_kv *kv); /* a cache without sequences gives its pages' memory back until they are taken again */
int tn_kv_free_pages(const tn_kv *kv);
int tn_kv_pages_for(int tokens); /* pages that a segment of that many tokens takes */
/* New empty sequence; -1 when there is no slot. fork shares every page and must start a new segment. */
int tn_kv_open(tn_kv *kv);
int tn_kv_fork(tn_kv *kv, int seq);
void tn_kv_close(tn_kv *kv, int seq);
/* The first item of empty `seq` will find `tokens` tokens there: those that `like` begins with when that item's turn comes. Earlier items of
 * the same call may append them when they are whole pages of its first segment. Without new_segment that item goes on in the middle of a
 * segment, if need be in a copy of a page. */
void tn_kv_begin_like(tn_kv *kv, int seq, int like, int tokens);
/* The adapter's number for an empty sequence (0 after open); a fork has its parent's. */
void tn_kv_adapter(tn_kv *kv, int seq, int adapter);
int tn_kv_length(const tn_kv *kv, int seq);
int tn_kv_pages(const tn_kv *kv, int seq);
int tn_kv_common_pages(const tn_kv *kv, int a, int b); /* that both begin with: the same pages, not equal ones */
/* One forward over several sequences: item i appends `n` tokens to sequence `seq`, beginning a new
 * segment first when `new_segment`. Prefill and decode are the same call. Fails with TN_NOMEM before
 * changing anything when pages run out. Rows of the run: items in order, tokens in order. */
typedef struct tn_kv_item { int seq; const int32_t *ids; int n; bool new_segment; } tn_kv_item;
tn_status tn_forward_kv(tn_run *r, const tn_model *m, tn_kv *kv, const tn_kv_item *items, int n, tn_err *e);
/* The same when only these rows will be read (as tn_forward_rows); none: the cache is all that is wanted. */
tn_status tn_forward_kv_rows(tn_run *r, const tn_model *m, tn_kv *kv, const tn_kv_item *items, int n,
                             const int32_t *rows, int n_rows, tn_err *e);

/* ---------------- optimiser ---------------- */
/* Squared norm of all gradients: blocks of TN_NORM_BLOCK elements of a tensor, then tensors, each added in
 * order (double). */
double tn_model_grad_sumsq(tn_model *m);
/* The same in two halves, for ranks that hold a shard of the gradient: sums of the blocks that begin in
 * elements [begin, end) of a store, into sum[tn_model_blocks(m, s)]; then of all blocks of all stores. */
size_t tn_model_blocks(const tn_model *m, const tn_store *s);
void tn_model_block_sums(tn_model *m, const tn_store *s, size_t begin, size_t end, double *sum);
double tn_model_sum_blocks(const tn_model *m, const double *const sum[TN_TRAINED_MAX]);
/* First element of shard k of n of a store; k == n: its end. Shards are whole blocks, about equally many.
 * *block (may be NULL): the block that begins there. */
size_t tn_model_shard(const tn_model *m, const tn_store *s, int k, int n, size_t *block);
/* Bytes of the moment (m or v) of a store's elements before `end`, a shard's end: where the next one begins. With
 * full moments they lie as the elements do; else tensors follow each other. Never more than a gradient has. */
size_t tn_model_moment_bytes(const tn_model *m, const tn_store *s, size_t end);
/* AdamW on every element whose moments are here. Decay spares norms and biases unless `decay_all`
 * (transformers' Trainer spares them). The packed forms stay as they were: tn_model_pack. */
void tn_model_adamw(tn_model *m, double lr, double beta1, double beta2, double eps, double wd, bool decay_all,
                    long step, double gscale);
#endif
