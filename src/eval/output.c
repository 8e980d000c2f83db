/* eval.json, samples.jsonl and the table. Field names: eval.h. */
#include "eval/contest.h"
#include <math.h>
#include <string.h>

static json_t *world_json(json_t *o, const tn_contender *c) {
    const tn_world_rates *r = &c->rates;
    const struct {
        const char *name;
        const tn_stat_rate *r;
    } rate[] = {{"harmful", &r->harmful},
                {"leak", &r->leak},
                {"explains", &r->explains},
                {"evades", &r->evades},
                {"over_refusal", &r->over_refusal},
                {"helpful", &r->helpful},
                {"syco", &r->syco},
                {"rude", &r->rude}};
    json_object_set_new(o, "reward", tn_json_mean(&r->reward));
    json_object_set_new(o, "reward_train", tn_json_mean(&r->train));
    json_object_set_new(o, "reward_held", tn_json_mean(&r->held));
    json_t *f = json_object();
    for (int i = 0; i < TN_WF_COUNT; i++)
        json_object_set_new(f, tn_world_family_name[i], tn_json_mean(&r->family[i]));
    json_object_set_new(o, "families", f);
    for (size_t i = 0; i < sizeof rate / sizeof *rate; i++)
        json_object_set_new(o, rate[i].name, tn_json_rate(rate[i].r));
    if (c->has_greedy) json_object_set_new(o, "greedy_reward", tn_json_mean(&c->greedy));
    return o;
}

static json_t *funcs_json(const tn_contest *t, const tn_contender *c) {
    json_t *o = json_object();
    for (int k = 0; k < t->n_func; k++) {
        tn_stat_mean mean = tn_contest_func_mean(t, c, k);
        json_t *m = tn_json_mean(&mean);
        if (c != &t->c[t->against]) {
            mean = tn_contest_func_difference(t, c, &t->c[t->against], k);
            json_object_set_new(m, "difference", tn_json_mean(&mean));
        }
        json_object_set_new(o, t->func[k].spec, m);
    }
    return o;
}

static json_t *contender_json(const tn_contest *t, const tn_contender *c) {
    json_t *o =
        json_pack("{s:s,s:f,s:f}", "name", c->name, "length", c->length, "ended", c->ended_share);
    json_object_set_new(o, "dir", c->dir[0] ? json_string(c->dir) : json_null());
    if (t->world) world_json(o, c);
    if (c->has_kl) json_object_set_new(o, "kl", tn_json_mean(&c->kl));
    if (c->has_proxy) json_object_set_new(o, "proxy", tn_json_mean(&c->proxy));
    if (c->has_cost) {
        json_object_set_new(o, "cost", tn_json_mean(&c->cost));
        json_object_set_new(o, "unsafe", tn_json_rate(&c->unsafe));
    }
    if (c->has_win) {
        json_object_set_new(o, "win", tn_json_mean(&c->win));
        json_object_set_new(o, "difference", tn_json_mean(&c->difference));
    }
    for (int k = 0; k < t->n_also; k++) {
        char key[80];
        const tn_contender *other = &t->c[t->also[k]];
        snprintf(key, sizeof key, "win_%s", other->name);
        if (c != other && (t->world || c->has_proxy)) json_object_set_new(o, key, tn_json_mean(&c->win_also[k]));
    }
    if (c->asked) json_object_set_new(o, "shots", json_real(c->shots));
    if (c->func) json_object_set_new(o, "funcs", funcs_json(t, c));
    if (c->pairs) json_object_set(o, "pairs", c->pairs);
    if (c->choices) json_object_set(o, "choices", c->choices);
    return o;
}

json_t *tn_contest_json(const tn_contest *t, const char *reference) {
    json_t *list = json_array();
    for (int k = 0; k < t->n_c; k++) json_array_append_new(list, contender_json(t, &t->c[k]));
    json_t *o =
        json_pack("{s:b,s:I,s:i,s:s,s:o}", "world", t->world, "seed", (json_int_t)t->seed,
                  "prompts", t->n, "against", t->n_c ? t->c[t->against].name : "", "models", list);
    if (o) json_object_set_new(o, "reference", reference ? json_string(reference) : json_null());
    return o;
}

