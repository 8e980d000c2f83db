#include "base/signals.h"
#include "data/formats.h"
#include "data/reader.h"
#include <string.h>

const char *tn_drop_reason(int reason) {
    static const char *const text[TN_DROP_COUNT] = {
        "longer than --max-length", "empty", "no token to train on",
        "no two different answers with different places"};
    return text[reason];
}

int tn_example_tokens(const tn_example *x) {
    int n = x->n_prompt;
    for (int i = 0; i < x->n_response; i++) n += x->response[i].n;
    return n;
}

int tn_example_trained(const tn_example *x) {
    int n = 0;
    for (int i = 0; i < x->n_response; i++)
        for (int t = 0; t < x->response[i].n; t++) n += x->response[i].trained[t];
    return n;
}

static tn_status read_row(tn_reader *r, const json_t *found, tn_err *e) {
    json_t *row;
    TN_TRY(tn_row_canonical(found, r->o->chat_transcripts, &row, e));
    tn_status st = r->o->teacher_template             ? tn_read_taught(r, row, e)
                   : r->o->kind == TN_DATA_SFT        ? tn_read_sft(r, row, e)
                   : r->o->kind == TN_DATA_PREFERENCE ? tn_read_preference(r, row, e)
                   : r->o->kind == TN_DATA_UNPAIRED   ? tn_read_unpaired(r, row, e)
                   : r->o->kind == TN_DATA_SAFETY     ? tn_read_safety(r, row, e)
                   : r->o->kind == TN_DATA_STEPS      ? tn_read_steps(r, row, e)
                                                      : tn_read_prompt(r, row, e);
    /* pairs taken apart, and triples, have no place for a probability */
    if (st == TN_OK && !r->o->hard_labels && (r->o->kind == TN_DATA_UNPAIRED || r->o->gold) && json_object_get(row, "p")) r->d->stats.soft++;
    json_decref(row);
    return st;
}

static tn_status read_file(tn_reader *r, const char *path, tn_err *e) {
    tn_lines *lines;
    TN_TRY(tn_lines_open(&lines, path, (size_t)64 << 20, e));
    tn_status st = TN_OK;
    for (;;) {
        json_t *row = NULL;
        if (tn_stop_requested()) {
            st = tn_fail(e, TN_INTERRUPTED, "stopped while reading %s", path);
            goto done;
        }
        TN_GO(tn_jsonl_next(lines, path, &row, e), done);
        if (!row) break;
        r->line = (int)tn_lines_number(lines);
        snprintf(r->where, sizeof r->where, "%.560s:%d", path, r->line);
        r->d->stats.read++;
        st = read_row(r, row, e);
        json_decref(row);
        if (st != TN_OK) goto done;
        if (r->o->limit > 0 && r->d->stats.read >= r->o->limit) break;
    }
done:
    tn_lines_close(lines);
    return st;
}

tn_status tn_dataset_load(tn_dataset **out, const char *const *paths, int n_paths,
                          const tn_tokenizer *tok, const tn_data_options *o, tn_err *e) {
    *out = NULL;
    tn_dataset *d = tn_calloc(1, sizeof *d);
    if (!d) return tn_fail(e, TN_NOMEM, "out of memory");
    d->arena = tn_arena_new((size_t)1 << 20);
    d->path = tn_calloc((size_t)n_paths + 1, sizeof *d->path);
    tn_reader r = {.d = d, .tok = tok, .o = o};
    tn_status st = d->arena && d->path ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
    for (int i = 0; i < n_paths && st == TN_OK; i++) {
        d->path[d->n_path++] = tn_strdup(paths[i]);
        r.file = i;
        st = read_file(&r, paths[i], e);
    }
    tn_ids_free(&r.a);
    tn_ids_free(&r.b);
    tn_ids_free(&r.c);
    tn_steps_free(&r.steps);
    if (st == TN_OK && d->n == 0)
        st = tn_fail(
            e, TN_FORMAT,
            "%s%s: no usable row: %ld read, %ld longer than --max-length, %ld empty, %ld without a "
            "token to train on, %ld with equal answers",
            n_paths ? paths[0] : "(no file)", n_paths > 1 ? ", ..." : "", d->stats.read,
            d->stats.dropped[TN_DROP_LONG], d->stats.dropped[TN_DROP_EMPTY],
            d->stats.dropped[TN_DROP_NO_TARGET], d->stats.dropped[TN_DROP_SAME]);
    if (st == TN_OK && o->kind == TN_DATA_UNPAIRED) st = tn_order_unpaired(d, e);
    if (st == TN_OK && o->teacher_template) st = tn_gather_teachers(d, e);
    if (st != TN_OK) {
        tn_dataset_free(d);
        return st;
    }
    *out = d;
    return TN_OK;
}

void tn_dataset_free(tn_dataset *d) {
    if (!d) return;
    tn_dataset_free(d->mismatched);
    tn_dataset_free(d->teachers);
    for (size_t i = 0; i < d->n; i++) json_decref(d->ex[i].meta);
    for (int i = 0; i < d->n_path; i++) tn_free(d->path[i]);
    tn_free(d->path);
    tn_free(d->ex);
    tn_arena_free(d->arena);
    tn_free(d);
}
