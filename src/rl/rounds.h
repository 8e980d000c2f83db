/* Runs of rounds, in each of which a model is made from rows that the model before had a say in.
 *
 * DIR/round-K/ holds the rows, the model and trained.json, which says of which rows it was made. The training of a round that is
 * done is not done again; all else is, to the same bytes: a run that stopped anywhere goes on from its files. */
#ifndef TN_RL_ROUNDS_H
#define TN_RL_ROUNDS_H
#include "base/bytes.h"
#include "base/mem.h"
#include "base/os.h"
#include "base/str.h"

/* "DIR/round-K/NAME", or "DIR/NAME" for K < 0; cleared first. */
tn_status tn_round_path(tn_str *out, const char *dir, int round, const char *name, tn_err *e);
/* The round's folder is there, and whole. */
tn_status tn_round_begin(const char *dir, int round, tn_err *e);
/* Trains on the rows of file `data` into the folder `model`; what is there of an earlier try may be used. */
typedef tn_status tn_round_train(void *ctx, const char *data, const char *model, tn_err *e);
/* DIR/round-K/MODEL of DIR/round-K/ROWS, unless it is there and those were its rows. */
tn_status tn_round_model(const char *dir, int round, int rounds, const char *rows, const char *model, tn_round_train *train, void *ctx, tn_err *e);
#endif
