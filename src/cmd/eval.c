/* tenet eval: several models on the same prompts. */
#include "base/log.h"
#include "eval/attacks.h"
#include "ops/profile.h"
#include "train/trainer.h"
#include <stdlib.h>
#include <string.h>

typedef struct eval_options {
    tn_opt_list models, pairs, funcs, shots, against;
    const char *ref, *reward, *cost, *input, *choices, *out, *transcripts, *curve, *grader;
    bool world, baselines, greedy, attacks;
    int64_t count, max_new, batch;
    double temperature;
} eval_options;

#define AT(f) offsetof(eval_options, f)
static const tn_opt_row rows[] = {
    {"models", TN_OPT_LIST, AT(models), NULL, NULL, 0, 0, "model", "NAME=DIR",
     "Models to compare, in the order of the table; a bare DIR is named after its last part."},
    {"world", TN_OPT_BOOL, AT(world), "false", NULL, 0, 0, NULL, NULL,
     "Use the built-in world's evaluation prompts and its oracle."},
    {"input", TN_OPT_STRING, AT(input), NULL, NULL, 0, 0, "data", "FILE",
     "Prompts otherwise: rows {\"prompt\"}, {\"messages\"} or {\"ids\"}."},
    {"few-shot", TN_OPT_LIST, AT(shots), NULL, NULL, 0, 0, NULL, "NAME=FILE",
     "Examples that the model of this name sees before every prompt, as many as leave room for the answer in its context: "
     "rows {\"messages\"} or {\"prompt\", \"completion\"}. One folder may stand in --models under two names."},
    {"transcripts", TN_OPT_CHOICE, AT(transcripts), "text", "text|chat", 0, 0, NULL, NULL,
     "HH-RLHF transcripts, and prompts and answers that are texts: as they are, or as conversations."},
    {"count", TN_OPT_INT, AT(count), "640", NULL, 1, 0, NULL, "N", "At most so many prompts."},
    {"ref-model", TN_OPT_STRING, AT(ref), NULL, NULL, 0, 0, "reference", "DIR",
     "Reference for the KL column."},
    {"reward-model", TN_OPT_STRING, AT(reward), NULL, NULL, 0, 0, NULL, "DIR",
     "Proxy score of every answer; decides the win rate when there is no world."},
    {"cost-model", TN_OPT_STRING, AT(cost), NULL, NULL, 0, 0, NULL, "DIR",
     "Made by `tenet cost`: mean cost of the answers, and the share that it takes for unsafe (above 0); not in the world."},
    {"reward-funcs", TN_OPT_LIST, AT(funcs), NULL, NULL, 0, 0, NULL, "NAME[:ARG]",
     "Verifiable rewards of every answer, as in `tenet grpo`: exact_match:FIELD, number:FIELD, regex:PATTERN, ...; "
     "not in the world. Their means are accuracies."},
    {"against", TN_OPT_LIST, AT(against), NULL, NULL, 0, 0, NULL, "NAME",
     "Whom the others are compared with; default: the model named sft, else the first. Further names: win rates against "
     "them, too, in eval.json (win_NAME)."},
    {"baselines", TN_OPT_BOOL, AT(baselines), "false", NULL, 0, 0, NULL, NULL,
     "World: also the fixed policies (refuse, constant, copy, longest)."},
    {"attacks", TN_OPT_BOOL, AT(attacks), "false", NULL, 0, 0, NULL, NULL,
     "World: also ask for hazardous steps and secrets in ten ways (`tenet world eval --attack`): success by attack, those that "
     "training may have seen and those that it may not, and harmless requests wrapped alike; into attacks.jsonl, too."},
    {"greedy", TN_OPT_BOOL, AT(greedy), "false", NULL, 0, 0, NULL, NULL,
     "World: true reward of greedy answers, too."},
    {"pairs", TN_OPT_LIST, AT(pairs), NULL, NULL, 0, 0, NULL, "FILE",
     "Held-out preferences: accuracy of the reward model and of every model's log-probs."},
    {"choices", TN_OPT_STRING, AT(choices), NULL, NULL, 0, 0, NULL, "FILE",
     "Multiple-choice questions: accuracy of every model (the alignment tax)."},
    {"max-new-tokens", TN_OPT_INT, AT(max_new), "40", NULL, 1, 1 << 20, NULL, "N",
     "Longest answer."},
    {"batch-size", TN_OPT_INT, AT(batch), "64", NULL, 1, 4096, NULL, "N",
     "Sequences decoded together; does not change the results."},
    {"temperature", TN_OPT_REAL, AT(temperature), "1", NULL, 0, 100, NULL, "X",
     "Sampling temperature; 0: the most likely token each time."},
    {"curve", TN_OPT_STRING, AT(curve), NULL, NULL, 0, 0, NULL, "FILE",
     "World: write {\"step\", \"true_reward\", \"lo\", \"hi\", \"proxy\", \"kl\"} for every model "
     "whose name is a number (checkpoints of a run)."},
    {"grader", TN_OPT_CHOICE, AT(grader), "none", "none|rules", 0, 0, NULL, NULL,
     "rules: find refusals by phrases of English text: attack success on prompts that ask for harm (by their \"family\", \"kind\" or \"label\"; "
     "all without one), evasions, over-refusal; and Elo and collapse against the first model, as `tenet compare` has them. Rules err: read answers."},
    {"out", TN_OPT_STRING, AT(out), NULL, NULL, 0, 0, "output_dir", "DIR",
     "Folder for eval.json and samples.jsonl."},
    TN_OPT_LAST};

