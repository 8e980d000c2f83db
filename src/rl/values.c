#include "rl/values.h"
#include "algo/group.h"
#include "base/json_mem.h"
#include "base/log.h"
#include "base/signals.h"
#include <math.h>
#include <string.h>

#define AT(f) offsetof(tn_values_options, f)
const tn_opt_row tn_values_rows[] = {
    {"num-value-samples", TN_OPT_INT, AT(samples), "8", NULL, 1, 4096, NULL, "N",
     "Responses of the reference to each prompt that its optimal value is estimated from."},
    {"beta1", TN_OPT_REAL, AT(beta1), "0.5", NULL, 1e-9, 1e9, NULL, "X",
     "KL temperature of that estimate: towards 0 the best sample's reward, towards infinity their mean."},
    {"filter-all-incorrect", TN_OPT_BOOL, AT(drop_hopeless), "true", NULL, 0, 0, NULL, NULL,
     "Leave out prompts whose samples have no reward at all."},
    TN_OPT_LAST};

/* Keeps streams of the reference's samples apart from those of the policy. */
#define OTHER_STREAM 0xa57a25b0c0de77ull

typedef struct value { double v, reward; } value; /* v NaN: no sample had a reward */
typedef struct search {
    const tn_values_options *o;
    tn_online *on;
    tn_rewards *rewards;
    value *found;    /* [prompts] */
    size_t known;    /* of them, from the first on */
    int each, rounds; /* samples of a prompt at a time, and how often */
    tn_gen *gen;
    tn_rollouts roll;
    uint64_t *key;   /* [prompts at a time] */
    double *total;   /* [prompts at a time][samples] */
    double *scratch; /* [2][samples at a time] of a prompt */
    tn_out *file;    /* the first rank's */
} search;

/* As many responses at a time as a sampling has, of whole prompts or of one. */
static int prompts_at_once(const tn_values_options *o, const tn_online *on, int *each) {
    int room = on->shape.n_prompt * on->shape.n_sample, n = (int)o->samples;
    for (*each = n < room ? n : room; n % *each; --*each) {}
    return *each < n ? 1 : room / n;
}

/* Of the plan so far the policy's workspace: nothing has touched it before the first step, when the values are known and their
 * sampler is gone. */
static size_t untouched(const tn_budget *b) {
    size_t sum = 0;
    for (int i = 0; i < b->n; i++)
        if (strcmp(b->row[i].owner, "policy") == 0 && (strcmp(b->row[i].part, "activations") == 0 || strcmp(b->row[i].part, "keys and values") == 0))
            sum += b->row[i].bytes;
    return sum;
}

tn_status tn_values_budget(const tn_values_options *o, const tn_online *on, tn_budget *b, tn_err *e) {
    tn_desc d = on->desc;
    int each, n = prompts_at_once(o, on, &each);
    if (on->q.ref_model) TN_TRY(tn_model_peek(&d, on->q.ref_model, &(tn_load){.base = on->lora.base_model}, e));
    int64_t pages = n * (int64_t)(tn_kv_pages_for(on->longest) + each * tn_kv_pages_for(on->shape.max_new));
    tn_budget stage = {0};
    tn_gen_budget(&stage, NULL, &d, on->be, on->gen_batch, on->rollout_length, pages < INT32_MAX / 2 ? (int)pages : 0);
    tn_budget_add(&stage, "rollouts", "", tn_rollouts_bytes(n * each, on->shape.max_new));
    size_t later = untouched(b);
    tn_budget_turn(b, "reference");
    if (stage.total > later) tn_budget_add(b, "values", "", stage.total - later);
    tn_budget_turn(b, NULL);
    return TN_OK;
}

/* ---- the file ---- */

/* Options that values depend on, beside models and rows. */
static const char *const matters[] = {
    "num-value-samples", "beta1", "seed", "temperature", "max-completion-length", "top-k", "top-p", "min-p", "reward-funcs",
    "reward-weights", "step-score", "ensemble", "ensemble-lambda", "ensemble-ddof", "chat-template"};

static tn_status first_line(const tn_online *on, tn_str *line, tn_err *e) {
    const json_t *options = json_object_get(on->record, "options");
    json_t *own = json_object(), *all = json_object();
    static const char *const keys[] = {"version", "profile", "data_hash", "inputs"};
    bool ok = own && all;
    for (size_t i = 0; ok && i < sizeof matters / sizeof *matters; i++) {
        json_t *v = json_object_get(options, matters[i]);
        if (v) ok = json_object_set(own, matters[i], v) == 0;
    }
    for (size_t i = 0; ok && i < 4; i++) ok = json_object_set(all, keys[i], json_object_get(on->record, keys[i])) == 0;
    ok = ok && json_object_set(all, "options", own) == 0;
    tn_status st = ok ? tn_json_add(line, all, JSON_SORT_KEYS, "values.jsonl", e) : tn_fail(e, TN_NOMEM, "out of memory");
    json_decref(own);
    json_decref(all);
    return st;
}

