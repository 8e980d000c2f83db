/* What came of the rounds, and what the labels are worth, in pictures. */
#include "eval/compare.h"
#include "report/cai.h"
#include <math.h>
#include <string.h>

enum { R = TN_CAI_ROUNDS };
typedef struct series { double x[R], y[R], lo[R], hi[R]; int n; } series;

static void add(series *s, int round, tn_stat_rate r) {
    if (!r.n || s->n == R) return;
    s->x[s->n] = round, s->y[s->n] = r.rate, s->lo[s->n] = r.lo, s->hi[s->n] = r.hi;
    s->n++;
}

static void draw(tn_str *o, const char *title, const series *s, const char *const *name, int n, const char *x_label) {
    tn_svg_line line[8];
    tn_svg_plot p = {.label = title, .x_label = x_label, .line = line, .width = 440, .height = 230};
    for (int k = 0; k < n; k++)
        if (s[k].n) line[p.n++] = (tn_svg_line){.x = s[k].x, .y = s[k].y, .lo = s[k].lo, .hi = s[k].hi, .n = s[k].n, .colour = k};
    if (!p.n) return;
    tn_str_addf(o, "<figure><figcaption>%s", title);
    for (int k = 0; k < n; k++)
        if (s[k].n && name[k][0]) tn_str_addf(o, " <span class=\"key c%d\"><s></s>%s</span>", k, name[k]);
    tn_str_addz(o, "</figcaption>");
    tn_svg_lines(o, &p);
    tn_str_addz(o, "</figure>");
}

/* ---- answers by round ---- */

static tn_stat_rate share(const json_t *rows, const char *key) {
    int k = 0, n = 0;
    const json_t *row;
    size_t i;
    json_array_foreach(rows, i, row) {
        const json_t *v = json_object_get(row, key);
        if (json_is_boolean(v)) n++, k += json_is_true(v);
    }
    return tn_stat_wilson(k, n, tn_stat_z95);
}

static void judged(const tn_cai *c, tn_str *o) {
    static const char *const key[] = {"harmful", "leak", "evasive", "explains", "rude"};
    static const char *const name[] = {"harmful", "leaks", "evasive", "explains", "rude"};
    series s[5] = {0};
    for (int r = 0; r < R; r++)
        for (int k = 0; k < 5; k++) add(&s[k], r, share(c->judged[r], key[k]));
    draw(o, "Answers by round, as the judge sees them", s, name, 5, "round");
}

/* Answer after round r of a chain; NULL: it has not so many rounds. */
static const char *answer_of(const json_t *chain, int r, bool *ended) {
    const json_t *x = json_array_get(json_object_get(chain, "rounds"), (size_t)r);
    if (r == 0) *ended = json_is_true(json_object_get(x, "ended"));
    else if (!json_is_string(json_object_get(x, "fault"))) *ended = true;
    return json_string_value(json_object_get(x, "answer"));
}

static tn_status grades(const tn_cai *c, tn_str *o, tn_err *e) {
    static const char *const name[] = {"complies", "declines", "evades"};
    series s[TN_GRADES] = {0}, d[2] = {0};
    tn_compare cmp = {0};
    int rounds = 0;
    for (size_t i = 0; i < c->n_chain; i++) {
        int n = (int)json_array_size(json_object_get(c->chain[i].row, "rounds"));
        if (n > rounds) rounds = n < R ? n : R;
    }
    if (!rounds) return TN_OK;
    tn_status st = tn_compare_room(&cmp, rounds, (int)c->n_chain, e);
    for (int r = 0; st == TN_OK && r < rounds; r++) {
        cmp.stage[r].name = "";
        for (size_t i = 0; i < c->n_chain; i++) cmp.stage[r].text[i] = answer_of(c->chain[i].row, r, &cmp.stage[r].ended[i]);
    }
    if (st == TN_OK) st = tn_compare_measure(&cmp, e);
    for (int r = 0; st == TN_OK && r < rounds; r++) {
        const tn_stage *x = &cmp.stage[r];
        int of[TN_GRADES] = {0};
        for (int i = 0; i < cmp.n; i++)
            if (x->text[i]) of[x->grade[i]]++;
        for (int g = 0; g < TN_GRADES; g++) add(&s[g], r, tn_stat_wilson(of[g], x->said.n, tn_stat_z95));
        if (isfinite(x->diversity.distinct[1])) {
            int n = d[0].n++;
            d[0].x[n] = r;
            d[0].y[n] = d[0].lo[n] = d[0].hi[n] = x->diversity.distinct[1];
        }
        add(&d[1], r, x->diversity.closer);
    }
    draw(o, "Answers by round, by rules on their text", s, name, TN_GRADES, "round");
    draw(o, "Different word pairs (distinct-2) by round", d, (const char *const[]){""}, 1, "round");
    tn_compare_free(&cmp);
    return st;
}

