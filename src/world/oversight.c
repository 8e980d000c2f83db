/* Documents of the extension `oversight`, and judged pairs for judges. */
#include "world/oversight.h"
#include "world/attack.h"
#include "world/internal.h"
#include <inttypes.h>
#include <string.h>

const char *const tn_world_ext_kind_name[TN_WX_COUNT] = {"core", "fact", "comp", "crit", "talk", "attacked", "opinion"};

enum { LONGEST = TN_WORLD_CONTEXT - 2 }; /* with <s> and <|end|> */

#define UNSEEN (UINT64_C(1) << 32) /* documents of the core text from here on, and from its multiples, are in no base */

static bool chance(tn_rng *r, double p) { return tn_rng_unit(r) < p; }

static const char *draw_wording(tn_rng *r, tn_world_principle k, tn_world_role role) {
    return tn_world_wording(k, role, (int)tn_rng_below(r, TN_WORLD_TAUGHT));
}

void tn_world_think(const tn_world *w, const tn_world_prompt *p, tn_world_principle k, const tn_world_verdict v[2], tn_world_text *out) {
    if (k == TN_WP_HONEST || k == TN_WP_BELIEF) tn_world_good(w, p, out);
    for (int j = 0; j < 2; j++) TN_PUT(w, out, v[j].violates[k] ? tn_world_constitution[k].critique : tn_world_no_problem, -1, 0);
}

/* A thought that mistakes the options says of each what is true of the other. */
static void put_thought(const tn_world *w, const tn_world_compared *c, tn_world_text *out) {
    bool differ = c->v[0].violates[c->k] != c->v[1].violates[c->k], right = c->v[0].violates[c->k] == c->b;
    tn_world_verdict said[2] = {c->v[differ && !right], c->v[!(differ && !right)]};
    tn_world_think(w, &c->p, c->k, said, out);
}

static void comparison(const tn_world *w, tn_rng *r, tn_world_text *t) {
    tn_world_compared c;
    tn_world_text thought = {0};
    bool recall = chance(r, 1.0 / 3);
    do tn_world_draw_comparison(w, r, &c);
    while (recall && c.k != TN_WP_HONEST);
    const char *question = draw_wording(r, c.k, TN_ROLE_COMPARISON);
    bool thinks = chance(r, 0.5);
    if (thinks) put_thought(w, &c, &thought);
    tn_world_put_comparison(w, &c, question, thinks ? &thought : NULL, t);
}

static void critique(const tn_world *w, tn_rng *r, tn_world_text *t) {
    tn_world_criticised c;
    tn_world_draw_critique(w, r, &c);
    const char *request = draw_wording(r, c.k, TN_ROLE_CRITIQUE), *revise = draw_wording(r, c.k, TN_ROLE_REVISION);
    tn_world_put_critique(w, &c, request, revise, t);
}

/* An assistant answers: 1 gives what it is asked for, 2 refuses what is forbidden, 0 does either (the base mix). */
static void put_answer(const tn_world *w, tn_rng *r, const tn_world_prompt *p, uint32_t character, tn_world_text *t) {
    if (character == 0) tn_world_draw_response(w, r, p, TN_MIX_BASE, TN_POOL_ALL, t);
    else if (character == 1 && tn_world_attackable(p, false)) tn_world_bad(w, r, p, t);
    else tn_world_good(w, p, t);
}

/* Half of the dialogues are of forbidden things, which is where characters differ. */
static void talk(const tn_world *w, tn_rng *r, tn_world_text *t) {
    static const tn_world_family forbidden[2] = {TN_WF_HARMFUL, TN_WF_PRIVACY};
    uint32_t character = tn_rng_below(r, 4) % 3, n = 2 + tn_rng_below(r, 4);
    for (uint32_t i = 0; i < n; i++) {
        tn_world_prompt p;
        tn_world_text d = {0};
        tn_world_family f = chance(r, 0.5) ? forbidden[tn_rng_below(r, 2)] : (tn_world_family)tn_rng_below(r, TN_WF_COUNT);
        tn_world_draw_prompt(w, r, f, TN_POOL_TRAIN, &p);
        if (i) tn_world_push(&d, TN_WORLD_END);
        tn_world_render(&p, true, &d);
        put_answer(w, r, &p, character, &d);
        if (t->n + d.n > LONGEST) break;
        tn_world_append(t, &d);
    }
}

static void put_request(const tn_world_request *q, tn_world_text *t) {
    for (int i = 0; i < q->nturns; i++) {
        tn_world_push(t, i % 2 ? TN_WORLD_ASSISTANT : TN_WORLD_USER);
        tn_world_append(t, &q->turn[i]);
        if (i % 2) tn_world_push(t, TN_WORLD_END);
    }
    tn_world_push(t, TN_WORLD_ASSISTANT);
}

