/* tenet best-of-n: gold against proxy as the best of ever more samples is taken. */
#include "base/log.h"
#include "cmd/verbs.h"
#include "eval/bon.h"
#include "eval/contest.h"
#include "ops/profile.h"
#include "report/bon.h"
#include "train/trainer.h"
#include <math.h>
#include <string.h>

typedef struct bon_options {
    const char *model, *base, *gold, *input, *transcripts, *out, *step_score;
    tn_opt_list rewards, rl_curves;
    bool world;
    int64_t count, samples, max_new, batch;
    double temperature;
} bon_options;

#define AT(f) offsetof(bon_options, f)
static const tn_opt_row rows[] = {
    {"model", TN_OPT_STRING, AT(model), NULL, NULL, 0, 0, "model-name-or-path", "DIR", "The policy that is sampled."},
    {"base-model", TN_OPT_STRING, AT(base), NULL, NULL, 0, 0, NULL, "DIR",
     "Base of an adapter folder, instead of the one that its adapter_config.json names."},
    {"reward-model", TN_OPT_LIST, AT(rewards), NULL, NULL, 0, 0, NULL, "NAME=DIR",
     "Proxies, each of which chooses among the same samples; a bare DIR is named after its last part."},
    {"step-score", TN_OPT_CHOICE, AT(step_score), "min", "min|product|last", 0, 0, NULL, NULL,
     "What a process reward model (`tenet prm`) makes of its steps' probabilities: the least, their product, or the last one."},
    {"world", TN_OPT_BOOL, AT(world), "false", NULL, 0, 0, NULL, NULL,
     "The built-in world's evaluation prompts, and its oracle as gold."},
    {"gold-reward-model", TN_OPT_STRING, AT(gold), NULL, NULL, 0, 0, NULL, "DIR", "Gold otherwise: a better reward model."},
    {"input", TN_OPT_STRING, AT(input), NULL, NULL, 0, 0, "data", "FILE", "Prompts otherwise: rows {\"prompt\"}, {\"messages\"} or {\"ids\"}."},
    {"transcripts", TN_OPT_CHOICE, AT(transcripts), "text", "text|chat", 0, 0, NULL, NULL,
     "HH-RLHF transcripts as plain text or as conversations."},
    {"count", TN_OPT_INT, AT(count), "160", NULL, 1, 1 << 20, NULL, "N", "At most so many prompts."},
    {"samples", TN_OPT_INT, AT(samples), "128", NULL, 2, 1 << 16, NULL, "N", "Samples to each prompt: the largest n."},
    {"max-new-tokens", TN_OPT_INT, AT(max_new), "40", NULL, 1, 1 << 20, NULL, "N", "Longest answer."},
    {"temperature", TN_OPT_REAL, AT(temperature), "1", NULL, 1e-3, 100, NULL, "X", "Sampling temperature."},
    {"batch-size", TN_OPT_INT, AT(batch), "64", NULL, 1, 4096, NULL, "N", "Sequences decoded together; does not change the results."},
    {"rl-curve", TN_OPT_LIST, AT(rl_curves), NULL, NULL, 0, 0, NULL, "NAME=FILE",
     "Rows {\"true_reward\", \"kl\"} of a run's checkpoints (`tenet eval --curve`): the same for reinforcement learning, in its "
     "own form. Name a run as the proxy that it learned from."},
    {"out", TN_OPT_STRING, AT(out), NULL, NULL, 0, 0, "output_dir", "DIR", "Folder for curve.jsonl, best-of-n.json and page.html."},
    TN_OPT_LAST};

typedef struct proxy {
    char name[64], dir[512];
    tn_scorer scorer;
    double *score; /* [prompts][samples] */
    tn_bon_curve curve;
} proxy;

typedef struct session {
    bon_options o;
    tn_train_options machine;
    tn_backend *be;
    tn_tokenizer *tok;
    tn_model *model;
    tn_contest t; /* prompts */
    proxy *proxy;
    int n_proxy;
    tn_scorer gold_scorer;
    double *gold;
    /* of one portion */
    tn_gen *gen;
    tn_gen_request *req;
    tn_gen_sample *sample;
    tn_example *ex;
    tn_response *response;
    uint8_t *ones;
    json_t *report;
    tn_bon_run *run;
    int n_run;
} session;

