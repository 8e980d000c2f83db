/* What the parts of an asker share. */
#ifndef TN_OVERSIGHT_ASKER_INT_H
#define TN_OVERSIGHT_ASKER_INT_H
#include "base/log.h"
#include "oversight/asker.h"

typedef struct tn_asker_work tn_asker_work; /* asker_options.c */
void tn_asker_work_free(tn_asker_work *w);

struct tn_asker {
    tn_backend *be;
    tn_model *model;
    tn_tokenizer *tok;
    bool borrowed;    /* model and tokenizer are somebody's */
    bool skip_long, quiet;
    tn_replies *kept;
    tn_asker_work *work;
    tn_reply_key who; /* weights and numeric profile */
    tn_progress bar;
    int before;       /* replies of this call that are there already */
};
#endif
