/* Training curves of runs, and learned against true reward. */
#include "report/report.h"
#include <math.h>
#include <string.h>

/* One panel: a metric, or two that belong together (the second dashed). */
typedef struct curve {
    const char *key, *second, *title;
} curve;

static const curve curves[] = {
    {"objective/raw_scores", NULL, "Reward of the learned model"},
    {"objective/kl", NULL, "KL to the reference, nats an answer"},
    {"completions/mean_length", NULL, "Length of an answer, tokens"},
    {"loss", NULL, "Loss"},
    {"rewards/margins", NULL, "Reward margin, chosen − rejected"},
    {"rewards/accuracies", NULL, "Preference accuracy"},
    {"rewards/chosen", "rewards/rejected", "Implicit reward: chosen, rejected (dashed)"},
    {"logps/chosen", "logps/rejected", "Log-prob: chosen, rejected (dashed)"},
    {"accuracy", NULL, "Preference accuracy"},
    {"margin", NULL, "Margin of scores"},
    {"mean_reward", NULL, "Mean score"},
    {"mean_token_accuracy", NULL, "Token accuracy"},
    {"reward", NULL, "Reward"},
    {"kl", NULL, "KL"},
    {"entropy", NULL, "Entropy"},
    {"policy/entropy_avg", NULL, "Entropy"},
    {"completions/ended_ratio", NULL, "Answers that end by themselves"},
    {"policy/clipfrac_avg", NULL, "Share of clipped ratios"},
    {"loss/value_avg", NULL, "Loss of the critic"},
    {"val/explained_variance", NULL, "Explained variance of the critic"},
    {"objective/kl_coef", NULL, "KL coefficient"},
    {"alarm/divergence", "alarm/length", "Alarm levels: divergence, length (dashed)"},
    {"alarm/spread", "alarm/saturation", "Alarm levels: spread, saturation (dashed)"},
    {"objective/cost", NULL, "Cost of an answer"},
    {"safe/lambda", NULL, "Multiplier of the cost"},
    {"safe/unsafe", NULL, "Share of answers that cost"},
    {"macro/length", NULL, "Tokens of a macro action"},
    {"labels", "trained_right", "Labels that are right: all, those trained on (dashed)"},
    {"share", NULL, "Share of pairs that people were asked about"},
    {"changed", "turned_right", "Answers that were not the label; turned rightly (dashed)"},
    {"grad_norm", NULL, "Gradient norm"},
    {"learning_rate", NULL, "Learning rate"}};
#define N_CURVES ((int)(sizeof curves / sizeof *curves))

typedef struct series {
    double *x, *y, *lo, *hi;
    int n;
} series;

static void series_free(series *s) {
    tn_free(s->x);
    tn_free(s->y);
    tn_free(s->lo);
    tn_free(s->hi);
    *s = (series){0};
}

/* Rows that have both numbers. False: no memory. */
static bool gather(const json_t *rows, const char *xkey, const char *ykey, series *s) {
    size_t n = json_array_size(rows);
    *s = (series){.x = tn_calloc(n, sizeof(double)), .y = tn_calloc(n, sizeof(double))};
    if (!s->x || !s->y) return false;
    for (size_t i = 0; i < n && i < 100000000; i++) {
        const json_t *row = json_array_get(rows, i);
        double x = tn_report_real(row, xkey), y = tn_report_real(row, ykey);
        if (!isfinite(x) || !isfinite(y)) continue;
        s->x[s->n] = x;
        s->y[s->n++] = y;
    }
    return true;
}

static bool all_zero(const series *s) {
    for (int i = 0; i < s->n; i++)
        if (s->y[i] != 0) return false;
    return true;
}

/* A constant that says nothing: never changes over more than one row, in any run. */
static bool varies(const series *s) {
    for (int i = 1; i < s->n; i++)
        if (s->y[i] != s->y[0]) return true;
    return s->n == 1;
}

static bool same_verb(const tn_report_run *a, const tn_report_run *b) {
    return !strcmp(a->verb, b->verb);
}

