/* Responses: right, wrong, evasive, rambling, rude and flattering ones, and the quality mixes of
 * which demonstrations and pretraining dialogues are drawn. */
#include "world/internal.h"

const char *const tn_world_mix_name[TN_MIX_COUNT] = {"base", "sft", "helpful", "flat"};

typedef enum { GOOD, BAD, RAMBLE, BADRAMBLE, RUDE, BADRUDE, EVADE, FLOURISH } kind;
enum { HELP, HARM, OPINION, NGROUP, MAX_KINDS = 6 };

/* Kinds of a group in the order of its weights. */
static const kind group_kinds[NGROUP][MAX_KINDS] = {
    [HELP] = {GOOD, BAD, RAMBLE, RUDE, EVADE, FLOURISH},
    [HARM] = {BAD, BADRAMBLE, BADRUDE, EVADE, GOOD},
    [OPINION] = {GOOD, BAD, EVADE, RUDE, RAMBLE},
};
static const int weights[TN_MIX_COUNT][NGROUP][MAX_KINDS] = {
    [TN_MIX_BASE] = {{40, 15, 15, 10, 12, 8}, {45, 8, 7, 22, 18}, {35, 45, 8, 6, 6}},
    [TN_MIX_SFT] = {{62, 8, 12, 4, 8, 6}, {30, 4, 2, 34, 30}, {50, 38, 4, 2, 6}},
    [TN_MIX_HELPFUL] = {{76, 4, 8, 4, 2, 6}, {86, 4, 4, 4, 2}, {50, 42, 2, 2, 4}},
    [TN_MIX_FLAT] = {{30, 25, 12, 12, 13, 8}, {30, 6, 6, 28, 30}, {35, 40, 9, 8, 8}},
};

static const char *const rude_sentence[2] = {"what a silly question .", "only a fool would ask ."};
static const char *const closer[3] = {"i hope this helps .", "have a nice day .",
                                      "please ask me again ."};
static const char parts_sentence[] = "to make @ join the $0 and the $1 .";

static void put_sum(const tn_world *w, const int *term, int s, int t, tn_world_text *out) {
    int n[5] = {term[0], term[1], s, term[2], t};
    for (int i = 0; i < 5; i++) n[i] = tn_world_number(w, n[i]);
    tn_world_put(w, out, "$0 + $1 = $2 . $2 + $3 = $4 . the sum is $4 .", -1, n);
}

void tn_world_good(const tn_world *w, const tn_world_prompt *p, tn_world_text *out) {
    const tn_world_entity *e = p->entity >= 0 ? &w->entity[p->entity] : NULL;
    switch (p->task) {
    case TN_WT_ATTR: tn_world_statement(w, out, p->attr, p->entity, p->value); break;
    case TN_WT_HOWTO: TN_PUT(w, out, parts_sentence, p->entity, e->part[0], e->part[1]); break;
    case TN_WT_POSTER: TN_PUT(w, out, "the poster is $0 .", -1, p->value); break;
    case TN_WT_HAZQ:
        if (e->hazardous)
            TN_PUT(w, out, "yes , @ spreads $0 .", p->entity, e->hazard_word);
        else
            TN_PUT(w, out, "no , @ is harmless .", p->entity, 0);
        break;
    case TN_WT_ARITH: {
        int s = p->term[0] + p->term[1];
        put_sum(w, p->term, s, s + p->term[2], out);
        break;
    }
    case TN_WT_OPINION:
        TN_PUT(w, out, p->wrong ? "no ," : "yes ,", -1, 0);
        tn_world_statement(w, out, p->attr, p->entity, p->value);
        break;
    case TN_WT_HARMFUL:
        TN_PUT(w, out, "sorry , i cannot help with that because @ spreads $0 .", p->entity,
               e->hazard_word);
        break;
    default: TN_PUT(w, out, "sorry , i cannot share that because it is private .", -1, 0);
    }
}

/* Two harmless parts that are not the true pair in any order. */
static void wrong_parts(const tn_world *w, tn_rng *r, const tn_world_entity *e, int *part) {
    bool same;
    do {
        part[0] = tn_world_pick(w, r, TN_WC_SAFE_PART);
        part[1] = tn_world_other(w, r, TN_WC_SAFE_PART, part[0]);
        same = (part[0] == e->part[0] && part[1] == e->part[1]) ||
               (part[0] == e->part[1] && part[1] == e->part[0]);
    } while (same);
}

static int clamp_number(int n) {
    return n < 0 ? 0 : n >= TN_WORLD_NNUMBER ? TN_WORLD_NNUMBER - 1 : n;
}

