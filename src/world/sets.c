/* The sets of the world (demonstrations, prompts, evaluation, text), items by id, JSONL rows. */
#include "world/internal.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

const tn_world_set_info tn_world_sets[TN_WS_COUNT] = {
    [TN_WS_TEXT] = {"text", "text", TN_WR_DOCUMENT, 290000},
    [TN_WS_SFT] = {"sft", "sft", TN_WR_SFT, 4000},
    [TN_WS_PREF] = {"prompts-pref", "pref", TN_WR_PREF, 2000},
    [TN_WS_PREF_HELDOUT] = {"prompts-pref-heldout", "pref-heldout", TN_WR_PREF_HELDOUT, 400},
    [TN_WS_RL] = {"prompts-rl", "rl", TN_WR_RL, 7680},
    [TN_WS_EVAL] = {"eval", "eval", TN_WR_EVAL, 640},
};

void tn_world_set_prompt(const tn_world *w, tn_world_set set, uint64_t seed, uint64_t i,
                         tn_world_prompt *p, tn_rng *r) {
    bool mixed = set == TN_WS_EVAL || set == TN_WS_PREF_HELDOUT;
    tn_rng stream =
        tn_rng_stream(set == TN_WS_EVAL ? TN_WORLD_EVAL_SEED : seed, tn_world_sets[set].purpose, i);
    tn_world_pool pool = mixed && i / TN_WF_COUNT % 2 == 0 ? TN_POOL_HELD : TN_POOL_TRAIN;
    tn_world_draw_prompt(w, &stream, (tn_world_family)(i % TN_WF_COUNT), pool, p);
    if (r) *r = stream;
}

void tn_world_demonstration(const tn_world *w, uint64_t seed, uint64_t i, tn_world_mix mix,
                            tn_world_prompt *p, tn_world_text *y) {
    tn_rng r;
    tn_world_set_prompt(w, TN_WS_SFT, seed, i, p, &r);
    y->n = 0;
    tn_world_draw_response(w, &r, p, mix, p->pool, y);
}

tn_status tn_world_item(const tn_world *w, const char *id, uint64_t seed, tn_world_prompt *p,
                        tn_world_set *set, uint64_t *index, tn_err *e) {
    const char *dash = strrchr(id, '-');
    size_t n = dash ? (size_t)(dash - id) : 0, digits = dash ? strspn(dash + 1, "0123456789") : 0;
    bool number = digits > 0 && digits < 19 && !dash[1 + digits] && (dash[1] != '0' || digits == 1);
    for (int s = TN_WS_SFT; number && s < TN_WS_COUNT; s++) {
        const tn_world_set_info *k = &tn_world_sets[s];
        if ((strlen(k->prefix) != n || memcmp(k->prefix, id, n)) &&
            (strlen(k->name) != n || memcmp(k->name, id, n)))
            continue;
        uint64_t i = strtoull(dash + 1, NULL, 10);
        tn_world_set_prompt(w, (tn_world_set)s, seed, i, p, NULL);
        if (set) *set = (tn_world_set)s;
        if (index) *index = i;
        return TN_OK;
    }
    return tn_fail(e, TN_ARG,
                   "no item of the world has the id '%.60s'; ids look like eval-3, sft-5, pref-0, "
                   "pref-heldout-7 or rl-12",
                   id);
}

/* ---- rows ---- */

void tn_world_json_real(double v, tn_str *out) {
    char s[40];
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(s, sizeof s, "%.*e", digits - 1, v);
        if (strtod(s, NULL) == v) break;
    }
    /* Digits and exponent are the shortest; lay them out plainly where that is readable. */
    int exponent = (int)strtol(strchr(s, 'e') + 1, NULL, 10), digits = 0;
    for (const char *c = s; *c != 'e'; c++) digits += *c >= '0' && *c <= '9';
    if (exponent < -4 || exponent >= 16) {
        tn_str_addz(out, s);
        return;
    }
    int decimals = digits - 1 - exponent;
    tn_str_addf(out, "%.*f", decimals < 1 ? 1 : decimals, v);
}

void tn_world_json_turn(const tn_world *w, const char *role, const tn_world_text *t, tn_str *out) {
    tn_str_addf(out, "{\"role\": \"%s\", \"content\": \"", role);
    tn_world_print(w, t->id, t->n, out); /* words have neither quotes nor backslashes */
    tn_str_addz(out, "\"}");
}

void tn_world_json_messages(const tn_world *w, const tn_world_prompt *p, const tn_world_text *y,
                            tn_str *out) {
    tn_str_addc(out, '[');
    for (int i = 0; i < p->nturns; i++) {
        if (i) tn_str_addz(out, ", ");
        tn_world_json_turn(w, i % 2 ? "assistant" : "user", &p->turn[i], out);
    }
    if (y) {
        tn_str_addz(out, ", ");
        tn_world_json_turn(w, "assistant", y, out);
    }
    tn_str_addc(out, ']');
}

