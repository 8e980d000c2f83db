/* What the parts of an asker share. */
#ifndef TN_OVERSIGHT_ASKER_INT_H
#define TN_OVERSIGHT_ASKER_INT_H
#include "base/log.h"
#include "oversight/asker.h"

struct tn_asker {
    tn_backend *be;
    tn_model *model;
    tn_tokenizer *tok;
    tn_replies *kept;
    tn_reply_key who; /* weights and numeric profile */
    tn_progress bar;
    int before;       /* replies of this call that are there already */
};
#endif