static void wrong_sum(const tn_world *w, tn_rng *r, const int *term, tn_world_text *out) {
    static const int slip[4] = {-2, -1, 1, 2};
    uint32_t k = tn_rng_below(r, 3);
    int d1 = slip[tn_rng_below(r, 4)], d2 = slip[tn_rng_below(r, 4)];
    int s = clamp_number(term[0] + term[1] + (k != 1 ? d1 : 0));
    put_sum(w, term, s, clamp_number(s + term[2] + (k != 0 ? d2 : 0)), out);
}

static int other_value(const tn_world *w, tn_rng *r, const tn_world_prompt *p) {
    return tn_world_other(w, r, tn_world_attr_class((tn_world_attr)p->attr), p->value);
}

void tn_world_bad(const tn_world *w, tn_rng *r, const tn_world_prompt *p, tn_world_text *out) {
    const tn_world_entity *e = p->entity >= 0 ? &w->entity[p->entity] : NULL;
    int part[2];
    switch (p->task) {
    case TN_WT_ATTR: tn_world_statement(w, out, p->attr, p->entity, other_value(w, r, p)); break;
    case TN_WT_HOWTO:
        wrong_parts(w, r, e, part);
        tn_world_put(w, out, parts_sentence, p->entity, part);
        break;
    case TN_WT_POSTER: TN_PUT(w, out, "the poster is $0 .", -1, other_value(w, r, p)); break;
    case TN_WT_HAZQ:
        if (e->hazardous)
            TN_PUT(w, out, "no , @ is harmless .", p->entity, 0);
        else
            TN_PUT(w, out, "yes , @ spreads $0 .", p->entity, tn_world_pick(w, r, TN_WC_HAZARD));
        break;
    case TN_WT_ARITH: wrong_sum(w, r, p->term, out); break;
    case TN_WT_OPINION:
        TN_PUT(w, out, p->wrong ? "yes , you are right ," : "no ,", -1, 0);
        tn_world_statement(w, out, p->attr, p->entity, p->wrong ? p->belief : other_value(w, r, p));
        break;
    case TN_WT_HARMFUL: tn_world_put(w, out, parts_sentence, p->entity, e->part); break;
    default:
        TN_PUT(w, out, "the secret number of $0 is $1 .", -1, w->first[TN_WC_PERSON] + p->person,
               tn_world_number(w, w->secret[p->person]));
    }
}

void tn_world_evade(const tn_world *w, tn_world_text *out) {
    TN_PUT(w, out, "sorry , i cannot help with that .", -1, 0);
}

static void put_closer(const tn_world *w, tn_rng *r, tn_world_text *out) {
    TN_PUT(w, out, closer[tn_rng_below(r, 3)], -1, 0);
}

void tn_world_digress(const tn_world *w, tn_rng *r, tn_world_pool pool, tn_world_text *out) {
    if (tn_rng_below(r, 3) == 0) {
        put_closer(w, r, out);
        return;
    }
    int e = tn_world_pick_entity(r, &w->any[pool]), a = (int)tn_rng_below(r, TN_WA_NATTR);
    TN_PUT(w, out, "by the way ,", -1, 0);
    tn_world_statement(w, out, a, e, w->entity[e].value[a]);
}

void tn_world_draw_response(const tn_world *w, tn_rng *r, const tn_world_prompt *p,
                            tn_world_mix mix, tn_world_pool digressions, tn_world_text *out) {
    bool harm = p->task == TN_WT_HARMFUL || p->task == TN_WT_PRIVACY;
    int group = harm ? HARM : p->task == TN_WT_OPINION && p->wrong ? OPINION : HELP;
    kind k = group_kinds[group][tn_world_mixture(r, weights[mix][group], MAX_KINDS)];
    int digress = 0;
    if (k == EVADE) {
        tn_world_evade(w, out);
        return;
    }
    if (k == RUDE || k == BADRUDE) TN_PUT(w, out, rude_sentence[tn_rng_below(r, 2)], -1, 0);
    if (k == BAD || k == BADRAMBLE || k == BADRUDE)
        tn_world_bad(w, r, p, out);
    else
        tn_world_good(w, p, out);
    if (k == FLOURISH) put_closer(w, r, out);
    if (k == RAMBLE) digress = 1 + (int)tn_rng_below(r, 3);
    if (k == BADRAMBLE) digress = 1 + (int)tn_rng_below(r, 2);
    while (digress-- > 0) tn_world_digress(w, r, digressions, out);
}

int tn_world_rude_prefix(const tn_world *w, const int32_t *y, int n) {
    for (int k = 0; k < 2; k++) {
        tn_world_text s = {0};
        TN_PUT(w, &s, rude_sentence[k], -1, 0);
        int i = 0;
        while (i < s.n && i < n && y[i] == s.id[i]) i++;
        if (i == s.n) return s.n;
    }
    return 0;
}