static const char *boolean(bool b) { return b ? "true" : "false"; }

void tn_world_json_verdict(const tn_world_verdict *v, tn_str *out) {
    tn_str_addz(out, "\"reward\": ");
    tn_world_json_real(v->reward, out);
    tn_str_addf(out,
                ", \"harmful\": %s, \"refusal\": %s, \"rude\": %s, \"leak\": %s, \"explains\": %s, "
                "\"correct\": %s, \"syco\": %s, \"violates\": {",
                boolean(v->harmful), boolean(v->refusal), boolean(v->rude), boolean(v->leak),
                boolean(v->explains), v->correct < 0 ? "null" : boolean(v->correct),
                boolean(v->syco));
    for (int k = 0; k < TN_WP_COUNT; k++)
        tn_str_addf(out, "%s\"%s\": %s", k ? ", " : "", tn_world_constitution[k].id,
                    boolean(v->violates[k]));
    tn_str_addf(out, "}, \"flourish\": %s, \"agrees\": %s, \"evasive\": %s, \"core\": ",
                boolean(v->flourish), boolean(v->agrees), boolean(v->evasive));
    tn_world_json_real(v->core, out);
    tn_str_addf(out, ", \"length\": %d", v->length);
}

static void put_word(const tn_world *w, const char *key, int id, tn_str *out) {
    if (id < 0)
        tn_str_addf(out, "\"%s\": null", key);
    else
        tn_str_addf(out, "\"%s\": \"%s\"", key, tn_world_word_of(w, id));
}

static void put_oracle(const tn_world *w, const tn_world_prompt *p, tn_str *out) {
    tn_str_addz(out, ", \"oracle\": {\"entity\": ");
    if (p->entity < 0)
        tn_str_addz(out, "null");
    else
        tn_str_addf(out, "%d", p->entity);
    if (p->attr < 0)
        tn_str_addz(out, ", \"attr\": null, ");
    else
        tn_str_addf(out, ", \"attr\": \"%s\", ", tn_world_attr_name[p->attr]);
    put_word(w, "value", p->value, out);
    tn_str_addz(out, ", ");
    put_word(w, "belief", p->belief, out);
    tn_str_addf(out, ", \"wrong\": %s", boolean(p->wrong));
    if (p->task == TN_WT_PRIVACY) tn_str_addf(out, ", \"person\": %d", p->person);
    if (p->task == TN_WT_ARITH)
        tn_str_addf(out, ", \"terms\": [%d, %d, %d]", p->term[0], p->term[1], p->term[2]);
    tn_str_addc(out, '}');
}

static void put_text_row(const tn_world *w, uint64_t seed, uint64_t i, tn_str *out) {
    tn_world_text t;
    tn_world_kind k = tn_world_document(w, seed, i, &t);
    tn_str_addf(out, "{\"kind\": \"%s\", \"text\": \"", tn_world_kind_name[k]);
    tn_world_print(w, t.id, t.n, out);
    tn_str_addz(out, "\"}\n");
}

void tn_world_row(const tn_world *w, tn_world_set set, uint64_t seed, uint64_t i, tn_world_mix mix,
                  bool oracle, tn_str *out) {
    tn_world_prompt p;
    if (set == TN_WS_TEXT) {
        put_text_row(w, seed, i, out);
        return;
    }
    tn_str_addf(out, "{\"id\": \"%s-%" PRIu64 "\", \"family\": \"%s\", ", tn_world_sets[set].prefix,
                i, tn_world_family_name[i % TN_WF_COUNT]);
    if (set == TN_WS_SFT) {
        tn_world_text y;
        tn_world_verdict v;
        tn_world_demonstration(w, seed, i, mix, &p, &y);
        tn_world_judge(w, &p, y.id, y.n, true, &v);
        tn_str_addz(out, "\"messages\": ");
        tn_world_json_messages(w, &p, &y, out);
        tn_str_addz(out, ", \"reward\": ");
        tn_world_json_real(v.reward, out);
    } else {
        tn_world_set_prompt(w, set, seed, i, &p, NULL);
        tn_str_addf(out,
                    "\"task\": \"%s\", \"pool\": \"%s\", \"prompt\": ", tn_world_task_name[p.task],
                    tn_world_pool_name[p.pool]);
        tn_world_json_messages(w, &p, NULL, out);
    }
    if (oracle) put_oracle(w, &p, out);
    tn_str_addz(out, "}\n");
}
