#include "rl/rlthf.h"
#include "base/mem.h"
#include "base/rng.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    double gap;
    int pair;
};
typedef struct state {
    const tn_rlthf_loop *l;
    int round, n; /* of order: the shard's pairs that no person has seen, by falling gap in the label's favour */
    int *order, n_asked;
    double *gap;
    struct entry *entry; /* room for sorting */
    int copies; /* of each human answer in this round */
    bool curved;
    tn_rlthf_curve curve;
    tn_rlthf_round plan;
    json_t *report;
    tn_str rounds, path, line;
} state;

static int pairs(const state *s) { return (int)s->l->rows->n; }
static tn_rlthf_pair *pair(const state *s, int i) { return &s->l->rows->v[i]; }
static double favour(const tn_rlthf_pair *p) { return p->label == 1 ? p->gap : -p->gap; }

static tn_status no_memory(tn_err *e) { return tn_fail(e, TN_NOMEM, "out of memory"); }

static tn_status path_of(state *s, int round, const char *name, tn_err *e) { return tn_round_path(&s->path, s->l->dir, round, name, e); }

/* Pairs that could be used, in order[0 .. n): of the shard, and unseen by people, where asked for. */
static int gather(state *s, bool shard, bool unseen) {
    int n = 0;
    for (int i = 0; i < pairs(s); i++) {
        const tn_rlthf_pair *p = pair(s, i);
        if (!p->out && (!shard || p->shard) && !(unseen && p->asked)) s->order[n++] = i;
    }
    return n;
}

static void draw_shard(state *s) {
    tn_rng r = tn_rng_stream(s->l->seed, TN_RNG_RLTHF, 0);
    int n = gather(s, false, false), keep = (int)(s->l->opt->shard * n + 0.5);
    for (int i = 0; i < keep; i++) {
        int k = i + (int)tn_rng_below(&r, (uint32_t)(n - i)), t = s->order[i];
        s->order[i] = s->order[k], s->order[k] = t;
        pair(s, s->order[i])->shard = true;
    }
}

/* People's pairs up to and with this round, less those asked about already. */
static int budget_of(state *s, int usable) {
    double total = floor(s->l->opt->human * usable + 0.5);
    return (int)(total * s->round / (double)s->l->opt->rounds + 1e-9) - s->n_asked;
}

/* ---- a round's split ---- */

static int by_gap(const void *a, const void *b) {
    const struct entry *x = a, *y = b;
    return x->gap != y->gap ? (x->gap < y->gap ? 1 : -1) : x->pair - y->pair;
}

static void sort_by_gap(state *s) {
    for (int i = 0; i < s->n; i++) s->entry[i] = (struct entry){favour(pair(s, s->order[i])), s->order[i]};
    qsort(s->entry, (size_t)s->n, sizeof *s->entry, by_gap);
    for (int i = 0; i < s->n; i++) s->order[i] = s->entry[i].pair, s->gap[i] = s->entry[i].gap;
}

/* Draws `budget` of order[0 .. n) to its front. Returns how many there were. */
static int choose_random(state *s, int budget) {
    tn_rng r = tn_rng_stream(s->l->seed, TN_RNG_RLTHF, (uint64_t)s->round);
    int i = 0;
    for (; i < budget && i < s->n; i++) {
        int k = i + (int)tn_rng_below(&r, (uint32_t)(s->n - i)), t = s->order[i];
        s->order[i] = s->order[k], s->order[k] = t;
    }
    return i;
}

static tn_status split(state *s, int *which, int *n, tn_err *e) {
    int usable = gather(s, false, false), rounds = (int)s->l->opt->rounds;
    s->n = gather(s, true, true);
    int budget = budget_of(s, usable);
    *n = 0, s->curved = false;
    s->plan = (tn_rlthf_round){.keep = s->n, .held = s->n, .flip = s->n};
    double copies = tn_rlthf_schedule(s->l->opt->amplification, s->l->opt->amplification_end, s->round - 1, rounds);
    s->copies = (int)(copies + 0.5);
    if (!s->l->targeted) {
        *n = choose_random(s, budget);
        memcpy(which, s->order, (size_t)*n * sizeof *which);
        return TN_OK;
    }
    if (s->n < 3) return TN_OK; /* people have seen nearly all */
    sort_by_gap(s);
    TN_TRY(tn_rlthf_curve_of(s->gap, s->n, &s->curve, e));
    s->curved = true;
    TN_TRY(tn_rlthf_plan(&s->curve, s->n, budget, tn_rlthf_schedule(s->l->opt->backoff, 0, s->round - 1, rounds), s->copies,
                         &s->plan, e));
    for (int i = s->plan.human; i < s->plan.human_end; i++) which[(*n)++] = s->order[i];
    return TN_OK;
}

/* ---- people ---- */