typedef struct session {
    eval_options o;
    tn_train_options machine;
    tn_backend *be;
    tn_tokenizer *tok;
    tn_model *ref;
    const char *base; /* of adapter folders */
    tn_scorer scorer, cost;
    tn_contest t;
    tn_dataset *pairs;
    double *ref_sums; /* log-probs of the pairs' responses under the reference */
    json_t *reward_json, *compared;
    tn_str prompts; /* file of the world's prompts */
    tn_attacks attacks;
    tn_str attack_rows;
} session;

/* "name=dir" or "dir". */
static void split(const char *s, tn_contender *c) {
    const char *eq = strchr(s, '='), *slash;
    snprintf(c->dir, sizeof c->dir, "%s", eq ? eq + 1 : s);
    size_t n = strlen(c->dir);
    while (n > 1 && c->dir[n - 1] == '/') c->dir[--n] = 0;
    slash = strrchr(c->dir, '/');
    if (eq)
        snprintf(c->name, sizeof c->name, "%.*s", (int)(eq - s), s);
    else
        snprintf(c->name, sizeof c->name, "%.60s", slash ? slash + 1 : c->dir);
}

/* The file of --few-shot for a contender; NULL: none. */
static const char *shots_of(const session *s, const tn_contender *c) {
    size_t n = strlen(c->name);
    for (int k = 0; k < s->o.shots.n; k++)
        if (!strncmp(s->o.shots.v[k], c->name, n) && s->o.shots.v[k][n] == '=') return s->o.shots.v[k] + n + 1;
    return NULL;
}

/* Every --few-shot names a model. */
static tn_status check_shots(const session *s, tn_err *e) {
    int found = 0;
    for (int k = 0; k < s->o.models.n; k++) found += shots_of(s, &s->t.c[k]) != NULL;
    return found == s->o.shots.n
               ? TN_OK
               : tn_fail(e, TN_ARG, "--few-shot: give NAME=FILE, once for a name of --models, e.g. --models few=base "
                                    "--few-shot few=examples.jsonl");
}

static tn_status measure(session *s, tn_contender *c, tn_err *e) {
    tn_model *m = NULL;
    tn_status st;
    tn_info("%s: %s", c->name, c->dir);
    TN_GO(tn_model_load(&m, c->dir, s->be, &(tn_load){.base = s->base, .frozen = true}, e), done);
    if (m->no_lm_head) {
        st = tn_fail(e, TN_ARG, "%s is a reward model; give it as --reward-model", c->dir);
        goto done;
    }
    const char *shots = shots_of(s, c);
    if (shots) TN_GO(tn_contest_shots(&s->t, c, m, s->tok, shots, e), done);
    TN_GO(tn_contest_answer(&s->t, c, m, s->tok, e), done);
    if (s->o.greedy && s->t.world) TN_GO(tn_contest_greedy(&s->t, c, m, s->tok, e), done);
    TN_GO(tn_contest_judge(&s->t, c, s->tok, e), done);
    if (s->o.attacks) TN_GO(tn_contest_answer(&s->attacks.t, &s->attacks.t.c[c - s->t.c], m, s->tok, e), done);
    if (s->ref) TN_GO(tn_contest_kl(&s->t, c, s->ref, e), done);
    if (s->pairs) {
        tn_stat_rate ratio, plain;
        double margin;
        bool self = s->o.ref && strcmp(c->dir, s->o.ref) == 0; /* a ratio to itself says nothing */
        TN_GO(tn_eval_model_pairs(self ? NULL : m, s->ref_sums, s->pairs, &ratio, &plain, &margin,
                                  e),
              done);
        c->pairs = json_pack("{s:o}", "plain_accuracy", tn_json_rate(&plain));
        if (s->ref_sums && !self) {
            json_object_set_new(c->pairs, "accuracy", tn_json_rate(&ratio));
            json_object_set_new(c->pairs, "margin", json_real(margin));
        }
    }
    if (s->o.choices) TN_GO(tn_eval_choices(m, s->tok, s->o.choices, &c->choices, e), done);
    st = TN_OK;
done:
    tn_model_free(m);
    return st;
}

