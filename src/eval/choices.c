/* Multiple choice by log-prob: the answer whose tokens the model finds likeliest, by sum and by mean. */
#include "eval/eval.h"
#include <ctype.h>
#include <string.h>

#define MAX_CHOICES 16

typedef struct item {
    const char *question;
    const char *choice[MAX_CHOICES];
    int n, answer;
} item;

/* Index of the answer given as a number, a letter or a label. */
static int answer_of(const json_t *a, const char *const *label, int n) {
    if (json_is_integer(a)) return (int)json_integer_value(a);
    const char *s = json_string_value(a);
    if (!s) return -1;
    for (int i = 0; i < n; i++)
        if (label[i] && strcmp(label[i], s) == 0) return i;
    if (s[0] && !s[1] && isalpha((unsigned char)s[0])) return toupper((unsigned char)s[0]) - 'A';
    return -1;
}

static const json_t *any_of(const json_t *row, const char *const *names) {
    for (; *names; names++) {
        const json_t *v = json_object_get(row, *names);
        if (v) return v;
    }
    return NULL;
}

static tn_status read_item(const json_t *row, item *x, const char *where, tn_err *e) {
    static const char *const q_names[] = {"question", "query", "prompt", "stem", "goal", NULL};
    static const char *const a_names[] = {"answer", "gold", "answerKey", "label", NULL};
    const char *label[MAX_CHOICES] = {NULL};
    memset(x, 0, sizeof *x);
    const json_t *q = any_of(row, q_names), *list = json_object_get(row, "choices");
    if (json_is_object(q)) { /* {"question": {"stem", "choices": [...]}} */
        if (!list) list = json_object_get(q, "choices");
        q = json_object_get(q, "stem");
    }
    if (json_is_object(list)) list = json_object_get(list, "text");
    x->question = json_string_value(q);
    if (!x->question || !json_is_array(list))
        return tn_fail(
            e, TN_FORMAT,
            "%s: expected \"question\" (or \"query\", \"prompt\") and a list \"choices\"", where);
    x->n = (int)json_array_size(list);
    if (x->n < 2 || x->n > MAX_CHOICES)
        return tn_fail(e, TN_FORMAT, "%s: %d choices; 2 to %d are possible", where, x->n,
                       MAX_CHOICES);
    for (int i = 0; i < x->n; i++) {
        const json_t *c = json_array_get(list, (size_t)i);
        x->choice[i] = json_string_value(json_is_object(c) ? json_object_get(c, "text") : c);
        label[i] = json_string_value(json_object_get(c, "label"));
        if (!x->choice[i]) return tn_fail(e, TN_FORMAT, "%s: choice %d is no string", where, i + 1);
    }
    x->answer = answer_of(any_of(row, a_names), label, x->n);
    if (x->answer < 0 || x->answer >= x->n)
        return tn_fail(e, TN_FORMAT,
                       "%s: no usable \"answer\" (an index from 0, or a letter); %d choices", where,
                       x->n);
    return TN_OK;
}

/* Question and one choice as ids; the choice follows after a blank. */
static tn_status encode(const tn_tokenizer *tok, const item *x, int k, tn_ids *ids, size_t *split,
                        tn_err *e) {
    tn_str both = TN_STR_INIT;
    tn_ids all = {0};
    ids->n = 0;
    tn_str_addf(&both, "%s %s", x->question, x->choice[k]);
    tn_status st = both.oom ? tn_fail(e, TN_NOMEM, "out of memory")
                            : tn_encode(tok, x->question, strlen(x->question), true, ids, NULL, e);
    if (st == TN_OK) st = tn_encode(tok, both.s, both.len, true, &all, NULL, e);
    if (st == TN_OK) {
        size_t i = 0;
        while (i < ids->n && i + 1 < all.n && ids->v[i] == all.v[i]) i++;
        *split = i;
        tn_ids_free(ids);
        *ids = all;
    } else {
        tn_ids_free(&all);
    }
    tn_str_free(&both);
    return st;
}

static tn_status score_item(const tn_model *m, const tn_tokenizer *tok, const item *x, double *sum,
                            double *mean, tn_err *e) {
    tn_ids ids[MAX_CHOICES] = {{0}};
    tn_example ex[MAX_CHOICES];
    tn_response r[MAX_CHOICES];
    double *out[MAX_CHOICES] = {NULL};
    tn_status st = TN_OK;
    memset(ex, 0, sizeof ex);
    memset(r, 0, sizeof r);
    for (int k = 0; k < x->n; k++) {
        size_t split = 0;
        TN_GO(encode(tok, x, k, &ids[k], &split, e), done);
        if (split == 0 || split >= ids[k].n) {
            st = tn_fail(e, TN_FORMAT, "choice %d has no token of its own", k + 1);
            goto done;
        }
        r[k] = (tn_response){.ids = ids[k].v + split, .n = (int)(ids[k].n - split), .rank = 1};
        r[k].trained = tn_calloc((size_t)r[k].n, 1);
        out[k] = tn_calloc((size_t)r[k].n, sizeof(double));
        if (!r[k].trained || !out[k]) {
            st = tn_fail(e, TN_NOMEM, "out of memory");
            goto done;
        }
        memset(r[k].trained, 1, (size_t)r[k].n);
        ex[k] = (tn_example){
            .prompt = ids[k].v, .n_prompt = (int)split, .n_response = 1, .response = &r[k]};
    }
    TN_GO(tn_eval_logps(m, ex, x->n, out, e), done);
    for (int k = 0; k < x->n; k++) {
        sum[k] = 0;
        for (int t = 0; t < r[k].n; t++) sum[k] += out[k][t];
        mean[k] = sum[k] / r[k].n;
    }
done:
    for (int k = 0; k < x->n; k++) {
        tn_ids_free(&ids[k]);
        tn_free(r[k].trained);
        tn_free(out[k]);
    }
    return st;
}

static bool best_is(const double *v, int n, int answer) {
    for (int i = 0; i < n; i++)
        if (i != answer && v[i] >= v[answer]) return false;
    return true;
}

tn_status tn_eval_choices(const tn_model *m, const tn_tokenizer *tok, const char *path,
                          json_t **out, tn_err *e) {
    *out = NULL;
    if (!tok)
        return tn_fail(e, TN_STATE, "--choices needs a tokenizer, and the model folder has none");
    tn_lines *lines;
    TN_TRY(tn_lines_open(&lines, path, (size_t)1 << 24, e));
    int n = 0, by_sum = 0, by_mean = 0;
    tn_status st;
    for (;;) {
        json_t *row = NULL;
        char where[600];
        item x;
        double sum[MAX_CHOICES], mean[MAX_CHOICES];
        TN_GO(tn_jsonl_next(lines, path, &row, e), done);
        if (!row) break;
        snprintf(where, sizeof where, "%.500s:%ld", path, tn_lines_number(lines));
        st = read_item(row, &x, where, e);
        if (st == TN_OK) st = score_item(m, tok, &x, sum, mean, e);
        if (st == TN_OK)
            by_sum += best_is(sum, x.n, x.answer), by_mean += best_is(mean, x.n, x.answer), n++;
        json_decref(row);
        if (st != TN_OK) goto done;
    }
    tn_stat_rate a = tn_stat_wilson(by_sum, n, tn_stat_z95),
                 b = tn_stat_wilson(by_mean, n, tn_stat_z95);
    *out = json_pack("{s:o,s:o}", "sum", tn_json_rate(&a), "mean", tn_json_rate(&b));
    st = *out ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
done:
    tn_lines_close(lines);
    return st;
}
