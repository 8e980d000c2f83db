#include "rl/rounds.h"
#include "base/log.h"
#include "base/manifest.h"
#include <string.h>

tn_status tn_round_path(tn_str *out, const char *dir, int round, const char *name, tn_err *e) {
    tn_str_clear(out);
    if (round < 0) tn_str_addf(out, "%s/%s", dir, name);
    else tn_str_addf(out, "%s/round-%d/%s", dir, round, name);
    return out->oom ? tn_fail(e, TN_NOMEM, "out of memory") : TN_OK;
}

tn_status tn_round_begin(const char *dir, int round, tn_err *e) {
    tn_str path = TN_STR_INIT;
    tn_status st = tn_round_path(&path, dir, round, "", e);
    if (st == TN_OK) st = tn_mkdirs(path.s, e);
    if (st == TN_OK) st = tn_commit_mend(path.s, e);
    tn_str_free(&path);
    return st;
}

tn_status tn_round_model(const char *dir, int round, int rounds, const char *rows, const char *model, tn_round_train *train, void *ctx, tn_err *e) {
    char want[80];
    uint64_t hash = 1, bytes;
    tn_str data = TN_STR_INIT, to = TN_STR_INIT, done = TN_STR_INIT, had = TN_STR_INIT;
    tn_status st = tn_round_path(&data, dir, round, rows, e);
    if (st == TN_OK) st = tn_round_path(&to, dir, round, model, e);
    if (st == TN_OK) st = tn_round_path(&done, dir, round, "trained.json", e);
    if (st == TN_OK) st = tn_hash_file(data.s, hash, &hash, &bytes, e);
    snprintf(want, sizeof want, "{\"rows\": \"%016llx\"}\n", (unsigned long long)hash);
    if (st == TN_OK && tn_exists(done.s)) st = tn_read_file(done.s, &had, 1 << 20, e);
    if (st == TN_OK && !(had.s && !strcmp(had.s, want))) {
        tn_info("round %d of %d", round, rounds);
        st = train(ctx, data.s, to.s, e);
        if (st == TN_OK) st = tn_write_file(done.s, want, strlen(want), e);
    }
    tn_str_free(&data), tn_str_free(&to), tn_str_free(&done), tn_str_free(&had);
    return st;
}
