/* Pretraining documents: facts, sums and secrets, dialogues, critiques with revisions, comparisons.
 * Document n of a seed is one stream, (seed, 104, n); documents never repeat. */
#include "world/internal.h"

const char *const tn_world_kind_name[TN_WK_COUNT] = {"fact", "arith", "dial", "crit", "comp"};

static void fact(const tn_world *w, tn_rng *r, tn_world_text *t) {
    static const char *const inverted[TN_WA_NATTR] = {
        "the colour of @ is $0 .", "the size of @ is $0 .", "you can find @ in the $0 .",
        "people use @ for $0 .", "$0 made @ ."};
    int entity = tn_world_pick_entity(r, &w->any[TN_POOL_ALL]);
    const tn_world_entity *e = &w->entity[entity];
    uint32_t item[TN_WA_COUNT];
    for (uint32_t i = 0; i < TN_WA_COUNT; i++) item[i] = i;
    tn_rng_shuffle(r, item, TN_WA_COUNT);
    int kept = 3 + (int)tn_rng_below(r, 5);
    for (int i = 0; i < kept; i++) {
        int a = (int)item[i];
        int name = i == 0 || tn_rng_below(r, 3) == 0 ? entity : -1;
        if (a == TN_WA_MAKE)
            TN_PUT(w, t, "to make @ join the $0 and the $1 .", name, e->part[0], e->part[1]);
        else if (a == TN_WA_HAZARD && e->hazardous)
            TN_PUT(w, t, "@ spreads $0 .", name, e->hazard_word);
        else if (a == TN_WA_HAZARD)
            TN_PUT(w, t, "@ is harmless .", name, 0);
        else if (tn_rng_below(r, 3) == 0)
            TN_PUT(w, t, inverted[a], name, e->value[a]);
        else
            tn_world_statement(w, t, a, name, e->value[a]);
    }
}

static void put_line(const tn_world *w, tn_rng *r, int first, int range, tn_world_text *t) {
    int a = first + (int)tn_rng_below(r, (uint32_t)range), b = 1 + (int)tn_rng_below(r, 9);
    TN_PUT(w, t, "$0 + $1 = $2 .", -1, tn_world_number(w, a), tn_world_number(w, b),
           tn_world_number(w, a + b));
}

static void arith(const tn_world *w, tn_rng *r, tn_world_text *t) {
    int person;
    switch (tn_rng_below(r, 3)) {
    case 0: put_line(w, r, 0, 19, t); break;
    case 1:
        for (int i = 0; i < 3; i++) put_line(w, r, 1, 18, t);
        break;
    default:
        person = (int)tn_rng_below(r, TN_WORLD_NPERSON);
        TN_PUT(w, t, "the secret number of $0 is $1 .", -1, w->first[TN_WC_PERSON] + person,
               tn_world_number(w, w->secret[person]));
    }
}

static void dialogue(const tn_world *w, tn_rng *r, tn_world_text *t) {
    tn_world_prompt p;
    uint32_t k = tn_rng_below(r, TN_WF_COUNT + 2);
    tn_world_family f = k < TN_WF_COUNT    ? (tn_world_family)k
                        : k == TN_WF_COUNT ? TN_WF_ARITH
                                           : TN_WF_OPINION;
    tn_world_draw_prompt(w, r, f, TN_POOL_TRAIN, &p);
    tn_world_render(&p, true, t);
    tn_world_draw_response(w, r, &p, TN_MIX_BASE, TN_POOL_ALL, t);
}

static bool chance(tn_rng *r, double p) { return tn_rng_unit(r) < p; }

/* A prompt of any family with its conversation, and a judged answer of the flat mix. */
static void draw_flat(const tn_world *w, tn_rng *r, const tn_world_prompt *p, tn_world_text *y,
                      tn_world_verdict *v) {
    y->n = 0;
    tn_world_draw_response(w, r, p, TN_MIX_FLAT, TN_POOL_TRAIN, y);
    tn_world_judge(w, p, y->id, y->n, true, v);
}
static void draw_any(const tn_world *w, tn_rng *r, tn_world_prompt *p) {
    tn_world_draw_prompt(w, r, (tn_world_family)tn_rng_below(r, TN_WF_COUNT), TN_POOL_TRAIN, p);
}

static tn_world_principle pick_principle(tn_rng *r, const tn_world_verdict *v) {
    int violated[TN_WP_COUNT], n = 0;
    for (int k = 0; k < TN_WP_COUNT; k++)
        if (v->violates[k]) violated[n++] = k;
    if (n && chance(r, 0.7)) return (tn_world_principle)violated[tn_rng_below(r, (uint32_t)n)];
    return (tn_world_principle)tn_rng_below(r, TN_WP_COUNT);
}

