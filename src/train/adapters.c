#include "train/adapters.h"
#include "base/log.h"
#include "base/os.h"
#include <math.h>
#include <string.h>

#define AT(field) offsetof(tn_adapter_options, field)
#define BASE_MODEL(offset)                                                                         \
    {                                                                                              \
        "base-model", TN_OPT_STRING, offset, NULL, NULL, 0, 0, NULL, "DIR",                        \
            "Base of adapter folders, instead of the one that their adapter_config.json names."    \
    }

const tn_opt_row tn_base_model_rows[] = {BASE_MODEL(TN_OPT_NOFIELD), TN_OPT_LAST};
const tn_opt_row tn_adapter_option_rows[] = {
    BASE_MODEL(AT(base_model)),
    {"use-peft", TN_OPT_BOOL, AT(use_peft), "false", NULL, 0, 0, NULL, NULL,
     "Train a LoRA adapter on the frozen model instead of all its weights. An adapter folder as "
     "--model goes on being trained."},
    {"lora-r", TN_OPT_INT, AT(r), "16", NULL, 1, 1 << 16, "lora_rank", "N", "Rank of the adapter."},
    {"lora-alpha", TN_OPT_REAL, AT(alpha), "32", NULL, 1e-6, 1e6, NULL, "X",
     "The adapter's share is scaled by alpha/rank."},
    {"use-rslora", TN_OPT_BOOL, AT(rslora), "false", NULL, 0, 0, NULL, NULL,
     "Scale by alpha/sqrt(rank)."},
    {"lora-target-modules", TN_OPT_LIST, AT(modules), NULL, NULL, 0, 0, NULL, "NAME",
     "Modules to adapt: q_proj k_proj v_proj o_proj gate_proj up_proj down_proj, or all-linear. "
     "Default: q_proj v_proj."},
    {"lora-modules-to-save", TN_OPT_LIST, AT(saved), NULL, NULL, 0, 0, NULL, "NAME",
     "Modules trained and saved whole: score, which reward models and critics do anyway."},
    {"lora-dropout", TN_OPT_REAL, AT(dropout), "0", NULL, 0, 1, NULL, "X",
     "Only 0 is supported (TRL's default is 0.05): sampling and training are one forward."},
    {"use-dora", TN_OPT_BOOL, AT(dora), "false", NULL, 0, 0, NULL, NULL, "Not supported."},
    {"load-in-4bit", TN_OPT_BOOL, AT(load_4bit), "false", NULL, 0, 0, NULL, NULL, "Not supported."},
    {"load-in-8bit", TN_OPT_BOOL, AT(load_8bit), "false", NULL, 0, 0, NULL, NULL, "Not supported."},
    TN_OPT_LAST};

static tn_status check(const tn_adapter_options *o, bool score, tn_err *e) {
    if (o->dora)
        return tn_fail(e, TN_UNSUPPORTED, "--use-dora: DoRA is not supported; LoRA and rsLoRA are");
    if (o->load_4bit || o->load_8bit)
        return tn_fail(e, TN_UNSUPPORTED,
                       "--load-in-%dbit: quantised bases are not supported; the frozen base takes "
                       "its weights and packed forms, no gradients and no moments",
                       o->load_4bit ? 4 : 8);
    if (o->dropout > 0)
        return tn_fail(e, TN_UNSUPPORTED,
                       "--lora-dropout %g: adapters are trained without dropout, so that log-probs "
                       "are the same in sampling and training; leave it out",
                       o->dropout);
    for (int i = 0; i < o->saved.n; i++)
        if (strcmp(o->saved.v[i], "score") != 0 || !score)
            return tn_fail(e, TN_UNSUPPORTED,
                           "--lora-modules-to-save %s: only the score head of reward models and "
                           "critics can be trained whole beside an adapter",
                           o->saved.v[i]);
    return TN_OK;
}

static tn_status spec_of(const tn_adapter_options *o, tn_lora_spec *s, tn_err *e) {
    *s = (tn_lora_spec){.rank = (int)o->r, .alpha = o->alpha, .rslora = o->rslora};
    if (!o->modules.n)
        s->modules = 1u << TN_Q_PROJ | 1u << TN_V_PROJ; /* PEFT's choice for them all */
    for (int i = 0; i < o->modules.n; i++)
        TN_TRY(tn_lora_modules(&s->modules, o->modules.v[i], "--lora-target-modules", e));
    return TN_OK;
}

static const char *const shape_options[] = {"lora-r", "lora-alpha", "use-rslora",
                                            "lora-target-modules"};
