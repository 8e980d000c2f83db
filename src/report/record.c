/* What was run: commands, times, the reward model's accuracy, and what the figures cannot say. */
#include "report/report.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void rate(tn_str *o, const tn_report_value *v) {
    tn_html_num(o, 100 * v->v, 1);
    tn_str_addz(o, "&nbsp;% [");
    tn_html_num(o, 100 * v->lo, 1);
    tn_str_addz(o, ", ");
    tn_html_num(o, 100 * v->hi, 1);
    tn_str_addf(o, "] of %d", v->n);
}

static void string(tn_str *o, const json_t *s) {
    if (json_is_string(s)) tn_html_text(o, json_string_value(s), json_string_length(s));
    else tn_str_addz(o, "–");
}

/* ---------------- commands ---------------- */

/* A word of a shell command line. */
static void word(tn_str *o, const char *s, size_t n) {
    bool plain = n > 0;
    for (size_t i = 0; i < n; i++)
        plain &= s[i] && (strchr("./_-=:,+@%", s[i]) || (s[i] >= '0' && s[i] <= '9') ||
                          ((s[i] | 32) >= 'a' && (s[i] | 32) <= 'z'));
    if (plain) {
        tn_html_text(o, s, n);
        return;
    }
    tn_str_addz(o, "&#39;");
    for (size_t i = 0, from = 0; i <= n; i++)
        if (i == n || s[i] == '\'') {
            tn_html_text(o, s + from, i - from);
            if (i < n) tn_str_addz(o, "&#39;\\&#39;&#39;");
            from = i + 1;
        }
    tn_str_addz(o, "&#39;");
}

static void value(tn_str *o, const json_t *v) {
    if (json_is_string(v)) word(o, json_string_value(v), json_string_length(v));
    else if (json_is_integer(v)) tn_str_addf(o, "%lld", (long long)json_integer_value(v));
    else if (json_is_real(v)) {
        char b[40];
        for (int p = 6; p <= 17; p++) {
            snprintf(b, sizeof b, "%.*g", p, json_real_value(v));
            if (strtod(b, NULL) == json_real_value(v)) break;
        }
        tn_str_addz(o, b);
    } else tn_str_addz(o, json_is_true(v) ? "true" : "false");
}

static bool is_default(const tn_report *r, const char *verb, const char *name, const json_t *v) {
    const char *d = r->option_default ? r->option_default(verb, name) : NULL;
    if (json_is_null(v) || (json_is_array(v) && !json_array_size(v))) return true;
    if (!d) return false;
    if (json_is_number(v)) return strtod(d, NULL) == json_number_value(v);
    if (json_is_boolean(v)) return !strcmp(d, json_is_true(v) ? "true" : "false");
    return json_is_string(v) && !strcmp(d, json_string_value(v));
}

/* The command line that gives these options, without those that are the defaults. */
static void command(const tn_report *r, const tn_report_run *u, tn_str *o) {
    const char *key;
    const json_t *v, *options = json_object_get(u->info, "options");
    tn_str_addz(o, "tenet ");
    tn_html_textz(o, u->verb);
    json_object_foreach((json_t *)options, key, v) {
        if (json_is_object(v) || is_default(r, u->verb, key, v)) continue;
        if (json_is_boolean(v)) {
            tn_str_addz(o, json_is_true(v) ? " --" : " --no-");
            tn_html_textz(o, key);
            continue;
        }
        tn_str_addz(o, " --");
        tn_html_textz(o, key);
        for (size_t i = 0; i < json_array_size(v); i++) {
            tn_str_addc(o, ' ');
            value(o, json_array_get(v, i));
        }
        if (json_is_array(v)) continue;
        tn_str_addc(o, ' ');
        value(o, v);
    }
}

/* ---------------- runs ---------------- */

static void td(tn_str *o, void (*print)(tn_str *, double), double v) {
    tn_str_addz(o, "<td>");
    print(o, v);
    tn_str_addz(o, "</td>");
}
static void whole(tn_str *o, double v) { tn_html_num(o, v, 0); }

static void run_row(const tn_report_run *u, tn_str *o) {
    tn_str_addf(o, "<tr><th><b class=\"c%d\">", u->colour & 7);
    tn_html_textz(o, u->name);
    tn_str_addz(o, "</b></th><td>");
    tn_html_textz(o, u->verb[0] ? u->verb : "–");
    tn_str_addz(o, "</td>");
    td(o, whole, u->steps);
    td(o, tn_html_amount, u->tokens);
    td(o, tn_html_seconds, u->seconds);
    td(o, tn_html_amount, u->seconds > 0 ? u->tokens / u->seconds : NAN);
    tn_str_addz(o, "<td>");
    tn_html_amount(o, u->peak);
    tn_str_addz(o, isfinite(u->peak) ? "B</td><td>" : "</td><td>");
    string(o, json_object_get(u->info, "profile"));
    tn_str_addz(o, "</td>");
    td(o, whole, tn_report_real(json_object_get(u->info, "options"), "seed"));
    tn_str_addz(o, "<td>");
    string(o, json_object_get(u->info, "version"));
    tn_str_addz(o, "</td><td>");
    string(o, json_object_get(u->info, "data_hash"));
    tn_str_addz(o, "</td></tr>");
}