/* *waiting: the answers are not there. */
static tn_status ask(state *s, const int *which, int n, bool *waiting, tn_err *e) {
    uint64_t seed = s->l->seed;
    TN_TRY(path_of(s, s->round, "to_label.jsonl", e));
    TN_TRY(tn_rlthf_ask(s->l->rows, which, n, seed, s->path.s, e));
    TN_TRY(path_of(s, s->round, "labelled.jsonl", e));
    if (s->l->simulate) TN_TRY(tn_rlthf_simulate(s->l->rows, which, n, seed, s->path.s, e));
    *waiting = n > 0 && !tn_exists(s->path.s);
    if (*waiting || !n) return TN_OK;
    TN_TRY(tn_rlthf_answers(s->l->rows, which, n, seed, s->path.s, e));
    int said = 0, changed = 0;
    for (int i = 0; i < n; i++) {
        const tn_rlthf_pair *p = pair(s, which[i]);
        said += p->answer > 0, changed += p->answer > 0 && p->answer != p->label;
    }
    s->n_asked += n;
    bool ok = json_object_set_new(s->report, "asked", json_integer(n)) == 0 &&
              json_object_set_new(s->report, "changed", json_real(said ? (double)changed / said : 0)) == 0;
    return ok ? TN_OK : no_memory(e);
}

/* ---- training rows ---- */

static tn_status put_row(state *s, tn_out *out, const tn_rlthf_pair *p, int better, const char *more, tn_err *e) {
    tn_str_clear(&s->line);
    TN_TRY(tn_rlthf_put(p, better, more, &s->line, e));
    tn_str_addz(&s->line, "\n");
    return s->line.oom ? no_memory(e) : tn_out_write(out, s->line.s, s->line.len, e);
}

static void tally(const tn_rlthf_pair *p, int better, int *right, int *known) {
    if (p->truth) ++*known, *right += better == p->truth;
}

static bool put_share(json_t *report, const char *name, int k, int n) {
    return !n || json_object_set_new(report, name, json_real((double)k / n)) == 0;
}

/* What each pair is trained as: 0 left out, 1 or 2 preferred; people's answers come `copies` times. */
static tn_status write_training(state *s, tn_err *e) {
    int *as = tn_calloc((size_t)pairs(s), sizeof *as), rows = 0, right = 0, known = 0, turned_right = 0, turned = 0;
    tn_out *out = NULL;
    if (!as) return no_memory(e);
    for (int i = 0; i < s->n; i++) {
        const tn_rlthf_pair *p = pair(s, s->order[i]);
        bool turn = i >= s->plan.flip;
        if (i < s->plan.keep) as[s->order[i]] = p->label;
        if (turn) as[s->order[i]] = 3 - p->label, tally(p, 3 - p->label, &turned_right, &turned);
    }
    tn_status st = path_of(s, s->round, "train.jsonl", e);
    if (st == TN_OK) st = tn_out_open(&out, s->path.s, false, e);
    for (int i = 0; i < pairs(s) && st == TN_OK; i++) {
        const tn_rlthf_pair *p = pair(s, i);
        int better = p->asked ? p->answer : as[i], copies = p->asked ? s->copies : 1;
        if (!better) continue;
        tally(p, better, &right, &known);
        for (int c = 0; c < copies && st == TN_OK; c++, rows++) st = put_row(s, out, p, better, NULL, e);
    }
    st = out ? tn_out_close(out, st, true, e) : st;
    tn_free(as);
    TN_TRY(st);
    if (!rows)
        return tn_fail(e, TN_STATE, "round %d would train on nothing: all pairs are left out; lower --rlthf-backoff", s->round);
    bool ok = json_object_set_new(s->report, "rows", json_integer(rows)) == 0 &&
              json_object_set_new(s->report, "turned", json_integer(s->n - s->plan.flip)) == 0 &&
              put_share(s->report, "turned_right", turned_right, turned) &&
              put_share(s->report, "trained_right", right, known);
    return ok ? TN_OK : no_memory(e);
}

/* The model of this round, and what it says. */
static tn_status train(state *s, tn_err *e) {
    tn_str model = TN_STR_INIT;
    tn_status st = tn_round_model(s->l->dir, s->round, (int)s->l->opt->rounds, "train.jsonl", "reward", s->l->train, s->l->ctx, e);
    if (st == TN_OK) st = tn_round_path(&model, s->l->dir, s->round, "reward", e);
    if (st == TN_OK) st = s->l->judge(s->l->ctx, model.s, s->report, e);
    tn_str_free(&model);
    return st;
}

/* ---- what came of it ---- */

static int final_label(const tn_rlthf_pair *p) {
    return p->asked && p->answer > 0 ? p->answer : p->gap > 0 ? 1 : p->gap < 0 ? 2 : p->label;
}

