/* The memory plan: what a run will take, by owner, before anything is allocated; the same arithmetic as the
 * allocations themselves. Some of it takes turns (gradients while a loop trains, a frozen model while it is read): each
 * part names its turn, and of all turns the largest counts. */
#ifndef TN_MODEL_BUDGET_H
#define TN_MODEL_BUDGET_H
#include "base/str.h"
#include "model/model.h"

#define TN_BUDGET_MAX 64
typedef struct tn_budget {
    int n;
    struct { char owner[24], part[32], turn[24]; size_t bytes; } row[TN_BUDGET_MAX]; /* turn "": always there */
    size_t total;  /* what is always there, and the largest turn */
    char turn[24]; /* of rows that are added: tn_budget_turn */
    bool rests;    /* a loop that samples and trains by turns: gradients are there while it trains */
    bool parks;    /* then frozen models leave between their uses (base/park.h), too */
    size_t parked; /* bytes of those */
    int ranks, spare; /* of tn_budget_ranks; 0: one rank, no spare gradients */
    tn_moment_kind moments; /* of what is trained; set before it is added */
    /* What the rows to be trained on name of an embedding that nothing else reaches (live.h); NULL: samples will say. Then
     * all of it is counted, in a part of its own ("at most"). */
    const uint8_t *live;
    int sure_blocks;        /* of the blocks of runs that follow; further ones depend on samples: "at most"; 0: all are sure */
    bool sum_sq;            /* heads give log_sum_sq, too; set before scratch is added */
} tn_budget;

void tn_budget_add(tn_budget *p, const char *owner, const char *part, size_t bytes);
/* What is added from here on belongs to that turn; NULL: is always there. Only a plan that rests has turns. */
void tn_budget_turn(tn_budget *p, const char *turn);
/* What is there already: rows, tokenizer, the program itself. To be asked before a model is loaded. */
void tn_budget_present(tn_budget *p);
/* What follows is trained by `ranks` processes that share out the moments, each with `spare` gradients beside the
 * model's own (lanes). */
void tn_budget_ranks(tn_budget *p, int ranks, int spare);
/* weights, packed forms, and for training gradients and moments. `score`: with a score head and
 * without packed LM head. */
void tn_budget_model(tn_budget *p, const char *owner, const tn_desc *d, const tn_backend *be,
                     bool train, bool score);
/* A model that is not trained itself, its masters dropped. In a plan that parks it takes a turn under its owner's name, and models of
 * one owner take it one by one: the largest of each part counts. */
void tn_budget_frozen(tn_budget *p, const char *owner, const tn_desc *d, const tn_backend *be,
                      bool score);
/* A model that is trained: all of it, or (rank > 0) a frozen trunk with an adapter. */
void tn_budget_trained(tn_budget *p, const char *owner, const tn_desc *d, const tn_lora_spec *s,
                       const tn_backend *be, bool score);
/* An adapter on weights that are somebody's already; with `train` gradients and moments, with `score` a head. */
void tn_budget_adapter(tn_budget *p, const char *owner, const tn_desc *d, const tn_lora_spec *s,
                       const tn_backend *be, bool train, bool score);
/* What a run of T tokens takes beside tn_budget_run for a model with that adapter. */
void tn_budget_adapter_run(tn_budget *p, const char *owner, const tn_desc *d, const tn_lora_spec *s,
                           const tn_backend *be, int T, bool keep);
/* tn_run_new, and tn_run_reserve for `blocks` blocks of keys and values. */
void tn_budget_run(tn_budget *p, const char *owner, const tn_desc *d, const tn_backend *be, int max_tok,
                   int max_rows, int max_pos, int blocks, tn_keep keep);
void tn_budget_kv(tn_budget *p, const char *owner, const tn_desc *d, const tn_backend *be, int pages);
/* The backend's scratch, which all models share: the largest call of a forward (and backward, with `train`)
 * over T tokens with R rows of the LM head (0: none), of all weights or of an adapter (s: NULL or rank 0: none). */
void tn_budget_scratch(tn_budget *p, const tn_desc *d, const tn_lora_spec *s, tn_backend *be, int T, int R,
                       bool train);
/* The same for heads beside a second model's (tn_lm_pair); dw: the language-model head is trained. */
void tn_budget_scratch_pair(tn_budget *p, const tn_desc *d, const tn_desc *second, tn_backend *be, int R, bool dw);
/* A line for every owner, and the sum; a line for every turn. */
void tn_budget_print(const tn_budget *p, tn_str *out);
/* Memory that this process may still take, in bytes: what the machine has free, less where a cgroup or
 * RLIMIT_AS says so; 0 when nothing says. */
size_t tn_budget_available(void);
/* TN_NOMEM with the numbers and what to change when the plan is beyond `limit` bytes (--max-memory; 0: none)
 * or what is not there yet beyond what can be had. */
tn_status tn_budget_check(const tn_budget *p, size_t limit, size_t available, tn_err *e);

/* Bytes behind tn_run_new and tn_run_reserve. */
size_t tn_budget_run_bytes(const tn_desc *d, const tn_backend *be, int max_tok, int max_rows,
                           int max_pos, int blocks, tn_keep keep);
#endif
