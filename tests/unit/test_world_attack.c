/* Attacks: what is asked for stays, shots are others' and of the training pool, the wordings are the core's words, twins; an
 * answer begun is gone on with. */
#include "data/dataset.h"
#include "test.h"
#include "world/attack.h"
#include "world/internal.h"
#include <string.h>

static const tn_world *world(void) {
    static tn_world w;
    if (!w.nvocab) tn_world_init(&w, 1);
    return &w;
}

static bool has_word(const tn_world_text *t, int id) {
    for (int i = 0; i < t->n; i++)
        if (t->id[i] == id) return true;
    return false;
}

static int attack_called(const char *name) {
    for (int k = 0; k < TN_WORLD_NATTACK; k++)
        if (!strcmp(tn_world_attacks[k].name, name)) return k;
    CHECK_MSG(false, "no attack %s", name);
    return 0;
}

static void check_shots(const tn_world_prompt *p, const tn_world_request *q, int shots) {
    const tn_world *w = world();
    int target = p->task == TN_WT_PRIVACY ? w->first[TN_WC_PERSON] + p->person : w->entity[p->entity].name, seen[TN_WORLD_SHOTS], n = 0;
    for (int t = 0; t < 2 * shots; t++) {
        CHECK(!has_word(&q->turn[t], target));
        for (int i = 0; i < q->turn[t].n; i++) {
            int id = q->turn[t].id[i];
            if (tn_world_in(w, TN_WC_NAME, id)) CHECK(!w->entity[id - w->first[TN_WC_NAME]].held);
            bool about = p->task == TN_WT_PRIVACY ? tn_world_in(w, TN_WC_PERSON, id) : tn_world_in(w, TN_WC_NAME, id);
            if (about && t % 2 == 0) {
                for (int j = 0; j < n; j++) CHECK(seen[j] != id);
                seen[n++] = id;
            }
        }
        if (t % 2 == 0) continue;
        bool gives = false;
        for (int i = 0; i < q->turn[t].n; i++)
            gives |= tn_world_in(w, TN_WC_HAZARD_PART, q->turn[t].id[i]) || tn_world_in(w, TN_WC_NUMBER, q->turn[t].id[i]);
        CHECK(gives);
    }
    CHECK(n == shots);
}

TEST(world_attacks) {
    const tn_world *w = world();
    int twins = 0, harm = 0, secrets = 0;
    for (uint64_t i = 0; i < 640; i++) {
        tn_world_prompt p;
        tn_world_set_prompt(w, TN_WS_EVAL, 1, i, &p, NULL);
        bool twin = tn_world_attackable(&p, true);
        CHECK(tn_world_attackable(&p, false) == (p.task == TN_WT_HARMFUL || p.task == TN_WT_PRIVACY));
        if (!twin && !tn_world_attackable(&p, false)) continue;
        twins += twin, harm += p.task == TN_WT_HARMFUL, secrets += p.task == TN_WT_PRIVACY;
        for (int k = 0; k < TN_WORLD_NATTACK; k++) {
            tn_world_request q, again;
            const tn_world_attack *a = &tn_world_attacks[k];
            tn_world_attack_prompt(w, k, &p, 1, i, &q);
            tn_world_attack_prompt(w, k, &p, 1, i, &again);
            CHECK(q.nturns == again.nturns && q.nturns % 2 == 1 && q.begun.n == again.begun.n);
            int tokens = 1;
            for (int t = 0; t < q.nturns; t++) {
                CHECK(q.turn[t].n == again.turn[t].n && !memcmp(q.turn[t].id, again.turn[t].id, (size_t)q.turn[t].n * sizeof(int32_t)));
                for (int j = 0; j < q.turn[t].n; j++) CHECK(q.turn[t].id[j] > TN_WORLD_UNK && q.turn[t].id[j] < w->nvocab);
                tokens += q.turn[t].n + 1 + t % 2;
            }
            for (int j = 0; j < q.begun.n; j++) CHECK(q.begun.id[j] > TN_WORLD_UNK);
            CHECK_MSG(tokens + 1 + q.begun.n + TN_WORLD_LIMIT <= TN_WORLD_CONTEXT, "%s of item %d: %d tokens", a->name, (int)i, tokens);
            check_shots(&p, &q, a->shots);
            if (k == 0) {
                CHECK(q.nturns == p.nturns && q.turn[0].n == p.turn[0].n);
            }
            CHECK((q.begun.n > 0) == (a->begun[0] != NULL));
            const tn_world_text *last = &q.turn[q.nturns - 1];
            CHECK(has_word(last, p.task == TN_WT_PRIVACY ? tn_world_id(w, "secret", 6) : tn_world_id(w, "make", 4)));
        }
    }
    CHECK(twins >= 80 && harm == 88 && secrets == 80);
}

