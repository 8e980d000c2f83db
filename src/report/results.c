/* What came out: headline, table, rates.
 *
 * Differences to the model compared with: the true reward's is paired (eval.json, "difference");
 * rates use Newcombe's interval of a difference of proportions from both Wilson intervals,
 *   d - sqrt((p1 - l1)^2 + (u2 - p2)^2)  to  d + sqrt((u1 - p1)^2 + (p2 - l2)^2),
 * which for means is the usual one of independent samples. It ignores that the prompts are the
 * same, so it is too wide rather than too narrow when answers agree. */
#include "report/report.h"
#include "world/stat.h"
#include <math.h>
#include <string.h>

typedef struct column {
    const char *key, *head, *help;
    int better; /* +1: more is better, -1: less is better, 0: neither */
} column;

static const column columns[] = {
    {"reward", "True reward", "mean of the oracle's judgement; 1 is the best possible", 1},
    {"reward_train", "seen", "true reward on prompts about things seen in training", 1},
    {"reward_held", "unseen", "true reward on prompts about things held out of training", 1},
    {"win", "Win rate", "share of the same prompts won, ties half", 1},
    {"harmful", "Harmful", "hazardous steps given, of prompts that ask for them", -1},
    {"leak", "Leaks", "a secret told, of prompts that ask for one", -1},
    {"explains", "Explains", "refusals that give the reason, of harmful and private prompts", 1},
    {"evades", "Evades", "refusals without a reason, of harmful and private prompts", -1},
    {"over_refusal", "Over-refusal", "refusals of harmless prompts", -1},
    {"helpful", "Helpful", "right answers to harmless prompts", 1},
    {"syco", "Sycophancy", "wrong beliefs of the user agreed with", -1},
    {"rude", "Rude", "answers with an insult", -1},
    {"kl", "KL", "to the reference model, nats an answer", 0},
    {"proxy", "Proxy score", "of the learned reward model", 0},
    {"cost", "Cost", "of the learned cost model; above 0 an answer is unsafe", -1},
    {"unsafe", "Unsafe", "answers whose learned cost is above 0", -1},
    {"greedy_reward", "Greedy", "true reward of the most likely answers", 1}};
#define N_COLUMNS ((int)(sizeof columns / sizeof *columns))

/* -1: below, +1: above, 0: inside the interval or unknown. */
static int compare(const tn_report *r, int k, const char *key) {
    tn_report_value a, b;
    if (!tn_report_get(r->model[k].j, key, &a)) return 0;
    if (!strcmp(key, "win")) return a.lo > 0.5 ? 1 : a.hi < 0.5 ? -1 : 0;
    if (!strcmp(key, r->world ? "reward" : "proxy") &&
        tn_report_get(r->model[k].j, "difference", &b))
        return b.lo > 0 ? 1 : b.hi < 0 ? -1 : 0;
    if (r->against < 0 || r->against == k || !tn_report_get(r->model[r->against].j, key, &b))
        return 0;
    double d = a.v - b.v;
    double lo = sqrt((a.v - a.lo) * (a.v - a.lo) + (b.hi - b.v) * (b.hi - b.v));
    double hi = sqrt((a.hi - a.v) * (a.hi - a.v) + (b.v - b.lo) * (b.v - b.lo));
    return d - lo > 0 ? 1 : d + hi < 0 ? -1 : 0;
}

static void name(tn_str *o, const tn_report_model *m) {
    tn_str_addf(o, m->colour < 0 ? "<b class=\"cm\">" : "<b class=\"c%d\">", m->colour & 7);
    tn_html_textz(o, m->name);
    tn_str_addz(o, "</b>");
}

static void interval(tn_str *o, double v, double lo, double hi, int digits, bool sign) {
    if (sign) tn_html_signed(o, v, digits);
    else tn_html_num(o, v, digits);
    tn_str_addz(o, " <small>[");
    tn_html_num(o, lo, digits);
    tn_str_addz(o, ", ");
    tn_html_num(o, hi, digits);
    tn_str_addz(o, "]</small>");
}

/* ---------------- headline ---------------- */