static void name_of(const char *s, proxy *p) {
    const char *eq = strchr(s, '='), *slash;
    snprintf(p->dir, sizeof p->dir, "%s", eq ? eq + 1 : s);
    size_t n = strlen(p->dir);
    while (n > 1 && p->dir[n - 1] == '/') p->dir[--n] = 0;
    slash = strrchr(p->dir, '/');
    if (eq) snprintf(p->name, sizeof p->name, "%.*s", (int)(eq - s), s);
    else snprintf(p->name, sizeof p->name, "%.60s", slash ? slash + 1 : p->dir);
}

static tn_status open_scorer(session *s, tn_scorer *scorer, const char *dir, tn_err *e) {
    TN_TRY(tn_scorer_open_with(scorer, dir, s->o.model, s->be, 2048, 2048, &(tn_load){.base = s->o.base, .frozen = true}, e));
    scorer->step_score = s->o.step_score;
    return tn_scorer_no_cost(scorer, dir, e);
}

static tn_status open_prompts(session *s, tn_err *e) {
    tn_contest *t = &s->t;
    const bon_options *o = &s->o;
    tn_str path = TN_STR_INIT;
    t->n = (int)o->count;
    tn_path_join(&path, o->out, "prompts.jsonl");
    tn_status st = path.oom   ? tn_fail(e, TN_NOMEM, "out of memory")
                   : o->world ? tn_contest_world(t, s->tok, t->n, path.s, e)
                              : tn_contest_prompts(t, s->tok, o->input, !strcmp(o->transcripts, "chat"), e);
    tn_str_free(&path);
    return st;
}

static tn_status check(const session *s, tn_err *e) {
    const bon_options *o = &s->o;
    if (!o->model) return tn_fail(e, TN_ARG, "--model is missing; give the folder of the policy");
    if (!o->rewards.n) return tn_fail(e, TN_ARG, "--reward-model is missing; give NAME=DIR for each proxy");
    if (!o->out) return tn_fail(e, TN_ARG, "--out is missing; say where curve.jsonl goes");
    if (o->world == (o->gold != NULL))
        return tn_fail(e, TN_ARG, "one of --world and --gold-reward-model says what gold is");
    if (o->world == (o->input != NULL)) return tn_fail(e, TN_ARG, "one of --world and --input says where prompts come from");
    return TN_OK;
}

static tn_status open_all(session *s, tn_err *e) {
    const bon_options *o = &s->o;
    TN_TRY(check(s, e));
    TN_TRY(tn_mkdirs(o->out, e));
    TN_TRY(tn_backend_from_options(&s->be, &s->machine, e));
    TN_TRY(tn_tokenizer_of(&s->tok, o->model, o->base, NULL, e));
    TN_TRY(open_prompts(s, e));
    TN_TRY(tn_model_load(&s->model, o->model, s->be, &(tn_load){.base = o->base, .frozen = true}, e));
    if (s->model->no_lm_head) return tn_fail(e, TN_STATE, "%s is a reward model; give it as --reward-model", o->model);
    s->proxy = tn_calloc((size_t)o->rewards.n, sizeof *s->proxy);
    size_t all = (size_t)s->t.n * (size_t)o->samples;
    s->gold = tn_calloc(all, sizeof *s->gold);
    if (!s->proxy || !s->gold) return tn_fail(e, TN_NOMEM, "out of memory for %zu samples", all);
    s->n_proxy = o->rewards.n;
    for (int k = 0; k < s->n_proxy; k++) {
        proxy *p = &s->proxy[k];
        name_of(o->rewards.v[k], p);
        if (!(p->score = tn_calloc(all, sizeof *p->score))) return tn_fail(e, TN_NOMEM, "out of memory for %zu samples", all);
        TN_TRY(open_scorer(s, &p->scorer, p->dir, e));
    }
    return o->gold ? open_scorer(s, &s->gold_scorer, o->gold, e) : TN_OK;
}

/* ---- the pool: prompts in portions, so that few samples are held at a time ---- */

enum { PORTION = 8 };

static tn_status room(session *s, int longest, tn_err *e) {
    size_t n = (size_t)s->o.samples, most = (size_t)(longest + s->o.max_new);
    s->req = tn_calloc(PORTION, sizeof *s->req);
    s->sample = tn_calloc(PORTION * n, sizeof *s->sample);
    s->ex = tn_calloc(PORTION, sizeof *s->ex);
    s->response = tn_calloc(PORTION * n, sizeof *s->response);
    s->ones = tn_malloc(most);
    if (!s->req || !s->sample || !s->ex || !s->response || !s->ones) return tn_fail(e, TN_NOMEM, "out of memory");
    memset(s->ones, 1, most);
    return tn_gen_new(&s->gen, s->model, (int)s->o.batch, (int)most, e);
}

