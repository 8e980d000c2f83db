/* Answers side by side: prompts where the models differ, and a plain sample; samples of training. */
#include "report/report.h"
#include <math.h>
#include <string.h>

#define PICKS 12

static void string_of(const json_t *o, const char *key, tn_str *out) {
    const json_t *s = json_object_get(o, key);
    if (json_is_string(s)) tn_html_text(out, json_string_value(s), json_string_length(s));
}

static void flag(tn_str *o, const json_t *a, const char *key, const char *class) {
    if (json_is_true(json_object_get(a, key)))
        tn_str_addf(o, "<em class=\"%s\">%s</em>", class, key);
}

static void answer(const tn_report *r, int k, const json_t *a, tn_str *o) {
    const tn_report_model *m = &r->model[k];
    double v = tn_report_real(a, "reward"), p = tn_report_real(a, "proxy");
    tn_str_addf(o, m->colour < 0 ? "<div class=\"ans cm\"><b>" : "<div class=\"ans c%d\"><b>",
                m->colour & 7);
    tn_html_textz(o, m->name);
    tn_str_addz(o, "</b><p><bdi>");
    string_of(a, "text", o);
    tn_str_addz(o, "</bdi></p><span class=\"marks\">");
    if (isfinite(v)) {
        tn_str_addz(o, v > 0 ? "<em class=\"r pos\">R " : "<em class=\"r neg\">R ");
        tn_html_num(o, v, 2);
        tn_str_addz(o, "</em>");
    }
    if (isfinite(p)) {
        tn_str_addz(o, "<em class=\"r\" title=\"learned reward\">proxy ");
        tn_html_num(o, p, 2);
        tn_str_addz(o, "</em>");
    }
    static const char *const wrong[] = {"harmful", "leak", "syco", "rude"};
    static const char *const right[] = {"correct", "explains"};
    static const char *const plain[] = {"refusal", "flourish"};
    for (int i = 0; i < 4; i++) flag(o, a, wrong[i], "neg");
    for (int i = 0; i < 2; i++) flag(o, a, right[i], "pos");
    if (json_is_false(json_object_get(a, "correct"))) tn_str_addz(o, "<em class=\"neg\">not correct</em>");
    for (int i = 0; i < 2; i++) flag(o, a, plain[i], "");
    if (json_is_false(json_object_get(a, "ended"))) tn_str_addz(o, "<em>cut off</em>");
    tn_str_addz(o, "</span></div>");
}

static void card(const tn_report *r, int i, tn_str *o) {
    const json_t *row = json_array_get(r->samples, (size_t)i);
    const json_t *answers = json_object_get(row, "answers");
    tn_str_addz(o, "<article>");
    if (r->families[r->family[i]][0]) {
        tn_str_addz(o, "<small class=\"chip\">");
        tn_html_textz(o, r->families[r->family[i]]);
        tn_str_addz(o, "</small>");
    }
    tn_str_addz(o, "<h4><bdi>");
    string_of(row, "prompt", o);
    tn_str_addz(o, "</bdi></h4>");
    for (int k = 0; k < r->n_models; k++) {
        const json_t *a = json_object_get(answers, r->model[k].name);
        if (!r->model[k].policy && json_is_object(a)) answer(r, k, a, o);
    }
    tn_str_addz(o, "</article>");
}

/* How much the trained models' answers differ in worth; ties: by how many differ in words. */
static double spread(const tn_report *r, int i) {
    const json_t *answers = json_object_get(json_array_get(r->samples, (size_t)i), "answers");
    const char *first = NULL;
    double lo = NAN, hi = NAN, other = 0;
    for (int k = 0; k < r->n_models; k++) {
        if (r->model[k].policy) continue;
        const char *t = json_string_value(
            json_object_get(json_object_get(answers, r->model[k].name), "text"));
        double v = r->model[k].reward[i];
        if (!(lo <= v) && isfinite(v)) lo = v;
        if (!(hi >= v) && isfinite(v)) hi = v;
        if (t && !first) first = t;
        else if (t && strcmp(t, first) != 0) other += 0.01;
    }
    return (isfinite(lo) ? hi - lo : 0) + other;
}