/* The metric of every run of the verb of run `first`: training line, second line, evaluation. */
static tn_status panel(const tn_report *r, int first, const curve *c, tn_str *o, tn_err *e) {
    size_t room = (size_t)r->n_runs * 3;
    series *s = tn_calloc(room, sizeof *s);
    tn_svg_line *line = tn_calloc(room, sizeof *line);
    tn_status st = s && line ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
    char eval_key[128];
    int n = 0;
    bool shown = false, held = false;
    snprintf(eval_key, sizeof eval_key, "eval_%s", c->key);
    for (int i = first; i < r->n_runs && st == TN_OK; i++) {
        if (!same_verb(&r->run[i], &r->run[first])) continue;
        const char *const key[3] = {c->key, c->second, eval_key};
        for (int k = 0; k < 3 && st == TN_OK; k++) {
            if (!key[k]) continue;
            if (!gather(r->run[i].metrics, "step", key[k], &s[n])) {
                st = tn_fail(e, TN_NOMEM, "out of memory");
                n++; /* freed below */
                break;
            }
            if (s[n].n == 0) {
                series_free(&s[n]);
                continue;
            }
            shown |= k < 2 && !all_zero(&s[n]) && varies(&s[n]);
            held |= k == 2;
            line[n] = (tn_svg_line){.x = s[n].x, .y = s[n].y, .n = s[n].n,
                                    .colour = r->run[i].colour, .dashed = k == 1, .dots = k == 2};
            n++;
        }
    }
    if (st == TN_OK && (shown || held)) {
        tn_str_addf(o, "<figure><figcaption>%s%s</figcaption>", c->title,
                    held ? " <small>● held out</small>" : "");
        tn_svg_lines(o, &(tn_svg_plot){.label = c->title, .line = line, .n = n, .width = 340,
                                       .height = 180});
        tn_str_addz(o, "</figure>");
    }
    for (int i = 0; s && i < n; i++) series_free(&s[i]);
    tn_free(s);
    tn_free(line);
    return st;
}

static void key(const tn_report_run *u, tn_str *o) {
    tn_str_addf(o, " <span class=\"key c%d\"><s></s>", u->colour & 7);
    tn_html_textz(o, u->name);
    tn_str_addz(o, "</span>");
}

static void legend(const tn_report *r, int first, bool with_truth, tn_str *o) {
    for (int i = first; i < r->n_runs; i++)
        if (with_truth ? r->run[i].truth != NULL : same_verb(&r->run[i], &r->run[first])) key(&r->run[i], o);
}

static const char *verb_title(const char *verb) {
    static const char *const known[][2] = {
        {"pretrain", "Pretraining"},  {"sft", "Supervised fine-tuning"},
        {"reward", "Reward model"},   {"rlthf", "Targeted human feedback, by round"}, {"dpo", "Preference optimisation"},
        {"ppo", "PPO"},               {"grpo", "GRPO"},
        {"rloo", "RLOO"},             {"", "Training"}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(known[i][0], verb)) return known[i][1];
    return verb;
}

tn_status tn_report_curves(const tn_report *r, tn_str *o, tn_err *e) {
    if (!r->n_runs) return TN_OK;
    tn_str_addz(o, "<section><h2>Training</h2>");
    for (int i = 0; i < r->n_runs; i++) {
        bool seen = false;
        for (int j = 0; j < i; j++) seen |= same_verb(&r->run[j], &r->run[i]);
        if (seen) continue;
        tn_str_addz(o, "<h3>");
        tn_html_textz(o, verb_title(r->run[i].verb));
        legend(r, i, false, o);
        tn_str_addz(o, "</h3>");
        size_t before = o->len;
        tn_str_addz(o, "<div class=\"many\">");
        size_t empty = o->len;
        for (int c = 0; c < N_CURVES; c++) TN_TRY(panel(r, i, &curves[c], o, e));
        if (o->len == empty) {
            o->len = before;
            o->s[o->len] = 0;
            tn_str_addz(o, "<p class=\"quiet\">No metrics.jsonl with figures in this folder: nothing to draw.</p>");
        } else tn_str_addz(o, "</div>");
        for (int j = i; j < r->n_runs; j++)
            if (same_verb(&r->run[j], &r->run[i])) tn_report_alarms(&r->run[j], o);
    }
    tn_str_addz(o, "<p class=\"quiet\">By optimiser step (PPO: iteration). Strong lines are running means, "
                   "faint ones every step.</p></section>");
    return TN_OK;
}