/* The samples of prompts [at, at + k) as examples, judged by all. */
static tn_status judge(session *s, int at, int k, tn_err *e) {
    int n = (int)s->o.samples;
    for (int i = 0; i < k; i++) {
        const tn_example *p = &s->t.rows->ex[at + i];
        for (int j = 0; j < n; j++) {
            const tn_gen_sample *y = &s->sample[i * n + j];
            s->response[i * n + j] = (tn_response){.ids = y->ids, .n = y->n, .trained = s->ones, .rank = 1};
            if (s->t.world) {
                tn_world_verdict v;
                tn_world_judge(&s->t.w, &s->t.prompt[at + i], y->ids, y->n - y->stopped, y->stopped, &v);
                s->gold[(size_t)(at + i) * (size_t)n + (size_t)j] = v.reward;
            }
        }
        s->ex[i] = (tn_example){.prompt = p->prompt, .n_prompt = p->n_prompt, .n_response = n, .response = s->response + i * n,
                                .meta = p->meta};
    }
    size_t off = (size_t)at * (size_t)n;
    if (s->o.gold) TN_TRY(tn_scorer_scores(&s->gold_scorer, s->ex, k, s->tok, s->gold + off, e));
    for (int m = 0; m < s->n_proxy; m++)
        TN_TRY(tn_scorer_scores(&s->proxy[m].scorer, s->ex, k, s->tok, s->proxy[m].score + off, e));
    return TN_OK;
}

static tn_status fill(session *s, tn_err *e) {
    int n = (int)s->o.samples, longest = 1;
    for (int i = 0; i < s->t.n; i++)
        if (s->t.rows->ex[i].n_prompt > longest) longest = s->t.rows->ex[i].n_prompt;
    tn_sampling how = {.temperature = s->o.temperature, .top_p = 1, .max_new = (int)s->o.max_new, .seed = (uint64_t)s->machine.seed};
    tn_gen_stops(&how, s->model, s->tok);
    TN_TRY(room(s, longest, e));
    tn_progress bar;
    tn_progress_begin(&bar, "best-of-n", "prompts", s->t.n, 0);
    for (int at = 0; at < s->t.n; at += PORTION) {
        int k = s->t.n - at < PORTION ? s->t.n - at : PORTION;
        for (int i = 0; i < k; i++) {
            const tn_example *x = &s->t.rows->ex[at + i];
            s->req[i] = (tn_gen_request){.ids = x->prompt, .n_ids = x->n_prompt, .n = n, .key = (uint64_t)(at + i) * (uint64_t)n};
        }
        TN_TRY(tn_gen_run(s->gen, s->req, k, &how, s->sample, NULL, NULL, e));
        TN_TRY(judge(s, at, k, e));
        tn_progress_update(&bar, at + k, "%d samples", (at + k) * n);
    }
    tn_progress_end(&bar);
    return TN_OK;
}

static tn_status read_runs(session *s, tn_err *e) {
    s->run = tn_calloc((size_t)s->o.rl_curves.n + 1, sizeof *s->run);
    if (!s->run) return tn_fail(e, TN_NOMEM, "out of memory");
    for (int k = 0; k < s->o.rl_curves.n; k++) {
        TN_TRY(tn_bon_run_read(&s->run[s->n_run++], s->o.rl_curves.v[k], e));
        for (int i = 0; i < k; i++)
            if (!strcmp(s->run[i].name, s->run[k].name))
                return tn_fail(e, TN_ARG, "--rl-curve: two runs are called '%s'; name them, like a=FILE b=FILE", s->run[k].name);
    }
    return TN_OK;
}

/* ---- output ---- */

static void add_mean(tn_str *s, const char *name, const tn_stat_mean *m) {
    const struct {
        const char *end;
        double v;
    } part[] = {{"", m->mean}, {"_lo", m->lo}, {"_hi", m->hi}};
    for (int i = 0; i < 3; i++) tn_str_addf(s, ", \"%s%s\": ", name, part[i].end), tn_str_add_f64(s, part[i].v);
}

