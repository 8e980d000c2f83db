/* Pieces that every training loop uses: backend, tokenizer, output folder, record, learning rate. */
#include "comm/comm.h"
#include "ops/profile.h"
#include "train/trainer.h"
#include <math.h>
#include <string.h>

tn_status tn_backend_from_options(tn_backend **b, const tn_train_options *o, tn_err *e) {
    bool f32 = strcmp(o->dtype, "float32") == 0 || strcmp(o->dtype, "f32") == 0;
    if (strcmp(o->backend, "ref64") == 0)
        return tn_fail(e, TN_ARG,
                       "--backend ref64 is the oracle of `score`; training takes cpu or ref");
    tn_dtype t = f32 ? TN_F32 : TN_BF16;
    TN_TRY(tn_backend_open(b, o->backend, t, o->kernels, (int)o->threads, e));
    bool profiled = o->profile && tn_comm_is_root(tn_comm_world()); /* of several ranks: the first */
    if (!profiled) return TN_OK;
    TN_TRY(tn_profile_open(*b, o->profile, e));
    if (tn_comm_world()->size > 1) tn_comm_time(tn_comm_world(), *b);
    return TN_OK;
}

tn_status tn_run_end(tn_backend *b, tn_status st, tn_err *e) {
    tn_comm *c = tn_comm_world();
    tn_comm_time(c, NULL);
    st = tn_profile_finish(b, st, e);
    return tn_comm_settle(c, st, e);
}

tn_status tn_tokenizer_optional(tn_tokenizer **tok, const char *dir, const char *chat_template,
                                tn_err *e) {
    return tn_tokenizer_of(tok, dir, NULL, chat_template, e);
}

tn_status tn_tokenizer_of(tn_tokenizer **tok, const char *dir, const char *base,
                          const char *chat_template, tn_err *e) {
    tn_str where = TN_STR_INIT, p = TN_STR_INIT;
    *tok = NULL;
    tn_status st = tn_model_tokenizer_dir(dir, base, &where, e);
    if (st == TN_OK) {
        tn_path_join(&p, where.s, "tokenizer.json");
        if (tn_exists(p.s)) st = tn_tokenizer_load(tok, where.s, e);
    }
    if (st == TN_OK && *tok && chat_template) st = tn_chat_set(*tok, chat_template, e);
    tn_str_free(&where);
    tn_str_free(&p);
    return st;
}

static tn_status open_output(const tn_train_options *o, int *lock, tn_str *resume_from, tn_err *e) {
    if (!o->output_dir)
        return tn_fail(e, TN_ARG,
                       "--output-dir is missing; say where the model and its records go");
    TN_TRY(tn_mkdirs(o->output_dir, e));
    TN_TRY(tn_lock_dir(o->output_dir, lock, e));
    TN_TRY(tn_commit_mend(o->output_dir, e));
    if (o->resume) return tn_checkpoint_find(o->output_dir, o->resume, resume_from, e);
    tn_str p = TN_STR_INIT;
    tn_path_join(&p, o->output_dir, "metrics.jsonl");
    tn_status st = TN_OK;
    if (tn_exists(p.s) && !o->overwrite)
        st = tn_fail(e, TN_STATE,
                     "%s already holds a run; --resume-from-checkpoint latest continues it, "
                     "--overwrite starts "
                     "afresh (its checkpoints are removed), or choose another --output-dir",
                     o->output_dir);
    else if (o->overwrite) {
        char **names;
        size_t n;
        st = tn_list_dir(o->output_dir, &names, &n, e);
        for (size_t i = 0; st == TN_OK && i < n; i++)
            if (strncmp(names[i], "checkpoint-", 11) == 0) {
                tn_path_join(&p, o->output_dir, names[i]);
                st = tn_retire_tree(p.s, e);
            }
        for (size_t i = 0; i < n; i++) tn_free(names[i]);
        tn_free(names);
    }
    tn_str_free(&p);
    return st;
}

/* The first rank looks at the folder and tells the others. */
tn_status tn_output_open(const tn_train_options *o, int *lock, tn_str *resume_from, tn_err *e) {
    tn_comm *c = tn_comm_world();
    char from[2048] = "";
    *lock = -1;
    tn_str_clear(resume_from);
    if (tn_comm_is_root(c)) TN_TRY(open_output(o, lock, resume_from, e));
    if (resume_from->len >= sizeof from)
        return tn_fail(e, TN_ARG, "the checkpoint's path has more than %zu bytes", sizeof from - 1);
    if (resume_from->len) memcpy(from, resume_from->s, resume_from->len);
    TN_TRY(tn_comm_broadcast(c, 0, from, sizeof from, e));
    tn_str_clear(resume_from);
    tn_str_addz(resume_from, from);
    return TN_OK;
}

tn_order_kind tn_order_of(const tn_train_options *o) {
    return strcmp(o->sampling, "sequential") == 0 ? TN_ORDER_SEQUENTIAL
           : strcmp(o->sampling, "torch") == 0    ? TN_ORDER_TORCH
                                                  : TN_ORDER_RANDOM;
}

const char *tn_save_dtype(const tn_train_options *o) {
    if (strcmp(o->save_dtype, "auto") != 0) return o->save_dtype;
    return strcmp(o->dtype, "float32") == 0 || strcmp(o->dtype, "f32") == 0 ? "float32"
                                                                            : "bfloat16";
}

const char *tn_output_dtype(const tn_train_options *o, const tn_model *m) {
    return m->n_adapter && strcmp(o->save_dtype, "auto") == 0 ? "float32" : tn_save_dtype(o);
}

tn_optimiser tn_optimiser_from_options(const tn_train_options *o) {
    return (tn_optimiser){o->lr,           o->beta1,         o->beta2,    o->eps,
                          o->weight_decay, o->max_grad_norm, o->decay_all};
}

tn_keep tn_keep_from_options(const tn_train_options *o) {
    if (strcmp(o->recompute, "none") != 0) return o->recompute[0] == 'c' ? TN_KEEP_CHEAP : TN_KEEP_LAYER;
    return o->gradient_checkpointing ? TN_KEEP_LAYER : TN_KEEP_ALL;
}

tn_moment_kind tn_moments_from_option(const char *optim) {
    return strstr(optim, "8bit") ? TN_MOMENTS_8BIT : strstr(optim, "bf16") ? TN_MOMENTS_BF16 : TN_MOMENTS_FULL;
}

double tn_lr_at(const tn_train_options *o, double peak, long step, long total) {
    tn_schedule_kind k = strcmp(o->scheduler, "linear") == 0   ? TN_SCHEDULE_LINEAR
                         : strcmp(o->scheduler, "cosine") == 0 ? TN_SCHEDULE_COSINE
                                                               : TN_SCHEDULE_CONSTANT;
    long warmup =
        o->warmup_steps > 0 ? (long)o->warmup_steps : (long)ceil(o->warmup_ratio * (double)total);
    return peak * tn_schedule_factor(k, step - 1, warmup, total, o->min_lr_ratio);
}