enum { N_SHAPE = sizeof shape_options / sizeof *shape_options };

/* An adapter that goes on keeps its own shape: options that say otherwise are refused. */
static tn_status check_same(const tn_adapter *a, const tn_adapter_options *o, const tn_opts *given,
                            const char *dir, tn_err *e) {
    tn_lora_spec s;
    TN_TRY(spec_of(o, &s, e));
    bool same[] = {s.rank == a->spec.rank, s.alpha == a->spec.alpha, s.rslora == a->spec.rslora,
                   s.modules == a->spec.modules};
    for (int i = 0; i < N_SHAPE; i++)
        if (tn_opts_given(given, shape_options[i]) && !same[i])
            return tn_fail(
                e, TN_ARG,
                "--%s: the adapter in %s has rank %d, alpha %g and its own modules, and "
                "goes on as it is; leave the option out, or merge it (`tenet merge`) and "
                "start another",
                shape_options[i], dir, a->spec.rank, a->spec.alpha);
    return TN_OK;
}

static tn_status finish_open(tn_model *m, const tn_adapter_options *o, const tn_opts *given,
                             const char *dir, const char *from, uint64_t seed, tn_err *e) {
    bool adapter = tn_adapter_folder(dir);
    tn_lora_spec s;
    if (m->n_adapter && m->adapter_dropout > 0)
        tn_warn("%s: the adapter was trained with dropout %g; it goes on without", dir,
                m->adapter_dropout);
    if (from && !adapter && !m->n_adapter != !o->use_peft)
        return tn_fail(e, TN_STATE, "%s holds %s; go on %s --use-peft", from,
                       m->n_adapter ? "an adapter" : "a full model",
                       m->n_adapter ? "with" : "without");
    if (m->n_adapter) return check_same(m->adapter[0], o, given, from ? from : dir, e);
    if (from || !o->use_peft) return TN_OK;
    TN_TRY(spec_of(o, &s, e));
    return tn_model_adapt(m, &s, seed, e);
}

tn_status tn_trained_model_open(tn_model **m, const tn_adapter_options *o, const tn_opts *given,
                                const char *dir, const char *from, tn_load how, uint64_t seed,
                                tn_backend *be, tn_err *e) {
    tn_str base = TN_STR_INIT;
    *m = NULL;
    TN_TRY(check(o, how.want_score, e));
    tn_status st = tn_adapter_base(dir, o->base_model, &base, e);
    how.base = base.s; /* of a checkpoint's adapter, too */
    how.frozen = o->use_peft || tn_adapter_folder(dir);
    if (st == TN_OK) st = tn_model_load(m, from ? from : dir, be, &how, e);
    if (st == TN_OK) st = finish_open(*m, o, given, dir, from, seed, e);
    /* files that go along come from where the run began: its checkpoint may be removed before the next is written */
    if (st == TN_OK && from && !(*m)->n_adapter) snprintf((*m)->dir, sizeof(*m)->dir, "%s", dir);
    if (st != TN_OK) {
        tn_model_free(*m);
        *m = NULL;
    }
    tn_str_free(&base);
    return st;
}

tn_status tn_trained_model_peek(tn_desc *d, tn_lora_spec *s, const tn_adapter_options *o,
                                const tn_opts *given, const char *dir, const char *from,
                                tn_load how, tn_err *e) {
    tn_str base = TN_STR_INIT;
    TN_TRY(check(o, how.want_score, e));
    tn_status st = tn_adapter_base(dir, o->base_model, &base, e);
    how.base = base.s;
    if (st == TN_OK) st = tn_model_peek(d, from ? from : dir, &how, e);
    if (st == TN_OK) st = tn_adapter_peek(s, from ? from : dir, e);
    if (st == TN_OK && d->num_labels && !how.want_score)
        st = tn_fail(e, TN_STATE,
                     "%s is a reward model (it has a score head), and a language model is trained "
                     "here: take "
                     "another --model",
                     dir);
    if (st == TN_OK && !s->rank && o->use_peft) st = spec_of(o, s, e);
    for (int i = 0; i < N_SHAPE && st == TN_OK && !s->rank; i++)
        if (tn_opts_given(given, shape_options[i]))
            tn_warn("--%s has no effect without --use-peft: all weights are trained",
                    shape_options[i]);
    tn_str_free(&base);
    return st;
}