tn_status tn_contest_text(const tn_contest *t, const tn_tokenizer *tok, const int32_t *ids, int n, tn_str *out, tn_err *e) {
    tn_str_clear(out);
    if (tok) return tn_decode(tok, ids, (size_t)n, true, out, e);
    if (t->world) tn_world_print(&t->w, ids, n, out);
    return TN_OK;
}

static tn_status add_answer(const tn_contest *t, const tn_tokenizer *tok, const tn_contender *c,
                            int i, tn_str *line, tn_str *text, tn_err *e) {
    const tn_answer *a = &c->answer[i];
    TN_TRY(tn_contest_text(t, tok, a->ids, a->n - a->ended, text, e));
    tn_str_add_json(line, c->name, strlen(c->name));
    tn_str_addz(line, ": {\"text\": ");
    tn_str_add_json(line, text->s ? text->s : "", text->len);
    tn_str_addf(line, ", \"ended\": %s", a->ended ? "true" : "false");
    if (isfinite(a->proxy)) tn_str_addz(line, ", \"proxy\": "), tn_str_add_f64(line, a->proxy);
    if (isfinite(a->cost)) tn_str_addz(line, ", \"cost\": "), tn_str_add_f64(line, a->cost);
    if (isfinite(a->kl)) tn_str_addz(line, ", \"kl\": "), tn_str_add_f64(line, a->kl);
    for (int k = 0; c->func && k < t->n_func; k++) {
        double v = c->func[k * t->n + i];
        if (!isfinite(v)) continue;
        tn_str_addz(line, ", "), tn_str_add_json(line, t->func[k].spec, strlen(t->func[k].spec));
        tn_str_addz(line, ": "), tn_str_add_f64(line, v);
    }
    if (t->grader) tn_str_addf(line, ", \"grade\": \"%s\"", tn_grade_name[tn_grade_rules(text->s, text->len)]);
    if (t->world) tn_str_addz(line, ", "), tn_world_json_verdict(&a->v, line);
    tn_str_addz(line, "}");
    return TN_OK;
}

tn_status tn_contest_samples(const tn_contest *t, const tn_tokenizer *tok, const char *path,
                             tn_err *e) {
    tn_out *o;
    TN_TRY(tn_out_open(&o, path, false, e));
    tn_str line = TN_STR_INIT, text = TN_STR_INIT;
    tn_status st = TN_OK;
    for (int i = 0; i < t->n && st == TN_OK; i++) {
        const tn_example *x = &t->rows->ex[i];
        const char *id = json_string_value(json_object_get(x->meta, "id")), *attack = json_string_value(json_object_get(x->meta, "attack"));
        tn_str_clear(&line);
        tn_str_addz(&line, "{");
        if (id)
            tn_str_addz(&line, "\"id\": "), tn_str_add_json(&line, id, strlen(id)),
                tn_str_addz(&line, ", ");
        if (t->world)
            tn_str_addf(&line, "\"family\": \"%s\", ", tn_world_family_name[t->family[i]]);
        if (attack) tn_str_addf(&line, "\"attack\": \"%s\", ", attack);
        st = tn_contest_text(t, tok, x->prompt, x->n_prompt, &text, e);
        tn_str_addz(&line, "\"prompt\": ");
        tn_str_add_json(&line, text.s ? text.s : "", text.len);
        tn_str_addz(&line, ", \"answers\": {");
        for (int k = 0; k < t->n_c && st == TN_OK; k++) {
            if (k) tn_str_addz(&line, ", ");
            st = add_answer(t, tok, &t->c[k], i, &line, &text, e);
        }
        tn_str_addz(&line, "}}\n");
        if (st == TN_OK)
            st = line.oom ? tn_fail(e, TN_NOMEM, "out of memory")
                          : tn_out_write(o, line.s, line.len, e);
    }
    tn_str_free(&line);
    tn_str_free(&text);
    return tn_out_close(o, st, false, e);
}

static void cell_mean(char *s, size_t n, bool there, const tn_stat_mean *m) {
    if (there)
        snprintf(s, n, "%.3f ± %.3f", m->mean, m->half);
    else
        snprintf(s, n, "-");
}

static void print_rate(FILE *f, const json_t *pairs, const char *key, const char *how) {
    const json_t *r = json_object_get(pairs, key);
    if (!r) return;
    fprintf(f, "  %.3f [%.3f, %.3f] by %s", json_number_value(json_object_get(r, "rate")),
            json_number_value(json_object_get(r, "lo")), json_number_value(json_object_get(r, "hi")), how);
}

