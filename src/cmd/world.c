/* tenet world: sets of the built-in world, its tokenizer and model configuration, its oracle and
 * its simulated annotators. */
#include "base/log.h"
#include "cmd/verbs.h"
#include "world/attack.h"
#include "world/oversight.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    int64_t seed, count, first, draws, dial;
    const char *out, *input, *mix, *annotator, *pairs_out, *attack, *extension;
    int64_t wording;
    bool oracle, outcome, conflict, twins;
    tn_world_shape shape;
} options;

#define FIELD(f) offsetof(options, f)
static const tn_opt_row rows[] = {
    {"seed", TN_OPT_INT, FIELD(seed), "1", NULL, 0, 9007199254740992.0, NULL, "N",
     "Seed of the run that the set, the items' ids or the annotators belong to. The evaluation "
     "does not depend on it."},
    {"count", TN_OPT_INT, FIELD(count), NULL, NULL, 0, 1e12, NULL, "N",
     "Rows to write (text 290000, sft 4000, prompts-pref 2000, prompts-pref-heldout 400, "
     "prompts-rl 7680, eval 640)."},
    {"first", TN_OPT_INT, FIELD(first), "0", NULL, 0, 1e15, NULL, "N",
     "Number of the first row: rows can be made in parts."},
    {"out", TN_OPT_STRING, FIELD(out), NULL, NULL, 0, 0, "output-dir", "FILE",
     "Output file (standard output), or folder of `tokenizer` and `config`."},
    {"input", TN_OPT_STRING, FIELD(input), NULL, NULL, 0, 0, NULL, "FILE",
     "Rows to judge or to rank (JSONL, .gz, - for standard input)."},
    {"mix", TN_OPT_CHOICE, FIELD(mix), "sft", "base|sft|helpful|flat", 0, 0, NULL, NULL,
     "Quality of demonstrations: how often they are right, rambling, rude, evasive or compliant."},
    {"oracle", TN_OPT_BOOL, FIELD(oracle), "false", NULL, 0, 0, NULL, NULL,
     "Add the facts that the oracle judges by to rows of prompts. They can also be rebuilt from "
     "the id."},
    {"attack", TN_OPT_STRING, FIELD(attack), NULL, NULL, 0, 0, NULL, "NAME",
     "Of a set of prompts only the requests for hazardous steps and secrets, each under these attacks, separated by commas: plain, "
     "follow-up, refusal-suppression, one-shot, many-shot, prefill-yes, prefill, prefix-injection, role-play, false-premise; all, trained (those "
     "that training may see), held-out. --count counts the set's items."},
    {"twins", TN_OPT_BOOL, FIELD(twins), "false", NULL, 0, 0, NULL, NULL,
     "Of --attack: requests for harmless steps, too, in the same wrapping, which a good model answers."},
    {"extension", TN_OPT_CHOICE, FIELD(extension), "core", "core|oversight", 0, 0, NULL, NULL,
     "Of text: the core's documents, which never change, or those of an extension of it. oversight: principles in other words, thoughts "
     "before judgements, several dialogues in one, attacks, opinions (models/world-oversight was trained on it)."},
    {"wording", TN_OPT_INT, FIELD(wording), "0", NULL, 0, 4, NULL, "N",
     "Of constitution: 0 as in constitutions/world.json, 1 and 2 as in the extension's text, 3 and 4 in words of no text."},
    {"conflict", TN_OPT_BOOL, FIELD(conflict), "false", NULL, 0, 0, NULL, NULL,
     "Of judged: the better answer violates an \"other\" principle, which the worse one keeps."},
    {"annotator", TN_OPT_STRING, FIELD(annotator), "careful", NULL, 0, 0, NULL, "NAME",
     "careful, biased, lenient (takes a bare refusal for as good as one with its reason), exact, or person-K (K = 0, 1, ...: noisy like careful, with biases of their own), or several "
     "separated by commas, from which each ranking draws one."},
    {"annotator-seed", TN_OPT_INT, FIELD(draws), NULL, NULL, 0, 9007199254740992.0, NULL, "N",
     "Seed of what annotators draw; default: --seed, which the items' ids belong to."},
    {"dial", TN_OPT_INT, FIELD(dial), "20", NULL, 0, 100, NULL, "PERCENT",
     "Of `misjudge`: how many items in a hundred a principle is misjudged for."},
    {"outcome", TN_OPT_BOOL, FIELD(outcome), "false", NULL, 0, 0, NULL, NULL,
     "Label every step with whether the answer is right."},
    {"pairs-out", TN_OPT_STRING, FIELD(pairs_out), NULL, NULL, 0, 0, NULL, "FILE",
     "Also write all pairs of unequal responses as prompt, chosen, rejected."},
    {"hidden-size", TN_OPT_INT, FIELD(shape.hidden), "128", NULL, 1, 65536, NULL, "N",
     "Width of the model."},
    {"layers", TN_OPT_INT, FIELD(shape.layers), "3", NULL, 1, 1024, "num-hidden-layers", "N",
     "Layers of the model."},
    {"heads", TN_OPT_INT, FIELD(shape.heads), "4", NULL, 1, 1024, "num-attention-heads", "N",
     "Attention heads of the model."},
    {"intermediate-size", TN_OPT_INT, FIELD(shape.intermediate), "344", NULL, 1, 1048576, NULL, "N",
     "Width of the gated MLP."},
    {"context", TN_OPT_INT, FIELD(shape.context), "160", NULL, 1, 1048576,
     "max-position-embeddings", "N", "Longest text of the model in tokens."},
    TN_OPT_LAST,
};