/* Families in turn, each time the unpicked prompt with the widest spread (or the first one). */
static tn_status pick(const tn_report *r, bool by_spread, int want, int *picked, int *n, tn_err *e) {
    double *s = tn_malloc((size_t)r->n_samples * sizeof *s);
    bool *used = tn_calloc((size_t)r->n_samples, sizeof *used);
    *n = 0;
    for (int i = 0; s && used && i < r->n_samples; i++) s[i] = by_spread ? spread(r, i) : 0;
    for (int round = 0; s && used && *n < want && round < want; round++)
        for (int f = 0; f < r->n_families && *n < want; f++) {
            int best = -1;
            for (int i = 0; i < r->n_samples; i++)
                if (!used[i] && r->family[i] == f && (best < 0 || s[i] > s[best])) best = i;
            if (best < 0) continue;
            used[best] = true;
            picked[(*n)++] = best;
        }
    bool ok = s && used;
    tn_free(s);
    tn_free(used);
    return ok ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
}

static tn_status cards(const tn_report *r, bool by_spread, int want, tn_str *o, tn_err *e) {
    int picked[64], n;
    if (want > 64) want = 64;
    TN_TRY(pick(r, by_spread, want, picked, &n, e));
    tn_str_addz(o, "<div class=\"cards\">");
    for (int i = 0; i < n; i++) card(r, picked[i], o);
    tn_str_addz(o, "</div>");
    return TN_OK;
}

/* What a run wrote while it trained: its first rows and its last. */
static void training_samples(const tn_report_run *u, tn_str *o) {
    size_t n = json_array_size(u->samples);
    if (!n) return;
    tn_str_addz(o, "<details><summary>Samples while <b class=\"");
    tn_str_addf(o, "c%d\">", u->colour & 7);
    tn_html_textz(o, u->name);
    tn_str_addz(o, "</b> trained</summary><div class=\"cards\">");
    for (size_t i = 0; i < n; i++) {
        if (n > 8 && i == 4) i = n - 4;
        const json_t *row = json_array_get(u->samples, i);
        tn_str_addf(o, "<article><small class=\"chip\">step ");
        tn_html_num(o, tn_report_real(row, "step"), 0);
        tn_str_addz(o, "</small><h4><bdi>");
        string_of(row, "prompt", o);
        tn_str_addf(o, "</bdi></h4><div class=\"ans c%d\"><p><bdi>", u->colour & 7);
        string_of(row, "response", o);
        const char *key = json_object_get(row, "score") ? "score" : "reward"; /* PPO; GRPO, RLOO */
        tn_str_addf(o, "</bdi></p><span class=\"marks\"><em class=\"r\">%s ", key);
        tn_html_num(o, tn_report_real(row, key), 2);
        tn_str_addz(o, "</em></span></div></article>");
    }
    tn_str_addz(o, "</div></details>");
}

tn_status tn_report_answers(const tn_report *r, tn_str *o, tn_err *e) {
    bool any = false;
    for (int i = 0; i < r->n_runs; i++) any |= json_array_size(r->run[i].samples) > 0;
    if (!r->eval_dir && !any) return TN_OK;
    tn_str_addz(o, "<section><h2>Answers</h2>");
    if (r->eval_dir && !r->n_samples)
        tn_str_addz(o, "<p class=\"quiet\">The evaluation's folder has no samples.jsonl, so no answers are shown.</p>");
    if (r->n_samples) {
        tn_str_addz(o, "<p class=\"quiet\">Chosen because the models differ most here, in every family: "
                       "not a fair sample; one of those follows below.</p>");
        TN_TRY(cards(r, true, PICKS, o, e));
        tn_str_addz(o, "<details><summary>The first prompt of every family, not chosen</summary>");
        TN_TRY(cards(r, false, r->n_families > 1 ? r->n_families : 8, o, e));
        tn_str_addz(o, "</details>");
    }
    for (int i = 0; i < r->n_runs; i++) training_samples(&r->run[i], o);
    tn_str_addz(o, "</section>");
    return TN_OK;
}
