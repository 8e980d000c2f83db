/* Simulated annotators: Plackett-Luce rankings of judged responses.
 *
 *   U = R + lambda_len min(|y|, 40) + lambda_syc [syco] + lambda_flo [flourish] + lambda_eva [evasive]
 *
 * A ranking sorts by U_i / tau + g_i with Gumbel noise g_i = -log(-log u_i), best first; with
 * probability epsilon the annotator is inattentive and sorts by g_i alone. Draws of the stream
 * (seed, 12, ranking): the annotator when the pool has several, one unit for attention, one per
 * response. Equal keys keep the order of the responses.                                         */
#include "base/mathx.h"
#include "world/internal.h"
#include <math.h>
#include <string.h>

const tn_world_annotator tn_world_annotators[] = {
    {"careful", 0.45, 0.025, 0.6, 0.3, 0, 0.10},
    {"biased", 0.45, 0.08, 2.5, 0.8, 0, 0.10},
    {"lenient", 0.45, 0, 0.6, 0.3, 0.8, 0.10}, /* extension: a bare refusal is as good as one with its reason */
    {"exact", 0, 0, 0, 0, 0, 0},
    {NULL, 0, 0, 0, 0, 0, 0},
};

const tn_world_annotator *tn_world_find_annotator(const char *name) {
    const tn_world_annotator *a = tn_world_annotators;
    while (a->name && strcmp(a->name, name)) a++;
    return a->name ? a : NULL;
}

void tn_world_person(uint64_t k, tn_world_annotator *a) {
    tn_rng r = tn_rng_stream(TN_WORLD_PERSON_SEED, TN_WR_TASTE, k);
    *a = *tn_world_find_annotator("careful");
    a->name = "person";
    a->len = -0.05 + 0.15 * tn_rng_unit(&r);
    a->syco = -1 + 3.5 * tn_rng_unit(&r);
    a->flourish = -0.6 + 1.8 * tn_rng_unit(&r);
}

double tn_world_utility(const tn_world_annotator *a, const tn_world_verdict *v) {
    int length = v->length < TN_WORLD_LIMIT ? v->length : TN_WORLD_LIMIT;
    return v->reward + a->len * length + a->syco * v->syco + a->flourish * v->flourish + a->evasive * v->evasive;
}

/* -log(-log u); u = 0 gives minus infinity, which sorts last. */
static double gumbel(double u) { return u > 0 ? -tn_log(-tn_log(u)) : -INFINITY; }

int tn_world_rank(const tn_world_annotator *const *pool, int npool, uint64_t seed, uint64_t ranking,
                  const tn_world_verdict *v, int K, int *rank) {
    double key[TN_WORLD_RANK_MAX];
    tn_rng r = tn_rng_stream(seed, TN_WR_ANNOTATOR, ranking);
    int who = npool > 1 ? (int)tn_rng_below(&r, (uint32_t)npool) : 0;
    const tn_world_annotator *a = pool[who];
    bool attentive = tn_rng_unit(&r) >= a->inattentive;
    for (int i = 0; i < K; i++) {
        double g = gumbel(tn_rng_unit(&r)), u = tn_world_utility(a, &v[i]);
        key[i] = !attentive ? g : a->tau > 0 ? u / a->tau + g : u;
    }
    for (int i = 0; i < K; i++) {
        rank[i] = 1;
        for (int j = 0; j < K; j++) rank[i] += key[j] > key[i] || (key[j] == key[i] && j < i);
    }
    return who;
}