static tn_status need(const char *value, const char *action, const char *option, const char *what,
                      tn_err *e) {
    if (value) return TN_OK;
    return tn_fail(e, TN_ARG, "tenet world %s needs --%s %s", action, option, what);
}

static tn_status run_set(const tn_world *w, int set, const options *o, tn_err *e) {
    int mix = 0;
    while (mix < TN_MIX_COUNT - 1 && strcmp(tn_world_mix_name[mix], o->mix)) mix++;
    int64_t count = o->count == INT64_MIN ? tn_world_sets[set].count : o->count;
    unsigned mask;
    if (set == TN_WS_TEXT && !strcmp(o->extension, "oversight"))
        return tn_world_write_oversight(w, (uint64_t)o->seed, (uint64_t)o->first, count, o->out, e);
    if (o->attack) {
        TN_TRY(tn_world_attacks_named(o->attack, &mask, e));
        return tn_world_write_attacks(w, (tn_world_set)set, (uint64_t)o->seed, (uint64_t)o->first, count, mask, o->twins, o->out, e);
    }
    return tn_world_write_set(w, (tn_world_set)set, (uint64_t)o->seed, (uint64_t)o->first, count,
                              (tn_world_mix)mix, o->oracle, o->out, e);
}

/* A preset's name, or person-K. */
static bool find_annotator(const char *name, tn_world_annotator *a) {
    const tn_world_annotator *preset = tn_world_find_annotator(name);
    char *end;
    if (preset) *a = *preset;
    else if (strncmp(name, "person-", 7) || name[7] < '0' || name[7] > '9') return false;
    else tn_world_person(strtoull(name + 7, &end, 10), a);
    return preset || !*end;
}

/* Names separated by commas. */
static tn_status find_annotators(const char *names, tn_world_annotator *pool, int max, int *n, tn_err *e) {
    *n = 0;
    for (const char *s = names;; s++) {
        char name[32];
        size_t len = strcspn(s, ",");
        snprintf(name, sizeof name, "%.*s", (int)(len < 31 ? len : 31), s);
        if (*n == max)
            return tn_fail(e, TN_ARG, "--annotator %s: more than %d annotators", names, max);
        if (!find_annotator(name, &pool[(*n)++]))
            return tn_fail(e, TN_ARG,
                           "--annotator %s: no annotator is called '%s'; there are careful, biased, lenient and exact, and persons: "
                           "person-0, person-1, ...",
                           names, name);
        s += len;
        if (!*s) return TN_OK;
    }
}