static tn_status read_value(search *s, const char *line, size_t n, const char *path, bool *good, tn_err *e) {
    json_t *x;
    size_t i = s->known;
    TN_TRY(tn_json_load_text(line, n, 0, path, &x, NULL, e));
    const json_t *v = json_object_get(x, "value"), *r = json_object_get(x, "reward");
    *good = i < s->on->prompts->n && json_integer_value(json_object_get(x, "row")) == s->on->prompts->ex[i].row &&
            (json_is_null(v) || (json_is_number(v) && json_is_number(r)));
    if (*good)
        s->found[s->known++] = json_is_null(v) ? (value){NAN, NAN} : (value){json_number_value(v), json_number_value(r)};
    json_decref(x);
    return TN_OK;
}

/* Whole lines of a table that is this run's; they stay, and nothing else. */
static tn_status read_table(search *s, const char *path, const tn_str *first, tn_err *e) {
    tn_lines *r = NULL;
    tn_str keep = TN_STR_INIT;
    tn_status st = TN_OK;
    bool good = tn_exists(path);
    if (good) TN_GO(tn_lines_open(&r, path, (size_t)1 << 24, e), done);
    for (bool head = true; good; head = false) {
        const char *line;
        size_t n;
        TN_GO(tn_lines_next(r, &line, &n, e), done);
        if (!line) break;
        if (head) good = n == first->len && memcmp(line, first->s, n) == 0;
        else TN_GO(read_value(s, line, n, path, &good, e), done);
        if (!good) break;
        tn_str_add(&keep, line, n);
        tn_str_addc(&keep, '\n');
    }
    if (!keep.len) {
        tn_str_add(&keep, first->s, first->len);
        tn_str_addc(&keep, '\n');
    }
    st = keep.oom ? tn_fail(e, TN_NOMEM, "out of memory") : tn_write_file(path, keep.s, keep.len, e);
done:
    tn_lines_close(r);
    tn_str_free(&keep);
    return st;
}

/* The first rank reads, and tells the others. */
static tn_status open_table(search *s, tn_err *e) {
    tn_comm *c = s->on->comm;
    tn_str path = TN_STR_INIT, first = TN_STR_INIT;
    tn_status st = TN_OK;
    if (tn_comm_is_root(c)) {
        tn_path_join(&path, s->on->o.output_dir, "values.jsonl");
        TN_GO(first_line(s->on, &first, e), done);
        TN_GO(read_table(s, path.s, &first, e), done);
        TN_GO(tn_out_open(&s->file, path.s, true, e), done);
    }
    TN_GO(tn_comm_broadcast(c, 0, &s->known, sizeof s->known, e), done);
    st = tn_comm_broadcast(c, 0, s->found, s->on->prompts->n * sizeof *s->found, e);
done:
    tn_str_free(&path);
    tn_str_free(&first);
    return st;
}

static tn_status write_values(search *s, size_t from, tn_err *e) {
    tn_str line = TN_STR_INIT;
    if (!s->file) return TN_OK;
    for (size_t i = from; i < s->known; i++) {
        tn_str_addf(&line, "{\"row\": %ld, \"value\": ", s->on->prompts->ex[i].row);
        if (isnan(s->found[i].v)) tn_str_addz(&line, "null, \"reward\": null");
        else {
            tn_str_add_f64(&line, s->found[i].v);
            tn_str_addz(&line, ", \"reward\": ");
            tn_str_add_f64(&line, s->found[i].reward);
        }
        tn_str_addf(&line, ", \"samples\": %lld}\n", (long long)s->o->samples);
    }
    tn_status st = line.oom ? tn_fail(e, TN_NOMEM, "out of memory") : tn_out_write(s->file, line.s, line.len, e);
    tn_str_free(&line);
    return st == TN_OK ? tn_out_flush(s->file, true, e) : st;
}

/* ---- the samples ---- */

static tn_status make_room(search *s, tn_err *e) {
    const tn_online *on = s->on;
    int n = prompts_at_once(s->o, on, &s->each);
    s->rounds = (int)s->o->samples / s->each;
    s->found = tn_calloc(on->prompts->n, sizeof *s->found);
    s->key = tn_calloc((size_t)n, sizeof *s->key);
    s->total = tn_calloc((size_t)n * (size_t)s->o->samples, sizeof *s->total);
    s->scratch = tn_calloc(2 * (size_t)s->each, sizeof *s->scratch);
    if (!s->found || !s->key || !s->total || !s->scratch) return tn_fail(e, TN_NOMEM, "out of memory for values of prompts");
    return tn_rollouts_new(&s->roll, n, s->each, n * s->each, on->shape.max_new, (int)on->o.micro_tokens, e);
}

