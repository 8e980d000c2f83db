/* Two responses to each prompt, the policy's and an opponent's: whose is which through rollouts, pairs and slices; rewards,
 * probabilities and advantages by hand. */
#include "rl/opponent.h"
#include "test.h"
#include <math.h>

enum { P = 4, N = 2 * P };
static struct {
    tn_rollouts roll;
    tn_example prompt[P];
    int32_t ids[P][2];
    tn_slices slices;
} O;
static const int length[N] = {3, 2, 1, 3, 2, 2, 4, 1}, ended[N] = {1, 1, 1, 0, 1, 1, 1, 1};

static void set_up(const double *score, int slices) {
    json_t *record = json_array();
    memset(&O, 0, sizeof O);
    for (int i = 0; i < N; i++) {
        json_t *ids = json_array(), *logp = json_array(), *ref = json_array();
        for (int t = 0; t < length[i]; t++) {
            json_array_append_new(ids, json_integer(10 * i + t));
            json_array_append_new(logp, json_real(-0.1 * (i + 1) - t));
            json_array_append_new(ref, json_real(-0.2 * (t + 1)));
        }
        json_array_append_new(record, json_pack("{s:o,s:b,s:f,s:o,s:o}", "ids", ids, "ended", ended[i], "score",
                                                isnan(score[i]) ? 0.0 : score[i], "logp",
                                                logp, "ref_logp", ref));
    }
    CHECK_OK(tn_rollouts_new(&O.roll, P, 2, N, 6, 1 << 20, e));
    CHECK_OK(tn_rollouts_oppose(&O.roll, e));
    for (int g = 0; g < P; g++) {
        O.ids[g][0] = 1, O.ids[g][1] = 3 + g;
        O.prompt[g] = (tn_example){.prompt = O.ids[g], .n_prompt = 2};
        O.roll.prompt[g] = &O.prompt[g];
    }
    CHECK_OK(tn_rollouts_load(&O.roll, record, 100, "test", e));
    json_decref(record);
    for (int i = 0; i < N; i++) CHECK(O.roll.own[i] == !(i % 2));
    for (int i = 0; i < N; i++)
        for (int t = O.roll.off[i]; t < O.roll.off[i + 1]; t++) O.roll.advantage[t] = score[i];
    CHECK_OK(tn_slices_new(&O.slices, &O.roll, slices, e));
}
static void tear_down(void) {
    tn_slices_free(&O.slices);
    tn_rollouts_free(&O.roll);
}

/* First tokens of the pair's better and worse response. */
static void check_pair(const tn_example *x, int chosen, int rejected) {
    CHECK(x->n_response == 2 && x->pair && x->response[0].rank == 1 && x->response[1].rank == 2);
    CHECK(x->response[0].ids[0] == 10 * chosen && x->response[1].ids[0] == 10 * rejected);
    CHECK(x->label == (chosen % 2 ? 2 : 1)); /* bit of the policy's */
}

TEST(opponent_pairs) {
    const double score[N] = {1, 0, 0, 2, 5, 5, NAN, 3};
    const tn_pair_options o = {.reference = "start"};
    set_up(score, 1);
    tn_slices_cut_pairs(&O.slices, &O.roll, &o, false, 1, 1);
    CHECK(O.slices.n_chosen == 3 && O.slices.part[0].n_ex == 3 && O.slices.total[0].pair == 3);
    check_pair(O.slices.part[0].at[0], 0, 1);
    check_pair(O.slices.part[0].at[1], 3, 2);
    check_pair(O.slices.part[0].at[2], 4, 5); /* equal: the policy wins */
    tn_slices_cut_pairs(&O.slices, &O.roll, &o, true, 1, 1);
    CHECK(O.slices.n_chosen == 2); /* response 3 did not end */
    check_pair(O.slices.part[0].at[1], 4, 5);
    tear_down();
}

TEST(opponent_nobody_learns_from) {
    const double score[N] = {1, 0, 0, 2, 5, 5, -1, 3};
    const tn_nash_opt o = {0.3};
    set_up(score, 2);
    CHECK_OK(tn_nash_token_advantages(&o, &O.roll, e));
    for (int g = 0; g < P; g++) {
        int own = 2 * g;
        double p = 1 / (1 + exp(score[own + 1] - score[own]));
        for (int t = 0; t < length[own]; t++)
            CHECK_NEAR(O.roll.advantage[O.roll.off[own] + t], p - 0.5 - 0.3 * (-0.1 * (own + 1) - t + 0.2 * (t + 1)), 1e-14, 0);
        for (int t = O.roll.off[own + 1]; t < O.roll.off[own + 2]; t++) CHECK(isnan(O.roll.advantage[t]));
    }
    bool seen[P] = {false};
    tn_slices_cut(&O.slices, &O.roll, false, 1, 1);
    for (int k = 0; k < 2; k++) {
        const tn_rollouts *part = &O.slices.part[k];
        CHECK(part->n == P / 2 && O.slices.total[k].seq == P / 2); /* the same number of the policy's in each */
        for (int i = 0; i < part->n; i++) {
            CHECK(part->own[i] && part->response[i].ids[0] % 20 == 0 && !seen[part->group[i]]);
            seen[part->group[i]] = true;
        }
    }
    tear_down();
}

TEST(opponent_totals) {
    static const int off[] = {0, 2, 4};
    const double reward[] = {1, 0.5, NAN, 2}, weight[] = {2};
    const int all[] = {1, 1, 1, 1}, none[] = {0, 1, 1, 1};
    double total[4], advantage[4], scratch[4];
    tn_opposed_options o = {.missing_eos = 0.75};
    tn_group_rewards r = {.n_source = 1, .n_group = 2, .group_off = off, .reward = reward, .weight = weight, .total = total,
                          .advantage = advantage, .scratch = scratch, .ended = all};
    tn_metrics m = {0};
    CHECK_OK(tn_opposed_totals(&o, &r, NULL, &m, e));
    CHECK(advantage[0] == 2 && advantage[1] == 1 && isnan(advantage[2]) && advantage[3] == 4);
    CHECK(tn_metrics_find(&m, "reward") == 2); /* the policy's, of those that have one */
    CHECK_NEAR(tn_metrics_find(&m, "rewards/probabilities"), 1 / (1 + exp(-1)), 1e-14, 0);
    m = (tn_metrics){0};
    r.ended = none;
    CHECK_OK(tn_opposed_totals(&o, &r, NULL, &m, e));
    CHECK(advantage[0] == 1.25 && tn_metrics_find(&m, "reward") == 2 && tn_metrics_find(&m, "objective/model_scores") == 1.25);
    CHECK(tn_metrics_find(&m, "val/model_contain_eos_token") == 0.5);
}