/* ---------------- learned against true reward ---------------- */

static bool interval_of(const json_t *rows, series *s) {
    series lo = {0}, hi = {0};
    bool ok = gather(rows, "step", "lo", &lo) && gather(rows, "step", "hi", &hi);
    if (ok && lo.n == s->n && hi.n == s->n && s->n > 0) {
        s->lo = lo.y, s->hi = hi.y;
        lo.y = hi.y = NULL;
    }
    series_free(&lo);
    series_free(&hi);
    return ok;
}

static void root(series *s) {
    for (int i = 0; i < s->n; i++) s->x[i] = s->x[i] > 0 ? sqrt(s->x[i]) : 0;
}

/* True reward (solid, with its interval) and proxy (dashed) against `xkey`. */
static tn_status against(const tn_report *r, const char *xkey, const char *title,
                         const char *x_label, tn_str *o, tn_err *e) {
    series *s = tn_calloc((size_t)r->n_runs * 2, sizeof *s);
    tn_svg_line *line = tn_calloc((size_t)r->n_runs * 2, sizeof *line);
    bool ok = s && line, is_root = !strcmp(xkey, "kl");
    int n = 0, drawn = 0;
    for (int i = 0; ok && i < r->n_runs; i++) {
        const json_t *rows = r->run[i].truth;
        if (!rows) continue;
        for (int k = 0; ok && k < 2; k++, n++) {
            ok = gather(rows, xkey, k ? "proxy" : "true_reward", &s[n]);
            if (ok && !k && !is_root) ok = interval_of(rows, &s[n]);
            if (ok && is_root) root(&s[n]);
            line[n] = (tn_svg_line){.x = s[n].x, .y = s[n].y, .lo = s[n].lo, .hi = s[n].hi,
                                    .n = s[n].n, .colour = r->run[i].colour, .dashed = k};
            drawn += s[n].n;
        }
    }
    if (ok && drawn) {
        tn_str_addf(o, "<figure><figcaption>%s</figcaption>", title);
        tn_svg_lines(o, &(tn_svg_plot){.label = title, .x_label = x_label, .line = line, .n = n,
                                       .width = 440, .height = 260});
        tn_str_addz(o, "</figure>");
    }
    for (int i = 0; s && i < n; i++) series_free(&s[i]);
    tn_free(s);
    tn_free(line);
    return ok ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
}

/* Where true reward was best and where it ended, in words. */
static void peak(const tn_report_run *u, tn_str *o) {
    series t, p;
    bool ok = gather(u->truth, "step", "true_reward", &t);
    ok &= gather(u->truth, "step", "proxy", &p);
    if (ok && t.n > 1) {
        int best = 0;
        for (int i = 1; i < t.n; i++)
            if (t.y[i] > t.y[best]) best = i;
        tn_str_addf(o, "<p><b class=\"c%d\">", u->colour & 7);
        tn_html_textz(o, u->name);
        tn_str_addz(o, "</b>: true reward is highest at step ");
        tn_html_num(o, t.x[best], 0);
        tn_str_addz(o, " (");
        tn_html_num(o, t.y[best], 2);
        tn_str_addz(o, ") and ends at ");
        tn_html_num(o, t.y[t.n - 1], 2);
        if (p.n > 1) {
            tn_str_addz(o, "; the learned reward goes from ");
            tn_html_num(o, p.y[0], 2);
            tn_str_addz(o, " to ");
            tn_html_num(o, p.y[p.n - 1], 2);
        }
        tn_str_addz(o, ".</p>");
    }
    series_free(&t);
    series_free(&p);
}