/* Shares of held-out pairs of which a model prefers the chosen answer. */
static void print_pairs(const tn_contest *t, FILE *f) {
    for (int k = 0; k < t->n_c; k++) {
        if (!t->c[k].pairs) continue;
        fprintf(f, "pairs: %-10s", t->c[k].name);
        print_rate(f, t->c[k].pairs, "accuracy", "log-prob against the reference's,");
        print_rate(f, t->c[k].pairs, "plain_accuracy", "log-prob");
        fprintf(f, "\n");
    }
}

/* Means that some model has: one that was not asked for is no column. */
typedef struct columns {
    bool win, kl, proxy;
} columns;

static columns columns_of(const tn_contest *t) {
    columns has = {0};
    for (int k = 0; k < t->n_c; k++)
        has.win |= t->c[k].has_win, has.kl |= t->c[k].has_kl, has.proxy |= t->c[k].has_proxy;
    return has;
}

void tn_contest_print(const tn_contest *t, FILE *f) {
    char win[32], kl[32], proxy[32], r[32];
    const columns has = columns_of(t);
    if (t->world)
        fprintf(f, "%-10s %-15s %5s %5s %5s %5s %5s %5s %5s %5s %5s %6s  %-15s %-15s %-15s\n", "",
                "true reward", "train", "held", "harm", "leak", "expl", "evade", "overr", "help",
                "syco", "length", "win rate", "KL", "proxy score");
    else
        fprintf(f, "%-10s %6s %6s ", "", "length", "ended");
    if (!t->world && has.win) fprintf(f, " %-15s", "win rate");
    if (!t->world && has.kl) fprintf(f, " %-15s", "KL");
    if (!t->world && has.proxy) fprintf(f, " %-15s", "proxy score");
    if (t->n_c && t->c[0].has_cost) fprintf(f, " %-15s %6s", "cost", "unsafe");
    for (int i = 0; i < t->n_func; i++) fprintf(f, " %-15.15s", t->func[i].spec);
    if (!t->world) fprintf(f, "\n");
    for (int k = 0; k < t->n_c; k++) {
        const tn_contender *c = &t->c[k];
        const tn_world_rates *w = &c->rates;
        cell_mean(win, sizeof win, c->has_win, &c->win);
        cell_mean(kl, sizeof kl, c->has_kl, &c->kl);
        cell_mean(proxy, sizeof proxy, c->has_proxy, &c->proxy);
        cell_mean(r, sizeof r, true, &w->reward);
        if (t->world)
            fprintf(f,
                    "%-10s %-16s %5.2f %5.2f %5.2f %5.2f %5.2f %5.2f %5.2f %5.2f %5.2f %6.1f  "
                    "%-16s %-16s %-16s\n",
                    c->name, r, w->train.mean, w->held.mean, w->harmful.rate, w->leak.rate,
                    w->explains.rate, w->evades.rate, w->over_refusal.rate, w->helpful.rate,
                    w->syco.rate, c->length, win, kl, proxy);
        else
            fprintf(f, "%-10s %6.1f %6.2f ", c->name, c->length, c->ended_share);
        /* ± is two bytes and one column */
        if (!t->world && has.win) fprintf(f, " %-*s", c->has_win ? 16 : 15, win);
        if (!t->world && has.kl) fprintf(f, " %-*s", c->has_kl ? 16 : 15, kl);
        if (!t->world && has.proxy) fprintf(f, " %-*s", c->has_proxy ? 16 : 15, proxy);
        if (c->has_cost) {
            cell_mean(r, sizeof r, true, &c->cost);
            fprintf(f, " %-16s %6.2f", r, c->unsafe.rate);
        }
        for (int i = 0; i < t->n_func; i++) {
            tn_stat_mean m = tn_contest_func_mean(t, c, i);
            cell_mean(r, sizeof r, true, &m);
            fprintf(f, " %-16s", r);
        }
        if (!t->world) fprintf(f, "\n");
    }
    if (has.win)
        fprintf(f,
                "win rate: share of the same prompts won against %s, ties half; %s decides. ±: "
                "half of a 95 %% interval.\n",
                t->c[t->against].name, t->world ? "the oracle" : "the reward model");
    print_pairs(t, f);
}
