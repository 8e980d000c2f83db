/* Where macro actions end; see macro.h for the rules. A parse gives nodes depth first; the first
 * node of fewer than C tokens that a walk meets becomes a macro whole, its descendants are passed
 * over, and one token alone joins the macro before it. */
#include "algo/macro.h"
#include "base/rng.h"
#include <stdlib.h>
#include <string.h>

#define AT(f) offsetof(tn_macro_opt, f)
const tn_opt_row tn_macro_rows[] = {
    {"macro-action", TN_OPT_CHOICE, AT(rule), "none",
     "none|fixed|random|perplexity|parse|fixed_code|perplexity_code", 0, 0, "macro-rule termination",
     NULL,
     "Several tokens act as one action of PPO (MA-RLHF), which ends: after N tokens, after random "
     "numbers of tokens, where the reference model is surprised, or with constituents of a parse. "
     "The _code rules cut exactly as the authors' program does."},
    {"macro-length", TN_OPT_INT, AT(length), "5", NULL, 1, 1 << 20, "ngram", "N",
     "Tokens of a macro action; 1 is PPO on tokens. For parse: a constituent has fewer."},
    {"macro-lengths", TN_OPT_LIST, AT(lengths), NULL, NULL, 0, 0, NULL, "N",
     "Lengths that the rule random shuffles; 2 3 5 10 when absent."},
    {"macro-repeat", TN_OPT_INT, AT(repeat), "1", NULL, 1, 1 << 16, "repeat-times", "N",
     "Times that this list is laid out before it is shuffled; what a response has beyond it is one "
     "macro."},
    {"macro-value", TN_OPT_CHOICE, AT(value), "equal", "equal|unit|position", 0, 0,
     "value-function", NULL,
     "Value of a macro from its tokens': the mean, the last one, or weights falling as "
     "1/position."},
    {"macro-reward", TN_OPT_CHOICE, AT(reward), "sum", "sum|mean", 0, 0, NULL, NULL,
     "Reward of a macro from its tokens': their sum (the paper), or the mean with the same weights "
     "as the value (the authors' code)."},
    {"macro-loss", TN_OPT_CHOICE, AT(loss), "token", "token|macro", 0, 0, NULL, NULL,
     "token: a ratio and a value for each token, with the advantage and the return of its macro "
     "(the authors' code); macro: one joint ratio and one value a macro (the paper's equations)."},
    TN_OPT_LAST,
};

static int named(const char *name, const char *const *names, int n) {
    for (int i = 0; i < n; i++)
        if (name && strcmp(name, names[i]) == 0) return i;
    return -1;
}

tn_status tn_macro_weight_parse(const char *name, tn_macro_weight *w, tn_err *e) {
    static const char *const weights[] = {"equal", "unit", "position"};
    int k = named(name, weights, 3);
    if (k < 0)
        return tn_fail(e, TN_ARG, "macro-value is '%s', expected equal, unit or position",
                       name ? name : "");
    *w = (tn_macro_weight)k;
    return TN_OK;
}

tn_status tn_macro_parse(const tn_macro_opt *o, tn_macro_rule *rule, tn_macro_weight *w,
                         tn_err *e) {
    static const char *const rules[] = {"fixed", "random",     "perplexity",
                                        "parse", "fixed_code", "perplexity_code"};
    int r = named(o->rule, rules, 6);
    if (r < 0)
        return tn_fail(e, TN_ARG, "macro-rule is '%s'; expected fixed, random, perplexity or parse",
                       o->rule ? o->rule : "");
    TN_TRY(tn_macro_weight_parse(o->value, w, e));
    if (o->length < 1 || o->repeat < 1)
        return tn_fail(e, TN_ARG,
                       "macro actions: macro-length is %lld and macro-repeat %lld, expected at "
                       "least 1",
                       (long long)o->length, (long long)o->repeat);
    *rule = (tn_macro_rule)r;
    return TN_OK;
}

tn_status tn_macro_lengths(const tn_macro_opt *o, uint64_t seed, uint64_t index, uint32_t *out,
                           int max, int *n, tn_err *e) {
    static const char *const usual[] = {"2", "3", "5", "10"};
    int each = o->lengths.n ? o->lengths.n : 4;
    const char *const *v = o->lengths.n ? o->lengths.v : usual;
    if (o->repeat < 1 || o->repeat > max / each)
        return tn_fail(e, TN_ARG, "macro actions: %d lengths %lld times over, expected 1 to %d",
                       each, (long long)o->repeat, max);
    *n = each * (int)o->repeat;
    for (int i = 0; i < *n; i++) {
        char *end;
        long len = strtol(v[i % each], &end, 10);
        if (end == v[i % each] || *end || len < 1 || len > 1 << 20)
            return tn_fail(e, TN_ARG, "macro-lengths: '%s', expected a number of tokens from 1",
                           v[i % each]);
        out[i] = (uint32_t)len;
    }
    tn_rng r = tn_rng_stream(seed, TN_RNG_MACRO, index);
    tn_rng_shuffle(&r, out, (size_t)*n);
    return TN_OK;
}