static tn_status write_gaps(state *s, tn_err *e) {
    tn_out *out;
    s->n = gather(s, true, true);
    sort_by_gap(s);
    TN_TRY(path_of(s, s->round, "gaps.jsonl", e));
    TN_TRY(tn_out_open(&out, s->path.s, false, e));
    tn_status st = TN_OK;
    for (int i = 0; i < s->n && st == TN_OK; i++) {
        tn_str_clear(&s->line);
        tn_str_addf(&s->line, "{\"pair\": %d, \"gap\": ", s->order[i] + 1);
        tn_str_add_f64(&s->line, s->gap[i]);
        tn_str_addz(&s->line, "}\n");
        st = s->line.oom ? no_memory(e) : tn_out_write(out, s->line.s, s->line.len, e);
    }
    return tn_out_close(out, st, false, e);
}

static tn_status report(state *s, tn_err *e) {
    int n = gather(s, false, false), label = 0, final = 0, known = 0, ignore = 0;
    for (int i = 0; i < n; i++) {
        const tn_rlthf_pair *p = pair(s, s->order[i]);
        tally(p, p->label, &label, &known);
        tally(p, final_label(p), &final, &ignore);
    }
    bool ok = json_object_set_new(s->report, "people", json_integer(s->n_asked)) == 0 &&
              put_share(s->report, "share", s->n_asked, n) && put_share(s->report, "labels_before", label, known) &&
              put_share(s->report, "labels", final, known);
    if (s->curved)
        ok = ok && json_object_set_new(s->report, "curve",
                                       json_pack("{s:i,s:i,s:i,s:b}", "elbow", s->curve.elbow, "knee", s->curve.knee,
                                                 "reflection", s->curve.reflection, "flat", s->curve.flat)) == 0;
    if (!ok) return no_memory(e);
    TN_TRY(tn_json_add(&s->rounds, s->report, JSON_REAL_PRECISION(12), "report", e));
    tn_str_addz(&s->rounds, "\n");
    if (s->rounds.oom) return no_memory(e);
    TN_TRY(write_gaps(s, e));
    TN_TRY(path_of(s, -1, "metrics.jsonl", e));
    return tn_write_file(s->path.s, s->rounds.s, s->rounds.len, e);
}

static tn_status write_labels(state *s, tn_err *e) {
    tn_out *out;
    TN_TRY(path_of(s, -1, "labels.jsonl", e));
    TN_TRY(tn_out_open(&out, s->path.s, false, e));
    tn_status st = TN_OK;
    for (int i = 0; i < pairs(s) && st == TN_OK; i++) {
        const tn_rlthf_pair *p = pair(s, i);
        if (p->out) continue;
        st = put_row(s, out, p, final_label(p), p->asked && p->answer > 0 ? ", \"source\": \"human\"" : ", \"source\": \"model\"", e);
    }
    return tn_out_close(out, st, true, e);
}

/* ---- the loop ---- */

static tn_status one_round(state *s, bool *waiting, tn_err *e) {
    int n = 0, *which = tn_calloc((size_t)pairs(s) + 1, sizeof *which);
    json_decref(s->report);
    s->report = json_pack("{s:i}", "step", s->round);
    tn_status st = which && s->report ? tn_round_begin(s->l->dir, s->round, e) : no_memory(e);
    if (st == TN_OK && s->round) st = split(s, which, &n, e);
    if (st == TN_OK && s->round) st = ask(s, which, n, waiting, e);
    if (!s->round) s->n = gather(s, true, true), s->plan = (tn_rlthf_round){.keep = s->n, .flip = s->n};
    tn_free(which);
    if (st != TN_OK || *waiting) return st;
    TN_TRY(write_training(s, e));
    TN_TRY(train(s, e));
    return report(s, e);
}

tn_status tn_rlthf_run(const tn_rlthf_loop *l, bool *waiting, int *round, tn_err *e) {
    state s = {.l = l};
    size_t n = l->rows->n + 1;
    *waiting = false, *round = 0;
    s.order = tn_calloc(n, sizeof *s.order), s.gap = tn_calloc(n, sizeof *s.gap);
    s.entry = tn_calloc(n, sizeof *s.entry);
    tn_status st = s.order && s.gap && s.entry ? TN_OK : no_memory(e);
    if (st == TN_OK) draw_shard(&s);
    for (; st == TN_OK && !*waiting && s.round <= l->opt->rounds; s.round++) {
        *round = s.round;
        st = one_round(&s, waiting, e);
    }
    if (st == TN_OK && !*waiting) st = write_labels(&s, e);
    tn_free(s.order);
    tn_free(s.gap);
    tn_free(s.entry);
    json_decref(s.report);
    tn_str_free(&s.rounds);
    tn_str_free(&s.path);
    tn_str_free(&s.line);
    return st;
}