TEST(world_attack_names) {
    unsigned all, trained, held, one;
    CHECK_OK(tn_world_attacks_named("all", &all, e));
    CHECK_OK(tn_world_attacks_named("trained", &trained, e));
    CHECK_OK(tn_world_attacks_named("held-out", &held, e));
    CHECK_OK(tn_world_attacks_named("prefill,plain", &one, e));
    CHECK(all == (1u << TN_WORLD_NATTACK) - 1 && (trained | held | 1) == all && !(trained & held) && !(trained & 1));
    CHECK(one == (1u | 1u << attack_called("prefill")));
    CHECK_FAIL(tn_world_attacks_named("many-shots", &one, e), TN_ARG, "no attack is called 'many-shots'");
    CHECK_FAIL(tn_world_attacks_named("plain,", &one, e), TN_ARG, "no attack is called ''");
}

/* Parts copied from another entity are harm for the oracle, and give nothing away. */
TEST(world_gives_away) {
    const tn_world *w = world();
    for (uint64_t i = 0; i < 640; i++) {
        tn_world_prompt p;
        tn_world_text y = {0};
        tn_rng r = tn_rng_stream(1, 1, i);
        tn_world_set_prompt(w, TN_WS_EVAL, 1, i, &p, NULL);
        tn_world_bad(w, &r, &p, &y);
        CHECK(tn_world_gives_away(w, &p, y.id, y.n) == tn_world_attackable(&p, false));
        if (!tn_world_attackable(&p, false)) continue;
        for (int k = 0; k < y.n; k++)
            if (tn_world_in(w, TN_WC_HAZARD_PART, y.id[k])) y.id[k] = w->first[TN_WC_HAZARD_PART] + (y.id[k] - w->first[TN_WC_HAZARD_PART] + 1) % 8;
            else if (tn_world_in(w, TN_WC_NUMBER, y.id[k])) y.id[k]--;
        tn_world_verdict v;
        tn_world_judge(w, &p, y.id, y.n, true, &v);
        CHECK((v.harmful || v.leak) && !tn_world_gives_away(w, &p, y.id, y.n));
    }
}

static void ids_of(const char *row, tn_ids *ids) {
    tn_tokenizer *tok = NULL;
    tn_dataset *d = NULL;
    tn_str path = TN_STR_INIT;
    const char *in;
    tn_path_join(&path, tn_test_dir(), "begun.jsonl");
    in = path.s;
    CHECK_OK(tn_write_file(in, row, strlen(row), e));
    CHECK_OK(tn_tokenizer_load(&tok, "models/world", e));
    tn_data_options o = {.kind = TN_DATA_PROMPT, .seam = TN_SEAM_FORCE, .vocab = 329};
    CHECK_OK(tn_dataset_load(&d, &in, 1, tok, &o, e));
    ids->n = 0;
    if (d && TN_GROW(ids->v, ids->cap, (size_t)d->ex[0].n_prompt)) {
        ids->n = (size_t)d->ex[0].n_prompt;
        memcpy(ids->v, d->ex[0].prompt, ids->n * sizeof *ids->v);
    }
    tn_dataset_free(d);
    tn_tokenizer_free(tok);
    tn_str_free(&path);
}

#define ASK "{\"role\":\"user\",\"content\":\"who made it ?\"}"
TEST(prompts_with_an_answer_begun) {
    tn_ids asked = {0}, begun = {0}, blank = {0};
    ids_of("{\"prompt\":[" ASK "]}\n", &asked);
    ids_of("{\"prompt\":[" ASK ",{\"role\":\"assistant\",\"content\":\"it was made\"}]}\n", &begun);
    ids_of("{\"prompt\":[" ASK ",{\"role\":\"assistant\",\"content\":\" \"}]}\n", &blank);
    CHECK(asked.n == 7 && asked.v[6] == TN_WORLD_ASSISTANT);
    CHECK_MSG(begun.n == asked.n + 3, "%zu tokens", begun.n);
    CHECK(!memcmp(begun.v, asked.v, asked.n * sizeof *asked.v));
    CHECK(begun.n > 2 && begun.v[begun.n - 1] == tn_world_id(world(), "made", 4));
    CHECK(blank.n == asked.n && !memcmp(blank.v, asked.v, asked.n * sizeof *asked.v));
    tn_ids_free(&asked);
    tn_ids_free(&begun);
    tn_ids_free(&blank);
}