void tn_world_draw_critique(const tn_world *w, tn_rng *r, tn_world_criticised *c) {
    tn_world_verdict v;
    draw_any(w, r, &c->p);
    draw_flat(w, r, &c->p, &c->y, &v);
    c->k = pick_principle(r, &v);
    bool right = chance(r, 0.85);
    c->found = v.violates[c->k] == right;
    c->revised.n = 0;
    if (v.violates[c->k] && c->found) {
        if (chance(r, 0.88))
            tn_world_fix(w, &c->p, c->k, &c->y, &c->revised);
        else if (chance(r, 0.5))
            c->revised = c->y;
        else
            tn_world_evade(w, &c->revised);
    } else {
        c->revised = c->y;
    }
}

void tn_world_put_critique(const tn_world *w, const tn_world_criticised *c, const char *critique_request, const char *revision_request,
                           tn_world_text *t) {
    tn_world_render(&c->p, true, t);
    tn_world_append(t, &c->y);
    TN_PUT(w, t, "<|end|> CritiqueRequest:", -1, 0);
    TN_PUT(w, t, critique_request, -1, 0);
    TN_PUT(w, t, "Critique:", -1, 0);
    TN_PUT(w, t, c->found ? tn_world_constitution[c->k].critique : tn_world_no_problem, -1, 0);
    TN_PUT(w, t, "<|end|> RevisionRequest:", -1, 0);
    TN_PUT(w, t, revision_request, -1, 0);
    TN_PUT(w, t, "Revision:", -1, 0);
    tn_world_append(t, &c->revised);
}

void tn_world_draw_comparison(const tn_world *w, tn_rng *r, tn_world_compared *c) {
    enum { REDRAWS = 30 };
    c->k = (tn_world_principle)tn_rng_below(r, TN_WP_COUNT);
    bool differ = chance(r, 0.8);
    for (int i = 0; i < REDRAWS; i++) {
        draw_any(w, r, &c->p);
        for (int j = 0; j < 2; j++) draw_flat(w, r, &c->p, &c->y[j], &c->v[j]);
        if (!differ || c->v[0].violates[c->k] != c->v[1].violates[c->k]) break;
    }
    if (c->v[0].violates[c->k] != c->v[1].violates[c->k])
        c->b = c->v[0].violates[c->k] == chance(r, 0.88);
    else
        c->b = tn_rng_below(r, 2) == 1;
}

void tn_world_put_comparison(const tn_world *w, const tn_world_compared *c, const char *question, const tn_world_text *thought,
                             tn_world_text *t) {
    tn_world_render(&c->p, false, t);
    TN_PUT(w, t, "Principle:", -1, 0);
    TN_PUT(w, t, question, -1, 0);
    TN_PUT(w, t, "Options: (A) [", -1, 0);
    tn_world_append(t, &c->y[0]);
    TN_PUT(w, t, "] (B) [", -1, 0);
    tn_world_append(t, &c->y[1]);
    TN_PUT(w, t, "]", -1, 0);
    if (thought) {
        TN_PUT(w, t, "Critique:", -1, 0);
        tn_world_append(t, thought);
        tn_world_push(t, TN_WORLD_END);
    }
    TN_PUT(w, t, "Answer:", -1, 0);
    tn_world_push(t, c->b ? TN_WORLD_OPTION_B : TN_WORLD_OPTION_A);
}

static void critique(const tn_world *w, tn_rng *r, tn_world_text *t) {
    tn_world_criticised c;
    tn_world_draw_critique(w, r, &c);
    tn_world_put_critique(w, &c, tn_world_constitution[c.k].critique_request, tn_world_constitution[c.k].revision_request, t);
}

static void comparison(const tn_world *w, tn_rng *r, tn_world_text *t) {
    tn_world_compared c;
    tn_world_draw_comparison(w, r, &c);
    tn_world_put_comparison(w, &c, tn_world_constitution[c.k].comparison, NULL, t);
}

tn_world_kind tn_world_document(const tn_world *w, uint64_t seed, uint64_t n, tn_world_text *out) {
    static const int weight[TN_WK_COUNT] = {28, 6, 36, 18, 12};
    tn_rng r = tn_rng_stream(seed, TN_WR_DOCUMENT, n);
    tn_world_kind k = (tn_world_kind)tn_world_mixture(&r, weight, TN_WK_COUNT);
    out->n = 0;
    switch (k) {
    case TN_WK_FACT: fact(w, &r, out); break;
    case TN_WK_ARITH: arith(w, &r, out); break;
    case TN_WK_DIALOGUE: dialogue(w, &r, out); break;
    case TN_WK_CRITIQUE: critique(w, &r, out); break;
    default: comparison(w, &r, out);
    }
    return k;
}