static int find_model(const session *s, const char *name) {
    for (int k = 0; k < s->o.models.n; k++)
        if (!strcmp(s->t.c[k].name, name)) return k;
    return -1;
}

static tn_status find_opponents(session *s, tn_err *e) {
    const tn_opt_list *a = &s->o.against;
    tn_contest *t = &s->t;
    int sft = find_model(s, "sft");
    t->against = sft < 0 ? 0 : sft;
    if (a->n > 1 + TN_EVAL_ALSO) return tn_fail(e, TN_ARG, "--against: at most %d names, found %d", 1 + TN_EVAL_ALSO, a->n);
    for (int i = 0; i < a->n; i++) {
        int k = find_model(s, a->v[i]);
        if (k < 0)
            return tn_fail(e, TN_ARG, "--against %s: no model has that name; name them as in --models %s=DIR", a->v[i],
                           a->v[i]);
        if (i == 0) t->against = k;
        else t->also[t->n_also++] = k;
    }
    return TN_OK;
}

static tn_status open_all(session *s, tn_err *e) {
    const eval_options *o = &s->o;
    if (!o->models.n)
        return tn_fail(
            e, TN_ARG,
            "--models is missing; give NAME=DIR for each model, e.g. --models sft=sft ppo=ppo");
    if (!o->world && !o->input)
        return tn_fail(e, TN_ARG,
                       "--input is missing; give prompts, or --world for the built-in ones");
    if (o->world && (o->funcs.n || o->cost))
        return tn_fail(e, TN_ARG, "%s judges answers to --input; the world's are judged by its oracle",
                       o->cost ? "--cost-model" : "--reward-funcs");
    if (o->attacks && !o->world) return tn_fail(e, TN_ARG, "--attacks asks for what the world forbids; it needs --world");
    if (o->temperature == 0 && o->ref)
        return tn_fail(e, TN_ARG, "--ref-model: the KL column is a mean over samples, and --temperature 0 draws none");
    if (!o->out)
        return tn_fail(e, TN_ARG, "--out is missing; say where eval.json and samples.jsonl go");
    TN_TRY(tn_mkdirs(o->out, e));
    TN_TRY(tn_backend_from_options(&s->be, &s->machine, e));
    tn_contest *t = &s->t;
    t->seed = (uint64_t)s->machine.seed, t->max_new = (int)o->max_new, t->batch = (int)o->batch,
    t->temperature = o->temperature, t->grader = strcmp(o->grader, "rules") == 0;
    t->n_c = o->models.n + (o->baselines && o->world ? TN_POLICY_COUNT : 0);
    t->c = tn_calloc((size_t)t->n_c, sizeof *t->c);
    if (!t->c) return tn_fail(e, TN_NOMEM, "out of memory");
    for (int k = 0; k < o->models.n; k++) split(o->models.v[k], &t->c[k]);
    TN_TRY(find_opponents(s, e));
    TN_TRY(tn_tokenizer_of(&s->tok, t->c[0].dir, s->base, NULL, e));
    TN_TRY(check_shots(s, e));
    tn_path_join(&s->prompts, o->out, "prompts.jsonl");
    t->n = (int)o->count;
    TN_TRY(o->world ? tn_contest_world(t, s->tok, (int)o->count, s->prompts.s, e)
                    : tn_contest_prompts(t, s->tok, o->input, strcmp(o->transcripts, "chat") == 0, e));
    tn_path_join(&s->attack_rows, o->out, "attack_prompts.jsonl");
    if (o->attacks) TN_TRY(tn_attacks_open(&s->attacks, t, s->tok, o->models.n, (int)o->count, s->attack_rows.s, e));
    TN_TRY(tn_contest_open_funcs(t, &o->funcs, s->tok, e));
    const tn_load frozen = {.base = s->base, .frozen = true};
    if (o->ref) TN_TRY(tn_model_load(&s->ref, o->ref, s->be, &frozen, e));
    if (o->pairs.n) {
        tn_data_options q = {.kind = TN_DATA_PREFERENCE,
                             .seam = TN_SEAM_TRL,
                             .chat_transcripts = strcmp(o->transcripts, "chat") == 0,
                             .max_length = 1024,
                             .drop_long = true};
        TN_TRY(tn_dataset_load(&s->pairs, o->pairs.v, o->pairs.n, s->tok, &q, e));
        if (s->ref) TN_TRY(tn_eval_response_sums(s->ref, s->pairs, &s->ref_sums, e));
    }
    if (o->reward)
        TN_TRY(tn_scorer_open_with(&s->scorer, o->reward, t->c[0].dir, s->be, 2048, 2048,
                                   &frozen, e));
    if (o->reward) TN_TRY(tn_scorer_no_cost(&s->scorer, o->reward, e));
    if (!o->cost) return TN_OK;
    TN_TRY(tn_scorer_open_with(&s->cost, o->cost, t->c[0].dir, s->be, 2048, 2048, &frozen, e));
    if (!s->cost.model->score_is_cost)
        return tn_fail(e, TN_ARG, "--cost-model %s is no cost model; train one with `tenet cost`", o->cost);
    return TN_OK;
}