static tn_status write_curve(const session *s, tn_err *e) {
    tn_str line = TN_STR_INIT;
    for (int k = 0; k < s->n_proxy; k++)
        for (int i = 0; i < s->proxy[k].curve.n_point; i++) {
            const tn_bon_point *p = &s->proxy[k].curve.point[i];
            tn_str_addz(&line, "{\"name\": ");
            tn_str_add_json(&line, s->proxy[k].name, strlen(s->proxy[k].name));
            tn_str_addf(&line, ", \"n\": %d, \"kl\": ", p->n), tn_str_add_f64(&line, p->kl);
            tn_str_addz(&line, ", \"d\": "), tn_str_add_f64(&line, p->d);
            add_mean(&line, "gold", &p->gold);
            add_mean(&line, "proxy", &p->proxy);
            add_mean(&line, "gain", &p->gain);
            tn_str_addz(&line, "}\n");
        }
    tn_str path = TN_STR_INIT;
    tn_path_join(&path, s->o.out, "curve.jsonl");
    tn_status st = line.oom || path.oom ? tn_fail(e, TN_NOMEM, "out of memory") : tn_write_file(path.s, line.s, line.len, e);
    tn_str_free(&line);
    tn_str_free(&path);
    return st;
}

static json_t *fit_json(const tn_overopt *f) {
    double d, r;
    json_t *o = json_pack("{s:s,s:f,s:f,s:f,s:i}", "form", f->form == TN_OVEROPT_BON ? "d(alpha - beta d)" : "d(alpha - beta log d)",
                          "alpha", f->alpha, "beta", f->beta, "rmse", f->rmse, "points", f->points);
    if (o && tn_overopt_peak(f, &d, &r)) json_object_set_new(o, "peak", json_pack("{s:f,s:f}", "d", d, "gain", r));
    return o;
}

static tn_status write_report(session *s, tn_err *e) {
    tn_str path = TN_STR_INIT;
    json_t *models = json_object(), *all = json_pack("{s:i,s:I,s:b,s:O}", "prompts", s->t.n, "samples", (json_int_t)s->o.samples,
                                                     "world", s->t.world, "reward_models", models);
    for (int k = 0; k < s->n_proxy && models; k++) {
        const tn_bon_curve *c = &s->proxy[k].curve;
        json_t *o = c->fitted ? fit_json(&c->fit) : json_object();
        if (c->fitted) {
            json_object_set_new(o, "alpha_95", json_pack("[f,f]", c->alpha_lo, c->alpha_hi));
            json_object_set_new(o, "beta_95", json_pack("[f,f]", c->beta_lo, c->beta_hi));
        }
        json_object_set_new(models, s->proxy[k].name, o);
    }
    json_decref(models);
    json_t *runs = s->n_run ? json_object() : NULL;
    for (int k = 0; k < s->n_run && runs; k++) json_object_set_new(runs, s->run[k].name, fit_json(&s->run[k].fit));
    if (runs) json_object_set_new(all, "reinforcement_learning", runs);
    tn_path_join(&path, s->o.out, "best-of-n.json");
    tn_status st = !all || path.oom ? tn_fail(e, TN_NOMEM, "out of memory") : tn_json_save(path.s, all, false, e);
    json_decref(all);
    tn_str_free(&path);
    return st;
}

static tn_status write_page(const session *s, tn_err *e) {
    tn_str path = TN_STR_INIT, page = TN_STR_INIT;
    const char **name = tn_calloc((size_t)s->n_proxy, sizeof *name);
    const tn_bon_curve **curve = tn_calloc((size_t)s->n_proxy, sizeof *curve);
    tn_status st = name && curve ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
    for (int k = 0; k < s->n_proxy && st == TN_OK; k++) name[k] = s->proxy[k].name, curve[k] = &s->proxy[k].curve;
    const tn_bon_page p = {.n_curve = s->n_proxy, .n_run = s->n_run, .n_prompt = s->t.n, .n_sample = (int)s->o.samples, .name = name,
                           .curve = curve, .run = s->run, .gold = s->o.gold ? s->o.gold : "the world's oracle"};
    if (st == TN_OK) st = tn_bon_page_write(&p, &page, e);
    tn_path_join(&path, s->o.out, "page.html");
    if (st == TN_OK) st = path.oom ? tn_fail(e, TN_NOMEM, "out of memory") : tn_write_file(path.s, page.s, page.len, e);
    tn_free(name), tn_free(curve);
    tn_str_free(&page), tn_str_free(&path);
    return st;
}