/* Macros of `step` tokens up to `last`, which is not reached. */
static int fixed(int64_t step, int last, int *off, int k) {
    for (int64_t t = 0; t < last; t += step) off[k++] = (int)t;
    return k;
}

static int random_lengths(const tn_macro_text *y, int *off) {
    int k = 0;
    int64_t t = 0;
    off[k++] = 0;
    for (int i = 0; i < y->n_length; i++) {
        t += y->lengths[i];
        if (t >= y->n) break;
        off[k++] = (int)t;
    }
    return k;
}

/* Token i ends a macro when i + 1 is less likely; `early`: token i begins one. */
static int surprises(const tn_macro_text *y, bool early, int *off) {
    int k = 0;
    off[k++] = 0;
    for (int i = 0; i + 1 < y->n; i++)
        if (y->ref_logp[i + 1] < y->ref_logp[i]) off[k++] = early ? i : i + 1;
    return k;
}

/* Nodes are in the response, and each of two is inside the other or after it. */
static tn_status check_spans(const tn_macro_text *y, tn_err *e) {
    for (int i = 0; i < y->n_span; i++) {
        const int *a = y->span + 2 * i, *b = y->span;
        bool ok = a[0] >= 0 && a[0] < a[1] && a[1] <= y->n;
        for (; ok && b < a; b += 2) ok = a[0] >= b[1] || (a[0] >= b[0] && a[1] <= b[1]);
        if (!ok)
            return tn_fail(
                e, TN_ARG,
                "macro actions: node %d of the parse, [%d, %d), is no constituent of the %d "
                "tokens; parse the response's own tokens, or leave the response out",
                i, a[0], a[1], y->n);
    }
    return TN_OK;
}

static int constituents(const tn_macro_text *y, int64_t below, int *off) {
    int k = 0, at = 0; /* tokens before `at` have a macro */
    off[k++] = 0;
    for (int i = 0; i < y->n_span; i++) {
        int first = y->span[2 * i], end = y->span[2 * i + 1];
        bool leaf = i + 1 == y->n_span || y->span[2 * i + 2] >= end;
        if (end <= at || (end - first >= below && !leaf)) continue;
        if (end - first > 1 || k == 1) k++;
        off[k - 1] = at = end;
    }
    return k > 1 ? k - 1 : 1; /* the caller ends the last macro with the response */
}

tn_status tn_macro_cut(tn_macro_rule rule, int64_t length, const tn_macro_text *y, int *off,
                       int *n_macro, tn_err *e) {
    int k = 0;
    bool surprise = rule == TN_MACRO_PERPLEXITY || rule == TN_MACRO_PERPLEXITY_CODE;
    if (y->n < 1) return tn_fail(e, TN_ARG, "macro actions: a response without tokens");
    if (length < 1)
        return tn_fail(e, TN_ARG, "macro actions: macro-length is %lld", (long long)length);
    if ((surprise && !y->ref_logp) || (rule == TN_MACRO_RANDOM && !y->lengths) ||
        (rule == TN_MACRO_PARSE && !y->span))
        return tn_fail(e, TN_ARG, "macro actions: this rule needs %s of the response",
                       surprise                 ? "reference log-probs"
                       : rule == TN_MACRO_PARSE ? "a parse"
                                                : "lengths");
    switch (rule) {
    case TN_MACRO_FIXED:
        k = fixed(length, y->n, off, 0);
        break;
    case TN_MACRO_FIXED_CODE:
        k = fixed(length, y->n, off, 0);
        break;
    case TN_MACRO_RANDOM:
        k = random_lengths(y, off);
        break;
    case TN_MACRO_PERPLEXITY:
    case TN_MACRO_PERPLEXITY_CODE:
        k = surprises(y, rule == TN_MACRO_PERPLEXITY_CODE, off);
        break;
    case TN_MACRO_PARSE:
        TN_TRY(check_spans(y, e));
        k = constituents(y, length, off);
        break;
    }
    if (rule == TN_MACRO_FIXED_CODE || rule == TN_MACRO_PERPLEXITY_CODE) off[k++] = y->n - 1;
    off[k] = y->n;
    *n_macro = k;
    return TN_OK;
}