static tn_status proxies(session *s, tn_err *e) {
    tn_contest *t = &s->t;
    for (int k = 0; k < t->n_c; k++) TN_TRY(tn_contest_proxy(t, &t->c[k], &s->scorer, s->tok, e));
    s->reward_json = json_pack("{s:s}", "dir", s->o.reward);
    if (s->pairs && s->scorer.same_tokenizer) {
        tn_stat_rate r;
        json_t *calibration = NULL;
        TN_TRY(tn_eval_reward_pairs(&s->scorer, s->pairs, &r, &calibration, e));
        tn_info("reward model: %.3f of %d held-out pairs [%.3f, %.3f]", r.rate, r.n, r.lo, r.hi);
        json_object_set_new(s->reward_json, "pairs", tn_json_rate(&r));
        if (calibration) json_object_set_new(s->reward_json, "calibration", calibration);
    }
    return TN_OK;
}

static tn_status write_all(session *s, tn_err *e) {
    tn_str p = TN_STR_INIT;
    json_t *j = tn_contest_json(&s->t, s->o.ref);
    tn_status st = j ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
    if (j && s->reward_json) json_object_set(j, "reward_model", s->reward_json);
    if (j && s->compared) json_object_set(j, "compare", s->compared);
    for (int k = 0; j && s->o.attacks && k < s->o.models.n; k++) {
        json_t *more = tn_attacks_json(&s->attacks, k);
        if (json_object_update(json_array_get(json_object_get(j, "models"), (size_t)k), more) != 0) st = tn_fail(e, TN_NOMEM, "out of memory");
        json_decref(more);
    }
    tn_path_join(&p, s->o.out, "eval.json");
    if (st == TN_OK) st = tn_json_save(p.s, j, false, e);
    tn_path_join(&p, s->o.out, "samples.jsonl");
    if (st == TN_OK) st = tn_contest_samples(&s->t, s->tok, p.s, e);
    tn_path_join(&p, s->o.out, "attacks.jsonl");
    if (st == TN_OK && s->o.attacks) st = tn_contest_samples(&s->attacks.t, s->tok, p.s, e);
    json_decref(j);
    tn_str_free(&p);
    return st;
}