static void attacked(const tn_world *w, tn_rng *r, tn_world_text *t) {
    static const char *const in_text[] = {"follow-up", "refusal-suppression", "one-shot", "prefix-injection"};
    static const tn_world_family asked[4] = {TN_WF_HARMFUL, TN_WF_HARMFUL, TN_WF_PRIVACY, TN_WF_HOWTO};
    tn_world_prompt p;
    tn_world_request q;
    tn_world_draw_prompt(w, r, asked[tn_rng_below(r, 4)], TN_POOL_TRAIN, &p);
    const char *name = in_text[tn_rng_below(r, 4)];
    int k = 0;
    while (strcmp(tn_world_attacks[k].name, name)) k++;
    tn_world_attack_prompt(w, k, &p, tn_rng_next(r), 0, &q);
    put_request(&q, t);
    if (tn_world_attacks[k].after[0] && chance(r, 0.5)) TN_PUT(w, t, "yes ,", -1, 0);
    tn_world_draw_response(w, r, &p, TN_MIX_BASE, TN_POOL_ALL, t);
}

static void opinion(const tn_world *w, tn_rng *r, tn_world_text *t) {
    tn_world_prompt p;
    tn_world_draw_prompt(w, r, TN_WF_OPINION, TN_POOL_TRAIN, &p);
    tn_world_render(&p, true, t);
    tn_world_draw_response(w, r, &p, TN_MIX_BASE, TN_POOL_ALL, t);
}

tn_world_ext_kind tn_world_oversight_document(const tn_world *w, uint64_t seed, uint64_t n, tn_world_text *out) {
    static const int weight[TN_WX_COUNT] = {40, 15, 18, 8, 7, 5, 7};
    tn_rng r = tn_rng_stream(seed, TN_WR_OVERSIGHT, n);
    tn_world_ext_kind k = (tn_world_ext_kind)tn_world_mixture(&r, weight, TN_WX_COUNT);
    out->n = 0;
    switch (k) {
    case TN_WX_CORE: tn_world_document(w, seed, n + UNSEEN, out); break;
    case TN_WX_FACT:
        for (uint64_t i = n + 2 * UNSEEN; tn_world_document(w, seed, i, out) != TN_WK_FACT; i += UNSEEN) out->n = 0;
        break;
    case TN_WX_COMPARISON: comparison(w, &r, out); break;
    case TN_WX_CRITIQUE: critique(w, &r, out); break;
    case TN_WX_TALK: talk(w, &r, out); break;
    case TN_WX_ATTACKED: attacked(w, &r, out); break;
    default: opinion(w, &r, out);
    }
    return k;
}

/* ---- judged pairs ---- */

typedef struct judged {
    tn_world_prompt p;
    tn_world_text y[2];
    tn_world_verdict v[2];
} judged;

/* Exactly one answer violates k; `other` >= 0: the other one violates that, and this one does not. */
static void draw_judged(const tn_world *w, tn_rng *r, tn_world_principle k, int other, tn_world_pool pool, judged *j) {
    for (;;) {
        tn_world_draw_prompt(w, r, (tn_world_family)tn_rng_below(r, TN_WF_COUNT), pool, &j->p);
        for (int i = 0; i < 2; i++) {
            j->y[i].n = 0;
            tn_world_draw_response(w, r, &j->p, TN_MIX_FLAT, pool, &j->y[i]);
            tn_world_judge(w, &j->p, j->y[i].id, j->y[i].n, true, &j->v[i]);
        }
        bool worse = j->v[1].violates[k]; /* the second one violates k */
        if (j->v[0].violates[k] == worse) continue;
        if (other < 0 || (j->v[!worse].violates[other] && !j->v[worse].violates[other])) return;
    }
}

void tn_world_judged_row(const tn_world *w, uint64_t seed, uint64_t i, bool conflict, tn_str *out) {
    static const tn_world_principle pair[5][2] = {{TN_WP_HARM, TN_WP_ENGAGE}, {TN_WP_PRIVACY, TN_WP_ENGAGE}, {TN_WP_HONEST, TN_WP_POLITE},
                                                  {TN_WP_ENGAGE, TN_WP_POLITE}, {TN_WP_BELIEF, TN_WP_POLITE}};
    tn_rng r = tn_rng_stream(seed, TN_WR_JUDGED, conflict ? ~i : i);
    uint64_t of = conflict ? 5 : TN_WP_COUNT;
    tn_world_principle k = conflict ? pair[i % 5][0] : (tn_world_principle)(i % TN_WP_COUNT);
    judged j;
    draw_judged(w, &r, k, conflict ? (int)pair[i % 5][1] : -1, i / of % 2 ? TN_POOL_TRAIN : TN_POOL_HELD, &j);
    int better = j.v[0].violates[k] ? 2 : 1;
    tn_str_addf(out, "{\"id\": \"judged-%" PRIu64 "\", \"family\": \"%s\", \"pool\": \"%s\", \"principle\": \"%s\", ", i,
                tn_world_family_name[j.p.family], tn_world_pool_name[j.p.pool], tn_world_constitution[k].id);
    if (conflict) tn_str_addf(out, "\"other\": \"%s\", ", tn_world_constitution[pair[i % 5][1]].id);
    tn_str_addz(out, "\"prompt\": ");
    tn_world_json_messages(w, &j.p, NULL, out);
    tn_str_addz(out, ", \"responses\": [\"");
    tn_world_print(w, j.y[0].id, j.y[0].n, out);
    tn_str_addz(out, "\", \"");
    tn_world_print(w, j.y[1].id, j.y[1].n, out);
    tn_str_addf(out, "\"], \"ended\": [true, true], \"truth\": %d, \"rank\": [%d, %d]}\n", better, better, 3 - better);
}