static void print_peak(const tn_overopt *f, double most) {
    double d, r;
    if (!tn_overopt_peak(f, &d, &r)) printf("no peak: beta is not positive\n");
    else printf("peak at d %.2f (%s), gain %.3f\n", d, d > most ? "beyond what was measured" : "measured", r);
}

static void print_curve(const proxy *p) {
    const tn_bon_curve *c = &p->curve;
    printf("%s\n%7s %6s %6s   %-15s %-15s %-15s\n", p->name, "n", "KL", "d", "gold", "gain", "proxy");
    for (int i = 0; i < c->n_point; i++) {
        const tn_bon_point *q = &c->point[i];
        printf("%7d %6.2f %6.2f   %6.3f ± %.3f  %6.3f ± %.3f  %6.3f ± %.3f\n", q->n, q->kl, q->d, q->gold.mean, q->gold.half,
               q->gain.mean, q->gain.half, q->proxy.mean, q->proxy.half);
    }
    if (!c->fitted) return;
    printf("  gain = d (%.3f - %.3f d), alpha in [%.3f, %.3f], beta in [%.3f, %.3f], rmse %.3f; ", c->fit.alpha, c->fit.beta, c->alpha_lo,
           c->alpha_hi, c->beta_lo, c->beta_hi, c->fit.rmse);
    print_peak(&c->fit, c->point[c->n_point - 1].d);
}

static tn_status work(session *s, tn_err *e) {
    TN_TRY(open_all(s, e));
    TN_TRY(read_runs(s, e));
    TN_TRY(fill(s, e));
    for (int k = 0; k < s->n_proxy; k++) {
        proxy *p = &s->proxy[k];
        TN_TRY(tn_bon_curve_of(s->gold, p->score, s->t.n, (int)s->o.samples, s->t.family, TN_WF_COUNT, (uint64_t)s->machine.seed,
                               &p->curve, e));
        print_curve(p);
    }
    for (int k = 0; k < s->n_run; k++) {
        const tn_bon_run *r = &s->run[k];
        printf("%s, learned\n  gain = d (%.3f - %.3f log d), rmse %.3f over %d points; ", r->name, r->fit.alpha, r->fit.beta, r->fit.rmse,
               r->fit.points);
        print_peak(&r->fit, r->step[r->n - 1].d);
    }
    printf("d: sqrt(KL), KL = log n - (n - 1)/n, an upper bound where samples repeat. gain: gold less that of n = 1. ±: half of a 95 %%\n"
           "interval over prompts; those of alpha and beta are from resampled prompts.\n");
    TN_TRY(write_curve(s, e));
    TN_TRY(write_report(s, e));
    return write_page(s, e);
}

static tn_status run(const tn_opts *opts, tn_err *e) {
    session s;
    memset(&s, 0, sizeof s);
    tn_opts_bind(opts, rows, &s.o);
    tn_opts_bind(opts, tn_machine_option_rows, &s.machine);
    tn_status st = tn_profile_finish(s.be, work(&s, e), e);
    for (int k = 0; k < s.n_proxy; k++) {
        tn_scorer_close(&s.proxy[k].scorer);
        tn_free(s.proxy[k].score);
    }
    tn_free(s.proxy);
    for (int k = 0; k < s.n_run; k++) tn_bon_run_free(&s.run[k]);
    tn_free(s.run);
    tn_scorer_close(&s.gold_scorer);
    tn_free(s.gold), tn_free(s.req), tn_free(s.sample), tn_free(s.ex), tn_free(s.response), tn_free(s.ones);
    tn_gen_free(s.gen);
    tn_contest_free(&s.t);
    tn_model_free(s.model);
    tn_tokenizer_free(s.tok);
    tn_backend_free(s.be);
    return st;
}

static const tn_opt_row *const tables[] = {rows, tn_machine_option_rows, NULL};
const tn_verb tn_verb_best_of_n = {
    .name = "best-of-n", .stage = "Measure", .summary = "what choosing among n samples buys: gold against proxy over sqrt(KL)",
    .details = "One pool of samples serves every n: the table has the expected gold and proxy score of the best of n by the\n"
               "proxy, over all subsets, and R(d) = d (alpha - beta d) through the gold gains (Gao, Schulman and Hilton 2022).\n"
               "`tenet generate --best-of N --reward-model DIR` uses what this measures.\n\n"
               "  tenet best-of-n --world --model sft/ --reward-model small=rm-250/ large=rm-2000/ --samples 256 --out bon/",
    .tables = tables, .run = run};