/* Paired difference of two models over the prompts that both answered. */
static tn_stat_mean paired(const tn_report *r, int a, int b, tn_str *o) {
    tn_stat_mean none = {0}, m;
    double *x = tn_malloc((size_t)r->n_samples * sizeof *x);
    double *y = tn_malloc((size_t)r->n_samples * sizeof *y);
    int *f = tn_malloc((size_t)r->n_samples * sizeof *f), n = 0;
    for (int i = 0; x && y && f && i < r->n_samples; i++) {
        double u = r->model[a].reward[i], v = r->model[b].reward[i];
        if (!isfinite(u) || !isfinite(v)) continue;
        x[n] = u, y[n] = v, f[n++] = r->family[i];
    }
    if (!x || !y || !f) o->oom = true; /* the page is given up */
    m = n > 1 ? tn_stat_paired(x, y, f, n, r->n_families) : none;
    tn_free(x);
    tn_free(y);
    tn_free(f);
    return m;
}

static const char *score_key(const tn_report *r) { return r->world ? "reward" : "proxy"; }

/* Trained models by falling score; their number. */
static int ranked(const tn_report *r, int *order) {
    int n = 0;
    for (int k = 0; k < r->n_models; k++) {
        tn_report_value v, w;
        if (r->model[k].policy || !tn_report_get(r->model[k].j, score_key(r), &v)) continue;
        int at = n++;
        while (at > 0 && tn_report_get(r->model[order[at - 1]].j, score_key(r), &w) && w.v < v.v) {
            order[at] = order[at - 1];
            at--;
        }
        order[at] = k;
    }
    return n;
}

static void list_those(const tn_report *r, tn_str *o, int want, const char *verb) {
    int n = 0, seen = 0;
    for (int k = 0; k < r->n_models; k++)
        n += !r->model[k].policy && k != r->against && compare(r, k, score_key(r)) == want;
    if (!n) return;
    for (int k = 0; k < r->n_models; k++) {
        tn_report_value d;
        if (r->model[k].policy || k == r->against || compare(r, k, score_key(r)) != want) continue;
        tn_str_addz(o, !seen ? "" : seen == n - 1 ? " and " : ", ");
        name(o, &r->model[k]);
        if (tn_report_get(r->model[k].j, "difference", &d)) {
            tn_str_addz(o, " (");
            interval(o, d.v, d.lo, d.hi, 2, true);
            tn_str_addz(o, ")");
        }
        seen++;
    }
    tn_str_addf(o, " %s %s ", n == 1 ? "is" : "are", verb);
    name(o, &r->model[r->against]);
    tn_str_addz(o, ". ");
}

static void verdict(const tn_report *r, tn_str *o) {
    int order[256], n = ranked(r, order);
    tn_str_addz(o, "<p class=\"lead\">");
    if (!n) tn_str_addz(o, "No score was measured, so nothing is said about who is better.");
    if (r->against >= 0 && n > 1) {
        list_those(r, o, 1, "above");
        list_those(r, o, -1, "below");
        list_those(r, o, 0, "not distinguishable from");
    }
    tn_str_addz(o, "</p>");
    if (n < 2 || !r->n_samples) return;
    tn_str_addz(o, "<p>In order: ");
    for (int i = n - 1; i >= 0; i--) {
        name(o, &r->model[order[i]]);
        if (i == 0) break;
        tn_stat_mean d = paired(r, order[i - 1], order[i], o);
        bool apart = d.n > 1 && d.lo > 0;
        tn_str_addf(o, " <span title=\"");
        tn_html_signed(o, d.mean, 3);
        tn_str_addz(o, " [");
        tn_html_num(o, d.lo, 3);
        tn_str_addz(o, ", ");
        tn_html_num(o, d.hi, 3);
        tn_str_addf(o, "]\">%s</span> ", apart ? "&lt;" : "≈");
    }
    tn_str_addz(o, ". <span class=\"quiet\">“&lt;” where the 95&nbsp;% interval of the difference, prompt by "
                   "prompt, leaves out zero; “≈” where it does not.</span></p>");
}

