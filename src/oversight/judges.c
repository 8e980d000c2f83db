#include "oversight/judges.h"
#include "base/proc.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define AT(f) offsetof(tn_endpoint_options, f)
const tn_opt_row tn_endpoint_option_rows[] = {
    {"judge-model", TN_OPT_LIST, AT(model), NULL, NULL, 0, 0, "critic-model", "NAME",
     "Model that an endpoint (a judge or critic given as http:// or https:// URL) is asked for; of several endpoints one for all, or one each."},
    {"judge-key-env", TN_OPT_LIST, AT(key_env), NULL, NULL, 0, 0, "critic-key-env", "VARIABLE",
     "Environment variable that holds an endpoint's API key; the key itself is never written anywhere. One for all, or one each."},
    {"judge-timeout", TN_OPT_REAL, AT(timeout), "120", NULL, 0.001, 86400, NULL, "S", "Seconds after which a request is taken for lost."},
    {"judge-retries", TN_OPT_INT, AT(retries), "5", NULL, 0, 100, NULL, "N",
     "So often is a request tried again after a lost connection, a status of 408, 425, 429 or 5xx, or a reply that is none."},
    {"judge-backoff", TN_OPT_REAL, AT(backoff), "1", NULL, 0, 60, NULL, "S",
     "Seconds before the first retry; twice as many before each that follows, up to 60, less a random part of up to a half."},
    {"judge-concurrency", TN_OPT_INT, AT(concurrent), "8", NULL, 1, 1024, "critic-concurrency", "N", "Requests to an endpoint that are under way at a time."},
    TN_OPT_LAST};

static tn_status one_or_each(const tn_opt_list *l, int n, const char *option, const char *of, tn_err *e) {
    if (l->n <= 1 || l->n == n) return TN_OK;
    return tn_fail(e, TN_ARG, "%s has %d values for %d %s; give one for all or one for each", option, l->n, n, of);
}
static const char *of_list(const tn_opt_list *l, int i) { return l->n == 0 ? NULL : l->v[l->n == 1 ? 0 : i]; }

static tn_status open_endpoint(tn_judge *j, const char *url, int i, const tn_judge_setup *s, tn_err *e) {
    const tn_endpoint_options *o = s->endpoint;
    tn_str name = TN_STR_INIT;
    const char *variable = of_list(&o->key_env, i);
    tn_endpoint at = {.url = url, .model = of_list(&o->model, i), .top = s->top, .votes = s->votes,
                      .http = {.timeout = o->timeout, .backoff = o->backoff, .retries = (int)o->retries, .concurrent = (int)o->concurrent,
                               .most = 16 << 20, .seed = s->seed}};
    if (variable) {
        at.http.key = getenv(variable);
        if (!at.http.key || !*at.http.key)
            return tn_fail(e, TN_ARG, "--judge-key-env %s: there is no such environment variable, or it is empty", variable);
    }
    TN_TRY(tn_asker_open_endpoint(&j->asker, &at, s->kept, e));
    tn_str_addf(&name, "%s@%s", at.model, url);
    if (!name.oom) j->own = tn_strdup(name.s);
    tn_str_free(&name);
    j->name = j->own;
    return j->own ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
}

static tn_status open_prompts(tn_judge *j, const char *dir, const tn_judge_setup *s, tn_err *e) {
    tn_str path = TN_STR_INIT;
    tn_shipped_path(dir, &path);
    tn_status st = path.oom ? tn_fail(e, TN_NOMEM, "out of memory") : tn_prompts_load(&j->prompts, path.s, s->constitution, tn_asker_tokenizer(j->asker), e);
    tn_str_free(&path);
    return st;
}

static tn_status read_weight(const tn_opt_list *l, int i, double *w, tn_err *e) {
    char *end;
    *w = 1;
    if (l->n == 0) return TN_OK;
    *w = strtod(l->v[i], &end);
    if (end == l->v[i] || *end || !isfinite(*w) || *w < 0)
        return tn_fail(e, TN_ARG, "--judge-weights: \"%s\" is not a weight, a number of at least 0", l->v[i]);
    return TN_OK;
}

tn_status tn_judges_open(tn_judges *j, tn_opt_list names, const tn_judge_setup *s, tn_err *e) {
    int endpoints = 0, seen = 0;
    for (int i = 0; i < names.n; i++) endpoints += tn_endpoint_is(names.v[i]);
    TN_TRY(one_or_each(&s->prompts, names.n, "--judge-prompts", "judges", e));
    TN_TRY(one_or_each(&s->endpoint->model, endpoints, "--judge-model", "endpoints", e));
    TN_TRY(one_or_each(&s->endpoint->key_env, endpoints, "--judge-key-env", "endpoints", e));
    if (s->weights.n && s->weights.n != names.n)
        return tn_fail(e, TN_ARG, "--judge-weights has %d values for %d judges; give one for each", s->weights.n, names.n);
    *j = (tn_judges){tn_calloc((size_t)names.n, sizeof *j->v), names.n};
    if (!j->v) return tn_fail(e, TN_NOMEM, "out of memory");
    for (int i = 0; i < names.n; i++) {
        tn_judge *x = &j->v[i];
        x->name = names.v[i];
        TN_TRY(read_weight(&s->weights, i, &x->weight, e));
        if (tn_endpoint_is(names.v[i])) TN_TRY(open_endpoint(x, names.v[i], seen++, s, e));
        else TN_TRY(tn_asker_open(&x->asker, s->be, names.v[i], s->base, NULL, s->kept, e));
        TN_TRY(open_prompts(x, of_list(&s->prompts, i), s, e));
    }
    return TN_OK;
}

void tn_judges_close(tn_judges *j) {
    for (int i = 0; j->v && i < j->n; i++) {
        tn_prompts_free(j->v[i].prompts);
        tn_asker_close(j->v[i].asker);
        tn_free(j->v[i].own);
    }
    tn_free(j->v);
    *j = (tn_judges){0};
}