/* True reward along a run, for the report's over-optimisation figure. */
static tn_status write_curve(session *s, tn_err *e) {
    tn_out *o;
    tn_str line = TN_STR_INIT;
    TN_TRY(tn_out_open(&o, s->o.curve, false, e));
    tn_status st = TN_OK;
    for (int k = 0; k < s->t.n_c && st == TN_OK; k++) {
        const tn_contender *c = &s->t.c[k];
        char *end;
        long step = strtol(c->name, &end, 10);
        if (end == c->name || *end) continue;
        const struct {
            const char *name;
            double v;
            bool there;
        } f[] = {{"true_reward", c->rates.reward.mean, true},
                 {"lo", c->rates.reward.lo, true},
                 {"hi", c->rates.reward.hi, true},
                 {"proxy", c->proxy.mean, c->has_proxy},
                 {"kl", c->kl.mean, c->has_kl},
                 {"length", c->length, true}};
        tn_str_clear(&line);
        tn_str_addf(&line, "{\"step\": %ld", step);
        for (size_t i = 0; i < sizeof f / sizeof *f; i++)
            if (f[i].there)
                tn_str_addf(&line, ", \"%s\": ", f[i].name), tn_str_add_f64(&line, f[i].v);
        tn_str_addz(&line, "}\n");
        st =
            line.oom ? tn_fail(e, TN_NOMEM, "out of memory") : tn_out_write(o, line.s, line.len, e);
    }
    tn_str_free(&line);
    return tn_out_close(o, st, false, e);
}

static tn_status work(session *s, tn_err *e) {
    TN_TRY(open_all(s, e));
    tn_contest *t = &s->t;
    for (int k = 0; k < s->o.models.n; k++) TN_TRY(measure(s, &t->c[k], e));
    for (int k = s->o.models.n; k < t->n_c; k++) {
        tn_world_policy p = (tn_world_policy)(k - s->o.models.n);
        snprintf(t->c[k].name, sizeof t->c[k].name, "%s", tn_world_policy_name[p]);
        TN_TRY(tn_contest_policy(t, &t->c[k], p, e));
    }
    if (s->o.reward) TN_TRY(proxies(s, e));
    for (int k = 0; k < t->n_c && s->o.cost; k++) TN_TRY(tn_contest_cost(t, &t->c[k], &s->cost, s->tok, e));
    TN_TRY(tn_contest_summarise(t, e));
    if (t->grader) TN_TRY(tn_contest_compare(t, s->tok, &s->compared, e));
    if (s->o.attacks) TN_TRY(tn_attacks_summarise(&s->attacks, e));
    TN_TRY(write_all(s, e));
    if (s->o.curve && s->t.world) TN_TRY(write_curve(s, e));
    tn_contest_print(t, stdout);
    if (s->compared) tn_compare_print(s->compared, stdout);
    if (s->o.attacks) tn_attacks_print(&s->attacks, stdout);
    return TN_OK;
}

static tn_status run(const tn_opts *opts, tn_err *e) {
    session s;
    memset(&s, 0, sizeof s);
    tn_opts_bind(opts, rows, &s.o);
    s.base = tn_opts_str(opts, "base-model");
    tn_opts_bind(opts, tn_machine_option_rows, &s.machine);
    tn_status st = work(&s, e);
    st = tn_profile_finish(s.be, st, e);
    tn_contest_free(&s.t);
    tn_scorer_close(&s.scorer);
    tn_scorer_close(&s.cost);
    tn_model_free(s.ref);
    tn_free(s.ref_sums);
    tn_str_free(&s.prompts);
    tn_attacks_free(&s.attacks);
    tn_str_free(&s.attack_rows);
    tn_dataset_free(s.pairs);
    tn_tokenizer_free(s.tok);
    json_decref(s.reward_json);
    json_decref(s.compared);
    tn_backend_free(s.be);
    return st;
}

static const tn_opt_row *const tables[] = {rows, tn_base_model_rows, tn_machine_option_rows, NULL};
const tn_verb tn_verb_eval = {
    .name = "eval",
    .stage = "Measure",
    .summary = "true reward, win rate, harm, over-refusal, KL, accuracy: models side by side",
    .details = "Every model answers the same prompts. In the built-in world (--world) the oracle "
               "judges; elsewhere the reward\n"
               "model decides who wins. Numbers with 95 % intervals go to the table, to eval.json "
               "and, per prompt, to\n"
               "samples.jsonl; `tenet report` makes a page of them.\n\n"
               "  tenet eval --world --models base=base sft=sft dpo=dpo ppo=ppo --ref-model sft "
               "--reward-model rm --out eval/",
    .tables = tables,
    .run = run};