static tn_status run_ranking(const tn_world *w, const options *o, bool pairs, tn_err *e) {
    tn_world_annotator who[64];
    const tn_world_annotator *pool[64];
    int n;
    uint64_t seed = (uint64_t)o->seed, draws = (uint64_t)(o->draws == INT64_MIN ? o->seed : o->draws);
    TN_TRY(need(o->input, pairs ? "pairs" : "rank", "input", "SAMPLES.jsonl", e));
    TN_TRY(find_annotators(o->annotator, who, 64, &n, e));
    for (int i = 0; i < n; i++) pool[i] = &who[i];
    return pairs ? tn_world_pairs_file(w, o->input, pool, n, seed, draws, o->out, e)
                 : tn_world_rank_file(w, o->input, pool, n, seed, draws, o->out, o->pairs_out, e);
}
static tn_status run_rank(const tn_world *w, const options *o, tn_err *e) { return run_ranking(w, o, false, e); }
static tn_status run_pairs(const tn_world *w, const options *o, tn_err *e) { return run_ranking(w, o, true, e); }

static tn_status run_judge(const tn_world *w, const options *o, tn_err *e) {
    TN_TRY(need(o->input, "judge", "input", "ROWS.jsonl", e));
    return tn_world_judge_file(w, o->input, (uint64_t)o->seed, o->out, e);
}

static tn_status run_steps(const tn_world *w, const options *o, tn_err *e) {
    TN_TRY(need(o->input, "steps", "input", "ROWS.jsonl", e));
    return tn_world_steps_file(w, o->input, (uint64_t)o->seed, o->outcome, o->out, e);
}

static tn_status run_judged(const tn_world *w, const options *o, tn_err *e) {
    return tn_world_write_judged(w, (uint64_t)o->seed, (uint64_t)o->first, o->count == INT64_MIN ? 1200 : o->count, o->conflict, o->out, e);
}

static tn_status run_constitution(const tn_world *w, const options *o, tn_err *e) {
    tn_str s = TN_STR_INIT;
    TN_TRY(need(o->out, "constitution", "out", "FILE", e));
    tn_world_put_constitution((int)o->wording, &s);
    tn_status st = s.oom ? tn_fail(e, TN_NOMEM, "out of memory") : tn_write_file(o->out, s.s, s.len, e);
    tn_str_free(&s);
    return st;
}

static tn_status run_misjudge(const tn_world *w, const options *o, tn_err *e) {
    long turned;
    TN_TRY(need(o->input, "misjudge", "input", "LABELS.jsonl", e));
    TN_TRY(tn_world_misjudge_file(w, o->input, (uint64_t)o->seed, (int)o->dial, o->out, &turned, e));
    tn_info("%ld labels turned around", turned);
    return TN_OK;
}

static tn_status run_tokenizer(const tn_world *w, const options *o, tn_err *e) {
    TN_TRY(need(o->out, "tokenizer", "out", "DIR", e));
    return tn_world_write_tokenizer(w, o->out, e);
}

static tn_status run_config(const tn_world *w, const options *o, tn_err *e) {
    TN_TRY(need(o->out, "config", "out", "DIR", e));
    TN_TRY(tn_world_write_config(w, o->out, &o->shape, e));
    return tn_world_write_tokenizer(w, o->out, e);
}

static const struct {
    const char *name;
    tn_status (*run)(const tn_world *w, const options *o, tn_err *e);
} actions[] = {
    {"judge", run_judge}, {"steps", run_steps}, {"rank", run_rank}, {"pairs", run_pairs}, {"judged", run_judged},
    {"misjudge", run_misjudge}, {"constitution", run_constitution}, {"tokenizer", run_tokenizer}, {"config", run_config}};
enum { NACTIONS = sizeof actions / sizeof *actions };