/* ---- labels ---- */

typedef struct bins { int n[TN_CAI_BINS], right[TN_CAI_BINS], margin[TN_CAI_BINS]; double p[TN_CAI_BINS]; int judged, labels; } bins;

static void count(const tn_cai *c, bins *b) {
    for (size_t t = 0; t < c->n_talk; t++) {
        const json_t *row;
        size_t i;
        json_array_foreach(c->talk[t].labels, i, row) {
            double p = tn_report_real(row, "p");
            if (!(p >= 0 && p <= 1)) continue;
            int m = (int)(fabs(p - 0.5) * 2 * TN_CAI_BINS), k = (int)(p * TN_CAI_BINS);
            json_int_t truth = json_integer_value(json_object_get(row, "truth"));
            b->margin[m < TN_CAI_BINS ? m : TN_CAI_BINS - 1]++;
            b->labels++;
            if (truth != 1 && truth != 2) continue;
            k = k < TN_CAI_BINS ? k : TN_CAI_BINS - 1;
            b->n[k]++, b->p[k] += p, b->right[k] += truth == 1, b->judged++;
        }
    }
}

static void calibration(const bins *b, tn_str *o) {
    series s = {0};
    static const double ends[] = {0, 1};
    for (int k = 0; k < TN_CAI_BINS; k++) {
        if (!b->n[k]) continue;
        tn_stat_rate r = tn_stat_wilson(b->right[k], b->n[k], tn_stat_z95);
        s.x[s.n] = b->p[k] / b->n[k], s.y[s.n] = r.rate, s.lo[s.n] = r.lo, s.hi[s.n] = r.hi;
        s.n++;
    }
    tn_svg_line line[3] = {{.x = ends, .y = ends, .n = 2, .colour = -1, .dashed = true},
                           {.x = s.x, .y = s.y, .lo = s.lo, .hi = s.hi, .n = s.n, .colour = 0},
                           {.x = s.x, .y = s.y, .n = s.n, .colour = 0, .dots = true}};
    tn_svg_plot p = {.label = "Calibration of the labels", .x_label = "soft label p", .line = line, .n = 3, .width = 440, .height = 230};
    if (!s.n) return;
    tn_str_addf(o, "<figure><figcaption>Answer 1 is better in truth, by its soft label <small>%d labels; dashed: calibrated</small></figcaption>", b->judged);
    tn_svg_lines(o, &p);
    tn_str_addz(o, "</figure>");
}

static void margins(const bins *b, tn_str *o) {
    tn_svg_bars p = {.label = "Margins of the labels", .x_label = "distance of the label from 1/2", .count = b->margin, .n = TN_CAI_BINS, .lo = 0, .hi = 0.5,
                     .width = 440, .height = 230};
    if (!b->labels) return;
    tn_str_addf(o, "<figure><figcaption>How sure the labels are, |p − ½| <small>%d labels</small></figcaption>", b->labels);
    tn_svg_bars_draw(o, &p);
    tn_str_addz(o, "</figure>");
}

tn_status tn_cai_plots(const tn_cai *c, tn_str *o, tn_err *e) {
    bins b = {0};
    count(c, &b);
    if (!c->n_chain && !b.labels) return TN_OK;
    tn_str_addz(o, "<section><h2>In one look</h2><div class=\"wide\">");
    judged(c, o);
    TN_TRY(grades(c, o, e));
    calibration(&b, o);
    margins(&b, o);
    tn_str_addz(o, "</div><p class=\"quiet\">Bands are 95&nbsp;% intervals.");
    bool any = false;
    for (int r = 0; r < R; r++) any = any || c->judged[r];
    if (c->n_chain && !any) tn_str_addz(o, " No judge has read the rounds: judged-R.jsonl beside record.jsonl (of <code>tenet world judge</code> or your own) would be drawn here.");
    if (b.labels && !b.judged) tn_str_addz(o, " Nobody says which answers are better in truth (\"truth\" or \"human\" in the rows, or truth.jsonl with a \"rank\"), so there is no calibration.");
    tn_str_addz(o, "</p></section>");
    return TN_OK;
}