static void runs(const tn_report *r, tn_str *o) {
    double total = 0;
    if (!r->n_runs) {
        tn_str_addz(o, "<p class=\"quiet\">No folders of training runs were given (--runs NAME=DIR), so "
                       "there are no curves, options or times here.</p>");
        return;
    }
    tn_str_addz(o, "<div class=\"scroll\"><table class=\"runs\"><thead><tr><th></th><th>verb</th><th>steps</th>"
                   "<th>tokens</th><th>time</th><th>tokens/s</th><th>peak memory</th><th>kernels</th>"
                   "<th>seed</th><th>version</th><th>data</th></tr></thead><tbody>");
    for (int i = 0; i < r->n_runs; i++) {
        run_row(&r->run[i], o);
        if (isfinite(r->run[i].seconds)) total += r->run[i].seconds;
    }
    tn_str_addz(o, "</tbody></table></div>");
    if (total > 0) {
        tn_str_addz(o, "<p>Training took ");
        tn_html_seconds(o, total);
        tn_str_addz(o, " in all. <span class=\"quiet\">Tokens are those processed; data: a checksum of the rows.</span></p>");
    }
    for (int i = 0; i < r->n_runs; i++) {
        if (!r->run[i].info) {
            tn_str_addz(o, "<p class=\"quiet\"><b>");
            tn_html_textz(o, r->run[i].name);
            tn_str_addz(o, "</b> has no tenet.json: its options are not known.</p>");
            continue;
        }
        tn_str_addz(o, "<pre><code>");
        command(r, &r->run[i], o);
        tn_str_addz(o, "</code></pre>");
    }
}

/* ---------------- preferences ---------------- */

static void reward_model(const tn_report *r, tn_str *o) {
    const json_t *m = json_object_get(r->eval, "reward_model");
    tn_report_value v;
    if (tn_report_get(m, "pairs", &v)) {
        tn_str_addz(o, "<p>Reward model, held-out pairs ordered as their labels say: <b>");
        rate(o, &v);
        tn_str_addz(o, "</b>");
        if (tn_report_get(m, "oracle", &v)) {
            tn_str_addz(o, "; as true reward says: <b>");
            rate(o, &v);
            tn_str_addz(o, "</b>");
        }
        tn_str_addz(o, ".</p>");
    }
    bool any = false;
    for (int k = 0; k < r->n_models; k++) {
        if (!tn_report_get(json_object_get(r->model[k].j, "pairs"), "plain_accuracy", &v)) continue;
        tn_str_addz(o, any ? ", " : "<p>Held-out pairs ordered by the models' own log-probs: ");
        tn_html_textz(o, r->model[k].name);
        tn_str_addc(o, ' ');
        rate(o, &v);
        any = true;
    }
    if (any) tn_str_addz(o, ".</p>");
    any = false;
    for (int k = 0; k < r->n_models; k++) {
        if (!tn_report_get(json_object_get(r->model[k].j, "choices"), "sum", &v)) continue;
        tn_str_addz(o, any ? ", " : "<p>Multiple-choice questions answered rightly: ");
        tn_html_textz(o, r->model[k].name);
        tn_str_addc(o, ' ');
        rate(o, &v);
        any = true;
    }
    if (any) tn_str_addz(o, ".</p>");
}

static void limits(const tn_report *r, tn_str *o) {
    tn_str_addz(o, "<h3>What this does not show</h3><p>");
    if (r->eval_dir)
        tn_str_addz(o, "Each model is one training run with one seed; the intervals cover the choice of prompts and "
                       "the sampling of answers, not what another seed would give. Many figures are compared at "
                       "once: of twenty that do not differ, one is expected to look as if it did. Rates of two models "
                       "are compared as if their prompts were different ones, which hides small differences rather "
                       "than inventing them. ");
    if (r->world)
        tn_str_addz(o, "The world is small and synthetic, and its judge is exact; a method's place here says how it "
                       "behaves when the reward is known, not how it does on human text. ");
    else if (r->eval_dir)
        tn_str_addz(o, "The judge is a learned reward model: models that were trained against it, or against data like "
                       "its own, look better than people would find them. ");
    tn_str_addz(o, "KL is an estimate from sampled answers and can be slightly negative. Training figures come from "
                   "the batch of each step and are noisy; times depend on the machine and what else ran there.</p>");
}

void tn_report_record(const tn_report *r, tn_str *o) {
    tn_str_addz(o, "<section><h2>What was run</h2>");
    if (!r->eval_dir)
        tn_str_addz(o, "<p class=\"quiet\">No evaluation was given (--eval DIR), so nothing is said about "
                       "what the models do.</p>");
    runs(r, o);
    reward_model(r, o);
    limits(r, o);
    tn_str_addz(o, "</section>");
}