/* Rewards of round k of the samples of prompts [first, first + n). */
static tn_status sample(search *s, size_t first, int n, int k, tn_err *e) {
    tn_rollouts *r = &s->roll;
    tn_sampling how = s->on->sampling;
    tn_metrics unseen = {0};
    size_t N = (size_t)s->o->samples;
    how.seed ^= OTHER_STREAM;
    r->n_prompt = n, r->key = s->key;
    for (int i = 0; i < n; i++) {
        r->prompt[i] = &s->on->prompts->ex[first + (size_t)i];
        s->key[i] = (first + (size_t)i) * N + (size_t)(k * s->each);
    }
    TN_TRY(tn_rollouts_sample(r, s->gen, 0, &how, e));
    tn_online_leave(s->on);
    tn_gen_rest(s->gen);
    TN_TRY(tn_rewards_score(s->rewards, s->on, r, &unseen, e));
    for (int i = 0; i < n; i++) {
        int off[] = {0, s->each};
        tn_group_rewards g = {.n_source = s->rewards->n, .n_group = 1, .group_off = off,
                              .reward = s->rewards->value + (size_t)(i * s->each) * (size_t)s->rewards->n,
                              .weight = s->rewards->weight, .total = s->total + (size_t)i * N + (size_t)(k * s->each),
                              .advantage = s->scratch, .scratch = s->scratch + s->each};
        TN_TRY(tn_group_totals(&g, &unseen, e));
    }
    return TN_OK;
}

static value value_of(const search *s, const double *reward) {
    int n = (int)s->o->samples, known = 0;
    double sum = 0;
    for (int i = 0; i < n; i++)
        if (!isnan(reward[i])) sum += reward[i], known++;
    return known ? (value){tn_optimal_value(reward, n, s->o->beta1), sum / known} : (value){NAN, NAN};
}

static tn_status find_values(search *s, tn_err *e) {
    size_t all = s->on->prompts->n, at_once = (size_t)s->roll.n_prompt;
    tn_progress bar;
    tn_status st = TN_OK;
    tn_progress_begin(&bar, "values", "prompts", (long)all, (long)s->known);
    while (st == TN_OK && s->known < all) {
        size_t first = s->known, n = all - first < at_once ? all - first : at_once;
        for (int k = 0; st == TN_OK && k < s->rounds; k++) st = sample(s, first, (int)n, k, e);
        if (st != TN_OK) break;
        for (size_t i = 0; i < n; i++) s->found[s->known++] = value_of(s, s->total + i * (size_t)s->o->samples);
        st = write_values(s, first, e);
        tn_progress_update(&bar, (long)s->known, "V* %.3f", s->found[s->known - 1].v);
    }
    tn_progress_end(&bar);
    return st;
}

/* ---- what becomes of the prompts ---- */

static tn_status keep_prompts(const search *s, tn_err *e) {
    tn_dataset *d = s->on->prompts;
    size_t n = 0, unknown = 0, hopeless = 0;
    double sum = 0;
    for (size_t i = 0; i < d->n; i++) {
        value f = s->found[i];
        bool none = isnan(f.v), no_hope = s->o->drop_hopeless && f.v == 0 && f.reward == 0; /* V* exceeds the mean unless all are equal */
        unknown += none, hopeless += no_hope;
        if (none || no_hope) {
            json_decref(d->ex[i].meta);
            continue;
        }
        d->ex[i].baseline = f.v;
        sum += f.v;
        d->ex[n++] = d->ex[i];
    }
    tn_info("values: V* of %zu prompts, mean %.4g; left out: %zu whose samples all have reward 0%s, %zu without a reward", n,
            n ? sum / (double)n : 0, hopeless, hopeless ? " (--filter-all-incorrect)" : "", unknown);
    d->n = n;
    if (n == 0)
        return tn_fail(e, TN_STATE,
                       "no prompt is left to learn from: no sample of the reference has a reward; give easier prompts, another "
                       "reward, more --num-value-samples, or --no-filter-all-incorrect");
    return tn_online_replan(s->on, e);
}

tn_status tn_values_find(const tn_values_options *o, tn_online *on, tn_rewards *rewards, tn_err *e) {
    search s = {.o = o, .on = on, .rewards = rewards};
    tn_status st = make_room(&s, e);
    tn_signals_install();
    if (st == TN_OK) st = open_table(&s, e);
    if (st == TN_OK && s.known) tn_info("values: those of %zu prompts are in %s/values.jsonl", s.known, on->o.output_dir);
    if (st == TN_OK && s.known < on->prompts->n) {
        st = tn_gen_new(&s.gen, on->ref, on->gen_batch, on->rollout_length, e);
        if (st == TN_OK) st = find_values(&s, e);
        if (st == TN_INTERRUPTED)
            st = tn_fail(e, TN_INTERRUPTED, "stopped with the values of %zu of %zu prompts; the same command goes on from there",
                         s.known, on->prompts->n);
    }
    if (st == TN_OK) st = keep_prompts(&s, e);
    tn_out_close(s.file, TN_OK, false, NULL);
    tn_gen_free(s.gen);
    tn_rollouts_free(&s.roll);
    void *p[] = {s.found, s.key, s.total, s.scratch};
    for (int i = 0; i < 4; i++) tn_free(p[i]);
    return st;
}
