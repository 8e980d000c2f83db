/* tenet merge: an adapter and its base into one full model folder. */
#include "base/log.h"
#include "cmd/verbs.h"
#include "train/trainer.h"
#include <string.h>

typedef struct merge_opts {
    const char *base, *dtype;
    int64_t threads;
    bool overwrite;
} merge_opts;

#define AT(f) offsetof(merge_opts, f)
static const tn_opt_row merge_rows[] = {
    {"base-model", TN_OPT_STRING, AT(base), NULL, NULL, 0, 0, NULL, "DIR",
     "Base of the adapter, instead of the one that its adapter_config.json names."},
    {"dtype", TN_OPT_CHOICE, AT(dtype), "float32", "float32|bfloat16", 0, 0, "torch-dtype", NULL,
     "Type of the written weights. bfloat16 halves the file and rounds small changes of weights "
     "away."},
    {"threads", TN_OPT_INT, AT(threads), "0", NULL, 0, 1024, NULL, "N",
     "Threads; 0 uses every CPU."},
    {"overwrite", TN_OPT_BOOL, AT(overwrite), "false", NULL, 0, 0, NULL, NULL,
     "Replace DIR when it holds a model already."},
    TN_OPT_LAST};
static const tn_opt_row *const merge_tables[] = {merge_rows, NULL};

/* What made it, and a reward model's normalisation. */
static tn_status save_record(const tn_model *m, const char *from, const char *to, tn_err *e) {
    tn_str path = TN_STR_INIT;
    json_t *o = json_pack("{s:s,s:s,s:s,s:s,s:s}", "tool", "tenet", "version", TN_VERSION, "verb",
                          "merge", "adapter", from, "base", m->dir);
    if (o && m->head)
        json_object_set_new(o, "score",
                            json_pack("{s:f,s:f,s:s}", "mean", m->score_mean, "sd", m->score_sd, "kind",
                                      m->score_is_cost ? "cost" : "reward"));
    tn_path_join(&path, to, "tenet.json");
    tn_status st = o && !path.oom ? tn_json_save(path.s, o, false, e)
                                  : tn_fail(e, TN_NOMEM, "%s: out of memory", to);
    json_decref(o);
    tn_str_free(&path);
    return st;
}

static tn_status merge(const merge_opts *o, const char *from, const char *to, tn_err *e) {
    tn_backend *be = NULL;
    tn_model *m = NULL;
    tn_tokenizer *tok = NULL;
    tn_status st;
    TN_GO(tn_backend_open(&be, "cpu", TN_F32, NULL, (int)o->threads, e), done);
    TN_GO(tn_model_load(&m, from, be, &(tn_load){.base = o->base}, e), done);
    TN_GO(tn_tokenizer_of(&tok, from, o->base, NULL, e), done);
    TN_GO(tn_model_merge(m, e), done);
    TN_GO(tn_model_save(m, to, o->dtype, e), done);
    if (tok) TN_GO(tn_tokenizer_save(tok, to, e), done);
    st = save_record(m, from, to, e);
done:
    tn_tokenizer_free(tok);
    tn_model_free(m);
    tn_backend_free(be);
    return st;
}

static tn_status run(const tn_opts *opts, tn_err *e) {
    merge_opts o;
    tn_str tmp = TN_STR_INIT;
    tn_opts_bind(opts, merge_rows, &o);
    if (tn_opts_npos(opts) != 2)
        return tn_fail(e, TN_ARG,
                       "merge takes an adapter's folder and a new one: tenet merge ADAPTER DIR");
    const char *from = tn_opts_pos(opts, 0), *to = tn_opts_pos(opts, 1);
    if (!tn_adapter_folder(from))
        return tn_fail(e, TN_ARG, "%s is no adapter: it has no adapter_config.json", from);
    TN_TRY(tn_check_target(to, o.overwrite, e));
    tn_status st = tn_commit_begin(to, &tmp, e);
    if (st == TN_OK) {
        st = merge(&o, from, tmp.s, e);
        if (st == TN_OK)
            st = tn_commit_finish(to, e);
        else
            tn_remove_tree(tmp.s, NULL);
    }
    tn_str_free(&tmp);
    if (st == TN_OK) tn_info("%s is written; `tenet inspect %s` describes it", to, to);
    return st;
}

const tn_verb tn_verb_merge = {
    .name = "merge",
    .stage = "Files",
    .summary = "A LoRA adapter and its base into one model folder",
    .details = "Every adapted matrix becomes W + scale B A, rounded once; the rest is the base's. "
               "The result needs\n"
               "no adapter; its log-probs are near those of the adapter on its base, not the same "
               "bits.\n\n"
               "  tenet merge out/dpo-lora out/dpo\n"
               "  tenet merge adapter/ model/ --base-model base/ --dtype bfloat16\n",
    .positional = "ADAPTER DIR",
    .tables = merge_tables,
    .run = run};
