/* The heads of an ensemble on one trunk, one by one; see scorer.h. */
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

tn_status tn_scorer_read_members(tn_scorer *s, int done, tn_err *e) {
    int at = s->member_at + done, n = s->mb.n_seq;
    if (!s->member) return TN_OK;
    if (at + n > s->cap_member)
        return tn_fail(e, TN_BUG, "members' scores of %d responses, room for %d", at + n, s->cap_member);
    for (int k = 0; k < s->n_member; k++) {
        double *to = s->member + (size_t)k * (size_t)s->cap_member + at;
        TN_TRY(tn_part_head(s->run, s->model, k, s->mb.score_row, n, to, e));
        for (int i = 0; i < n; i++) to[i] = (to[i] - s->model->score_mean) / s->model->score_sd;
    }
    return TN_OK;
}