static tn_status run(const tn_opts *opts, tn_err *e) {
    const char *names[TN_WS_COUNT + NACTIONS];
    options o;
    tn_opts_bind(opts, rows, &o);
    for (int i = 0; i < TN_WS_COUNT; i++) names[i] = tn_world_sets[i].name;
    for (int i = 0; i < NACTIONS; i++) names[TN_WS_COUNT + i] = actions[i].name;
    const char *what = tn_opts_npos(opts) == 1 ? tn_opts_pos(opts, 0) : NULL;
    if (!what)
        return tn_fail(
            e, TN_ARG,
            "tenet world needs one of text, sft, prompts-pref, prompts-pref-heldout, prompts-rl, "
            "eval, judge, steps, rank, pairs, judged, misjudge, constitution, tokenizer, config; found %d words",
            tn_opts_npos(opts));

    tn_world *w = tn_malloc(sizeof *w);
    if (!w) return tn_fail(e, TN_NOMEM, "out of memory for the world's tables");
    tn_world_init(w, 1);
    int k = 0;
    while (k < TN_WS_COUNT + NACTIONS && strcmp(names[k], what)) k++;
    tn_status st;
    if (k < TN_WS_COUNT)
        st = run_set(w, k, &o, e);
    else if (k < TN_WS_COUNT + NACTIONS)
        st = actions[k - TN_WS_COUNT].run(w, &o, e);
    else {
        const char *near = tn_nearest(what, names, TN_WS_COUNT + NACTIONS);
        st = tn_fail(e, TN_ARG, "the world has no '%s'%s%s%s", what, near ? "; did you mean '" : "",
                     near ? near : "", near ? "'?" : "");
    }
    tn_free(w);
    return st;
}

static const tn_opt_row *const tables[] = {rows, NULL};
const tn_verb tn_verb_world = {
    .name = "world",
    .stage = "World",
    .summary = "The built-in world: text, demonstrations, prompts, oracle, simulated annotators.",
    .details =
        "A small closed world with an exact oracle. Sets are written as JSONL; any row can be "
        "remade from its number.\n"
        "\n"
        "  tenet world text --count 290000 --out text.jsonl       pretraining documents\n"
        "  tenet world sft --seed 1 --out sft.jsonl               demonstrations of mixed quality\n"
        "  tenet world prompts-pref --seed 1 --out prompts.jsonl  prompts to sample answers to\n"
        "  tenet world prompts-pref-heldout, prompts-rl, eval     the same for held-out rankings, "
        "RL and evaluation\n"
        "  tenet world judge --input answers.jsonl --out judged.jsonl\n"
        "        rows {\"id\": \"eval-3\", \"response\": \"...\", \"ended\": true}; adds true "
        "reward and predicates\n"
        "  tenet world steps --input answers.jsonl --out steps.jsonl\n"
        "        the same rows of sums as labelled steps, for `tenet prm --step-separator \" .\"`\n"
        "  tenet world rank --input samples.jsonl --annotator careful --seed 1 --out "
        "rankings.jsonl --pairs-out pairs.jsonl\n"
        "        rows {\"id\": \"pref-0\", \"prompt\": [...], \"responses\": [...], \"ended\": "
        "[...]}\n"
        "  tenet world pairs --input samples.jsonl --annotator exact --out pairs.jsonl\n"
        "        one pair of each ranking with what the annotator prefers (human) and what is better (truth), for rlthf\n"
        "  tenet world judged --seed 1 --out judged.jsonl         pairs of which one violates a \"principle\", for judges (\"truth\")\n"
        "  tenet world constitution --wording 3 --out FILE        the principles in other words, each for rows of its id\n"
        "  tenet world text --extension oversight                 the pretraining text of experiments on oversight\n"
        "  tenet world eval --attack held-out                     requests for harm and secrets, wrapped\n"
        "  tenet world misjudge --input labels.jsonl --dial 20 --out poor.jsonl\n"
        "        labels of `tenet label` turned around for a fixed fifth of (item, principle): a judge who errs by rule\n"
        "  tenet world tokenizer --out DIR                        tokenizer and chat template\n"
        "  tenet world config --out DIR                           config.json of a fresh model, "
        "and its tokenizer\n",
    .positional = "SET",
    .tables = tables,
    .run = run,
    .words = "text|sft|prompts-pref|prompts-pref-heldout|prompts-rl|eval|judge|steps|rank|pairs|judged|misjudge|constitution|tokenizer|"
             "config",
};