bool tn_same_trunk(const char *dir, const char *policy, const char *base) {
    tn_str a = TN_STR_INIT, b = TN_STR_INIT, real_a = TN_STR_INIT, real_b = TN_STR_INIT;
    bool same = tn_adapter_base(dir, base, &a, NULL) == TN_OK &&
                tn_adapter_base(policy, base, &b, NULL) == TN_OK &&
                tn_real_path(a.s, &real_a, NULL) == TN_OK &&
                tn_real_path(b.s, &real_b, NULL) == TN_OK && !strcmp(real_a.s, real_b.s);
    tn_str *all[] = {&a, &b, &real_a, &real_b};
    for (int i = 0; i < 4; i++) tn_str_free(all[i]);
    return same;
}

/* May `d` in folder `from` be the reference of policy `own` in folder `dir`? */
static tn_status check_reference(const tn_desc *d, const char *from, const tn_desc *own, const char *dir, tn_err *e) {
    if (d->num_labels)
        return tn_fail(e, TN_STATE,
                       "%s is a reward model (it has a score head), and the reference must give "
                       "log-probs: take a "
                       "language model as --ref-model",
                       from);
    if (d->vocab != own->vocab)
        return tn_fail(
            e, TN_STATE,
            "the reference %s has %d tokens, but the policy %s has %d; they need one tokenizer",
            from, d->vocab, dir, own->vocab);
    return TN_OK;
}

tn_status tn_reference_budget(tn_budget *p, const tn_desc *policy, const tn_lora_spec *s,
                              const tn_adapter_options *o, const char *dir, const char *ref_dir,
                              tn_backend *be, int tokens, int rows, int length, int blocks,
                              tn_err *e) {
    const char *from = ref_dir ? ref_dir : dir;
    tn_desc d = *policy;
    tn_lora_spec own;
    TN_TRY(tn_adapter_peek(&own, from, e));
    if (ref_dir) TN_TRY(tn_model_peek(&d, from, &(tn_load){.base = o->base_model}, e));
    TN_TRY(check_reference(&d, from, policy, dir, e));
    bool shared = s->rank && (!ref_dir || tn_same_trunk(from, dir, o->base_model));
    if (shared && !own.rank) tn_budget_add(p, "reference", "the adapter off", 0);
    if (!shared) tn_budget_frozen(p, "reference", &d, be, false);
    if (own.rank) tn_budget_adapter(p, "reference", &d, &own, be, false, false);
    if (shared || !ref_dir) return TN_OK; /* the policy's workspace serves it */
    tn_budget_run(p, "reference", &d, be, tokens, rows, length, blocks, false);
    tn_budget_adapter_run(p, "reference", &d, &own, be, tokens, false);
    tn_budget_scratch(p, &d, &own, be, tokens, rows, false);
    return TN_OK;
}

static tn_status open_reference(tn_model **ref, tn_model *policy, const tn_adapter_options *o, const char *dir,
                                const char *ref_dir, bool resumed, tn_err *e) {
    bool shared = policy->n_adapter > 0;
    tn_load how = {.base = o->base_model, .on = shared ? policy : NULL, .frozen = true};
    if (ref_dir) return tn_model_load(ref, ref_dir, policy->be, &how, e);
    if (shared && !tn_adapter_folder(dir)) return tn_model_view(ref, policy, e);
    if (shared || resumed) return tn_model_load(ref, dir, policy->be, &how, e);
    return tn_model_copy_frozen(ref, policy, e);
}

tn_status tn_reference_open(tn_model **ref, tn_model *policy, const tn_adapter_options *o,
                            const char *dir, const char *ref_dir, bool resumed, tn_err *e) {
    TN_TRY(open_reference(ref, policy, o, dir, ref_dir, resumed, e));
    TN_TRY(check_reference(&(*ref)->desc, ref_dir ? ref_dir : dir, &policy->desc, dir, e));
    if ((*ref)->trunk != policy->trunk) tn_model_drop_masters(*ref);
    return TN_OK;
}

bool tn_reference_shares_run(const tn_run *run, const tn_model *ref, const tn_model *policy, const char *ref_dir) {
    return (!ref_dir || ref->trunk == policy->trunk) && tn_run_serves(run, ref);
}

tn_status tn_critic_view(tn_model **critic, tn_model *like, const tn_lora_spec *spec, uint64_t seed,
                         tn_err *e) {
    tn_status st = tn_model_view(critic, like, e);
    if (st == TN_OK) st = tn_model_own_head(*critic, like->head ? like : NULL, true, e);
    if (st == TN_OK)
        st = like->n_adapter ? tn_model_adapt_copy(*critic, like->adapter[0], e)
                             : tn_model_adapt(*critic, spec, seed, e);
    if (st != TN_OK) {
        tn_model_free(*critic);
        *critic = NULL;
    }
    return st;
}
