/* What is kept of every response beside its score: the heads of an ensemble on one trunk, one by one, and latents; see scorer.h. */
#include "algo/ensemble.h"
#include "algo/pooled.h"
#include "train/pooled.h"
#include "train/scorer.h"
#include <string.h>

tn_status tn_scorer_members_of(const char *dir, int *n, tn_load *how, tn_err *e) {
    tn_str path = TN_STR_INIT;
    json_t *record = NULL;
    tn_path_join(&path, dir, "tenet.json");
    tn_status st = path.oom            ? tn_fail(e, TN_NOMEM, "%s: out of memory", dir)
                   : tn_exists(path.s) ? tn_json_load(path.s, &record, e)
                                       : TN_OK;
    const json_t *o = json_object_get(record, "options");
    const char *verb = json_string_value(json_object_get(record, "verb")), *head = json_string_value(json_object_get(o, "head"));
    tn_many_opt opt = {.heads = json_integer_value(json_object_get(o, "heads"))};
    *n = 0;
    if (st == TN_OK && verb && head && !strcmp(verb, "reward") && !strcmp(head, tn_pooled_many.name) && opt.heads > 1) {
        *n = (int)opt.heads;
        how->want_score = true;
        tn_pooled_wants(&tn_pooled_many, &opt, how);
    }
    json_decref(record);
    tn_str_free(&path);
    return st;
}

tn_status tn_scorer_keep_members(tn_scorer *s, int cap, tn_err *e) {
    s->cap_member = cap;
    s->member = tn_calloc((size_t)cap, (size_t)s->n_member * sizeof *s->member);
    return s->member ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory for the scores of %d heads", s->n_member);
}

tn_status tn_scorer_keep_latents(tn_scorer *s, const double *map, int n, int cap, tn_err *e) {
    s->cap_member = cap, s->latent_map = map, s->n_latent = n;
    s->latent = tn_calloc((size_t)cap, (size_t)n * sizeof *s->latent);
    s->hidden = tn_calloc((size_t)s->model->desc.hidden, sizeof *s->hidden);
    return s->latent && s->hidden ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory for the latents of %d responses", cap);
}

static tn_status read_latents(tn_scorer *s, int at, tn_err *e) {
    int width = s->model->desc.hidden;
    for (int i = 0; i < s->mb.n_seq; i++) {
        TN_TRY(tn_hidden_rows(s->run, s->model, s->mb.score_row + i, 1, s->hidden, e));
        for (int k = 0; k < s->n_latent; k++)
            s->latent[(size_t)k * (size_t)s->cap_member + (size_t)(at + i)] =
                tn_pooled_dot(s->latent_map + (size_t)k * (size_t)width, s->hidden, width);
    }
    return TN_OK;
}

tn_status tn_scorer_read_members(tn_scorer *s, int done, tn_err *e) {
    int at = s->member_at + done, n = s->mb.n_seq;
    if (!s->member && !s->latent) return TN_OK;
    if (at + n > s->cap_member)
        return tn_fail(e, TN_BUG, "members' scores of %d responses, room for %d", at + n, s->cap_member);
    if (s->latent) TN_TRY(read_latents(s, at, e));
    for (int k = 0; s->member && k < s->n_member; k++) {
        double *to = s->member + (size_t)k * (size_t)s->cap_member + at;
        TN_TRY(tn_part_head(s->run, s->model, k, s->mb.score_row, n, to, e));
        for (int i = 0; i < n; i++) to[i] = (to[i] - s->model->score_mean) / s->model->score_sd;
    }
    return TN_OK;
}

int tn_scorer_members(const tn_scorer *s) { return s->member ? s->n_member : 1; }

void tn_scorer_put_members(const tn_scorer *s, const double *score, int n, double *to, int stride) {
    for (int k = 0; k < tn_scorer_members(s); k++) {
        const double *from = s->member ? s->member + (size_t)k * (size_t)s->cap_member : score;
        for (int i = 0; i < n; i++) to[(size_t)i * (size_t)stride + (size_t)k] = from[i];
    }
}

tn_status tn_members_check(int n, tn_err *e) {
    if (n >= 2 && n <= TN_ENSEMBLE_MAX) return TN_OK;
    return tn_fail(e, TN_ARG,
                   "--ensemble makes one score of 2 to %d members: --reward-model folders, or the heads of `tenet "
                   "reward --head ensemble`; found %d",
                   TN_ENSEMBLE_MAX, n);
}

tn_status tn_members_whole(int n, int models, tn_err *e) {
    if (n <= models) return TN_OK;
    return tn_fail(e, TN_ARG,
                   "--reward-shaping maps the scores of whole reward models, and --ensemble takes the heads of one apart; leave "
                   "one of them out");
}