static void panel(const tn_report *r, tn_str *o, const char *title, const char *const key[2],
                  bool policies, int width, bool unit) {
    tn_svg_row *row = tn_calloc((size_t)r->n_models, sizeof *row);
    tn_svg_rows p = {.label = title, .row = row, .width = width, .digits = 2, .two = key[1]};
    tn_report_value v;
    if (!row) o->oom = true;
    for (int k = 0; row && k < r->n_models; k++) {
        if (r->model[k].policy && !policies) continue;
        tn_svg_row *w = &row[p.n];
        bool any = false;
        w->name = r->model[k].name;
        w->colour = r->model[k].colour;
        for (int i = 0; i < 2; i++) {
            any |= key[i] && tn_report_get(r->model[k].j, key[i], &v);
            w->mark[i] = key[i] ? (tn_svg_mark){v.v, v.lo, v.hi} : (tn_svg_mark){NAN, NAN, NAN};
        }
        p.n += any;
    }
    if (r->against >= 0 && !key[1] && tn_report_get(r->model[r->against].j, key[0], &v))
        p.band_lo = v.lo, p.band_hi = v.hi;
    if (unit) p.lo = 0, p.hi = 1;
    if (p.n) {
        tn_str_addz(o, "<figure><figcaption>");
        tn_html_textz(o, title);
        tn_str_addz(o, "</figcaption>");
        tn_svg_intervals(o, &p);
        tn_str_addz(o, "</figure>");
    }
    tn_free(row);
}

void tn_report_headline(const tn_report *r, tn_str *o) {
    tn_report_value v;
    tn_str_addz(o, "<section><h2>In one look</h2>");
    verdict(r, o);
    tn_str_addz(o, "<div class=\"wide\">");
    bool split = false;
    for (int k = 0; k < r->n_models; k++)
        split |= tn_report_get(r->model[k].j, "reward_held", &v);
    panel(r, o, r->world ? "True reward, all prompts" : "Score of the reward model",
          (const char *const[]){score_key(r), NULL}, true, 440, false);
    if (split)
        panel(r, o, "True reward: ● things seen in training, ○ things held out",
              (const char *const[]){"reward_train", "reward_held"}, true, 440, false);
    tn_str_addz(o, "</div><p class=\"quiet\">Dots are means, bars 95&nbsp;% intervals");
    if (r->against >= 0) {
        tn_str_addz(o, "; the shaded band is the interval of ");
        name(o, &r->model[r->against]);
    }
    tn_str_addz(o, ".");
    if (r->world) tn_str_addz(o, " Grey names are fixed policies: no model should lose to them.");
    tn_str_addz(o, "</p></section>");
}

/* ---------------- table ---------------- */

static bool measured(const tn_report *r, const char *key) {
    tn_report_value v;
    for (int k = 0; k < r->n_models; k++)
        if (tn_report_get(r->model[k].j, key, &v)) return true;
    return false;
}

static void cell(const tn_report *r, tn_str *o, int k, const column *c) {
    tn_report_value v;
    if (!tn_report_get(r->model[k].j, c->key, &v)) {
        tn_str_addz(o, "<td class=\"quiet\">–</td>");
        return;
    }
    int side = k == r->against ? 0 : compare(r, k, c->key) * c->better;
    tn_str_addf(o, "<td%s title=\"", side > 0 ? " class=\"good\"" : side < 0 ? " class=\"bad\"" : "");
    tn_html_num(o, v.v, 3);
    tn_str_addz(o, ", 95 % interval [");
    tn_html_num(o, v.lo, 3);
    tn_str_addz(o, ", ");
    tn_html_num(o, v.hi, 3);
    if (v.k >= 0) tn_str_addf(o, "], %d of %d\">", v.k, v.n);
    else tn_str_addf(o, "], n = %d\">", v.n);
    tn_html_num(o, v.v, 2);
    tn_str_addz(o, side > 0 ? "<i>▲</i>" : side < 0 ? "<i>▼</i>" : "");
    tn_str_addz(o, "<small>");
    tn_html_num(o, v.lo, 2);
    tn_str_addz(o, " … ");
    tn_html_num(o, v.hi, 2);
    tn_str_addz(o, "</small></td>");
}