/* Reward against KL in nats an answer, of a run that learnt from its own samples; GRPO and RLOO log the KL of a token.
 * Empty for other runs. False: no memory. */
static bool gather_frontier(const tn_report_run *u, series *s) {
    *s = (series){0};
    if (!u->metrics) return true;
    if (!strcmp(u->verb, "ppo")) return gather(u->metrics, "objective/kl", "objective/raw_scores", s);
    if (strcmp(u->verb, "grpo") != 0 && strcmp(u->verb, "rloo") != 0) return true;
    size_t n = json_array_size(u->metrics);
    *s = (series){.x = tn_calloc(n, sizeof(double)), .y = tn_calloc(n, sizeof(double))};
    if (!s->x || !s->y) return false;
    for (size_t i = 0; i < n && i < 100000000; i++) {
        const json_t *row = json_array_get(u->metrics, i);
        double x = tn_report_real(row, "kl") * tn_report_real(row, "completions/mean_length");
        double y = tn_report_real(row, "reward");
        if (isfinite(x) && isfinite(y)) s->x[s->n] = x, s->y[s->n++] = y;
    }
    return true;
}

/* Without judged checkpoints: what the reward that was learnt from costs in KL. */
static tn_status frontier(const tn_report *r, tn_str *o, tn_err *e) {
    series *s = tn_calloc((size_t)r->n_runs, sizeof *s);
    tn_svg_line *line = tn_calloc((size_t)r->n_runs, sizeof *line);
    tn_str keys = TN_STR_INIT;
    bool ok = s && line;
    int n = 0;
    for (int i = 0; ok && i < r->n_runs; i++) {
        ok = gather_frontier(&r->run[i], &s[i]);
        if (!ok || !s[i].n) continue;
        root(&s[i]);
        key(&r->run[i], &keys);
        line[n++] = (tn_svg_line){.x = s[i].x, .y = s[i].y, .n = s[i].n, .dots = true,
                                  .colour = r->run[i].colour};
    }
    if (ok && n) {
        tn_str_addf(o, "<section><h2>Reward and distance</h2><p>%s</p><div class=\"wide\"><figure><figcaption>Reward of "
                       "each sampling, as the run saw it</figcaption>", keys.s ? keys.s : "");
        tn_svg_lines(o, &(tn_svg_plot){.label = "Reward against the root of KL",
                                       .x_label = "√KL to the reference, nats an answer", .line = line, .n = n,
                                       .width = 440, .height = 240});
        tn_str_addz(o, "</figure></div><p class=\"quiet\">Checkpoints were not judged (no true_reward.jsonl "
                       "beside the metrics), so this page cannot say where a learned reward stopped "
                       "telling the truth during training.</p></section>");
    }
    for (int i = 0; s && i < r->n_runs; i++) series_free(&s[i]);
    tn_free(s);
    tn_free(line);
    ok = ok && !keys.oom;
    tn_str_free(&keys);
    return ok ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
}

tn_status tn_report_optimisation(const tn_report *r, tn_str *o, tn_err *e) {
    bool any = false;
    for (int i = 0; i < r->n_runs; i++) any |= json_array_size(r->run[i].truth) > 0;
    if (!any) return frontier(r, o, e);
    tn_str_addz(o, "<section><h2>Learned against true reward</h2><p class=\"lead\">A learned reward is a "
                   "proxy. Pushed far enough from the reference it keeps rising while what it stands for falls.</p><p>");
    legend(r, 0, true, o);
    tn_str_addz(o, " <span class=\"quiet\">solid: true reward, dashed: learned reward</span></p><div class=\"wide\">");
    TN_TRY(against(r, "step", "By iteration", "iteration", o, e));
    TN_TRY(against(r, "kl", "By distance from the reference", "√KL, nats an answer", o, e));
    tn_str_addz(o, "</div>");
    for (int i = 0; i < r->n_runs; i++)
        if (r->run[i].truth) peak(&r->run[i], o);
    tn_str_addz(o, "</section>");
    return TN_OK;
}
