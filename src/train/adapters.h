/* What --use-peft, the lora options and --base-model mean: which model is trained, which one is its
 * reference, what they share. TRL's names and defaults (lora_dropout 0 excepted).
 *
 *   --model BASE --use-peft        a fresh adapter on BASE; the reference is BASE, the adapter off
 *   --model ADAPTER                that adapter goes on; the reference is it as it was
 * In both cases trunk and packed forms exist once; the output is the adapter's folder. */
#ifndef TN_TRAIN_ADAPTERS_H
#define TN_TRAIN_ADAPTERS_H
#include "conf/conf.h"
#include "model/budget.h"

typedef struct tn_adapter_options {
    const char *base_model;
    bool use_peft, rslora, dora, load_4bit, load_8bit;
    int64_t r;
    double alpha, dropout;
    tn_opt_list modules, saved;
} tn_adapter_options;
extern const tn_opt_row tn_adapter_option_rows[];
extern const tn_opt_row
    tn_base_model_rows[]; /* --base-model alone, for verbs that only read; NOFIELD */

/* The model that `--model dir` trains, from a checkpoint folder `from` when the run goes on (else NULL), with an
 * adapter where the options say so. how->want_score is the caller's. */
tn_status tn_trained_model_open(tn_model **m, const tn_adapter_options *o, const tn_opts *given,
                                const char *dir, const char *from, tn_load how, uint64_t seed,
                                tn_backend *be, tn_err *e);
/* What that will be, without loading it: descriptor and adapter (rank 0: none). The options are checked. */
tn_status tn_trained_model_peek(tn_desc *d, tn_lora_spec *s, const tn_adapter_options *o, const tn_opts *given,
                                const char *dir, const char *from, tn_load how, tn_err *e);
/* Is `dir`, or its base, the model whose trunk `policy` (or its base) has? */
bool tn_same_trunk(const char *dir, const char *policy, const char *base);
/* The model as it was at the start of the run, frozen. With adapters a view of the policy's trunk (adapter off, or
 * a copy of the one in `dir`); else a copy, or loaded anew when the run goes on. ref_dir: another model, or NULL. */
tn_status tn_reference_open(tn_model **ref, tn_model *policy, const tn_adapter_options *o,
                            const char *dir, const char *ref_dir, bool resumed, tn_err *e);
/* Does the policy's workspace serve its reference? Not that of another model, whose rotary tables may differ. */
bool tn_reference_shares_run(const tn_run *run, const tn_model *ref, const tn_model *policy, const char *ref_dir);
/* The same with its workspace of `tokens` (`rows`, `length`, `blocks`: as the policy's), for the memory plan. */
tn_status tn_reference_budget(tn_budget *p, const tn_desc *policy, const tn_lora_spec *s,
                              const tn_adapter_options *o, const char *dir, const char *ref_dir,
                              tn_backend *be, int tokens, int rows, int length, int blocks,
                              tn_err *e);
/* A critic that shares `like`'s trunk: its adapter copied, or (none) a fresh one of *spec; its score
 * head copied, or (none) zero with a bias. */
tn_status tn_critic_view(tn_model **critic, tn_model *like, const tn_lora_spec *spec, uint64_t seed,
                         tn_err *e);
#endif