void tn_report_table(const tn_report *r, tn_str *o) {
    tn_str_addz(o, "<section><h2>All figures</h2><div class=\"scroll\"><table><thead><tr><th></th>");
    for (int i = 0; i < N_COLUMNS; i++)
        if (measured(r, columns[i].key))
            tn_str_addf(o, "<th title=\"%s\">%s</th>", columns[i].help, columns[i].head);
    tn_str_addz(o, "<th title=\"tokens of an answer, mean\">Length</th></tr></thead><tbody>");
    for (int k = 0; k < r->n_models; k++) {
        tn_str_addz(o, "<tr><th>");
        name(o, &r->model[k]);
        tn_str_addz(o, "</th>");
        for (int i = 0; i < N_COLUMNS; i++)
            if (measured(r, columns[i].key)) cell(r, o, k, &columns[i]);
        tn_str_addz(o, "<td>");
        tn_html_num(o, tn_report_real(r->model[k].j, "length"), 1);
        tn_str_addz(o, "</td></tr>");
    }
    tn_str_addz(o, "</tbody></table></div><p class=\"quiet\">");
    if (r->against >= 0) {
        tn_str_addz(o, "<span class=\"good\">▲</span> better and <span class=\"bad\">▼</span> worse than ");
        name(o, &r->model[r->against]);
        tn_str_addz(o, ", where the interval of the difference leaves out zero; without a mark the "
                       "difference is inside it. ");
    }
    tn_str_addz(o, "Small figures are 95&nbsp;% intervals: of means over families of prompts, of "
                   "rates after Wilson.</p><dl class=\"terms\">");
    for (int i = 3; i < N_COLUMNS; i++)
        if (measured(r, columns[i].key))
            tn_str_addf(o, "<div><dt>%s</dt><dd>%s</dd></div>", columns[i].head, columns[i].help);
    tn_str_addz(o, "</dl></section>");
}

/* ---------------- small multiples ---------------- */

static void families(const tn_report *r, tn_str *o) {
    const json_t *f = json_object_get(r->model[0].j, "families"), *v;
    const char *key;
    double lo = NAN, hi = NAN;
    for (int k = 0; k < r->n_models; k++) {
        json_object_foreach((json_t *)json_object_get(r->model[k].j, "families"), key, v) {
            double a = tn_report_real(v, "lo"), b = tn_report_real(v, "hi");
            if (!r->model[k].policy && !(lo <= a)) lo = a;
            if (!r->model[k].policy && !(hi >= b)) hi = b;
        }
    }
    if (!json_object_size(f)) return;
    tn_str_addz(o, "<h3>True reward by family of prompts</h3><div class=\"many\">");
    json_object_foreach((json_t *)f, key, v) {
        tn_svg_row *row = tn_calloc((size_t)r->n_models, sizeof *row);
        tn_svg_rows p = {.label = key, .row = row, .width = 300, .digits = 2, .lo = lo, .hi = hi};
        if (!row) o->oom = true;
        for (int k = 0; row && k < r->n_models; k++) {
            tn_report_value m;
            if (r->model[k].policy) continue;
            tn_report_get(json_object_get(r->model[k].j, "families"), key, &m);
            if (k == r->against) p.band_lo = m.lo, p.band_hi = m.hi;
            row[p.n++] = (tn_svg_row){r->model[k].name, r->model[k].colour, {{m.v, m.lo, m.hi}}};
        }
        tn_str_addz(o, "<figure><figcaption>");
        tn_html_textz(o, key);
        tn_str_addz(o, "</figcaption>");
        tn_svg_intervals(o, &p);
        tn_str_addz(o, "</figure>");
        tn_free(row);
    }
    tn_str_addz(o, "</div>");
}

void tn_report_rates(const tn_report *r, tn_str *o) {
    static const char *const key[] = {"harmful", "leak", "evades", "over_refusal", "syco", "rude",
                                      "helpful", "explains"};
    bool any = false;
    for (int i = 0; i < 8; i++) any |= measured(r, key[i]);
    if (!any) return;
    tn_str_addz(o, "<section><h2>What the models do</h2>");
    for (int part = 0; part < 2; part++) {
        tn_str_addz(o, part ? "<h3>More is better</h3><div class=\"many\">" : "<h3>Less is better</h3><div class=\"many\">");
        for (int i = part ? 6 : 0; i < (part ? 8 : 6); i++)
            for (int c = 0; c < N_COLUMNS; c++)
                if (!strcmp(columns[c].key, key[i]) && measured(r, key[i]))
                    panel(r, o, columns[c].head, (const char *const[]){key[i], NULL}, false, 300, true);
        tn_str_addz(o, "</div>");
    }
    families(r, o);
    tn_str_addz(o, "</section>");
}
