/* What the parts of an asker share. */
#ifndef TN_OVERSIGHT_ASKER_INT_H
#define TN_OVERSIGHT_ASKER_INT_H
#include "base/log.h"
#include "oversight/asker.h"

typedef struct tn_asker_work tn_asker_work; /* asker_options.c */
void tn_asker_work_free(tn_asker_work *w);

struct tn_asker {
    tn_backend *be; /* a model's: these three */
    tn_model *model;
    tn_tokenizer *tok;
    bool borrowed;    /* model and tokenizer are somebody's */
    bool skip_long, quiet;
    tn_asker_work *work;
    tn_gen *gen;      /* between calls when kept_bytes > 0, else NULL */
    size_t kept_bytes;
    tn_gen_read read;
    struct service *at; /* an endpoint's */
    tn_replies *kept;
    tn_reply_key who; /* weights and numeric profile; URL and model's name */
    tn_progress bar;
    int before;       /* replies of this call that are there already */
};

/* Questions whose key is not in the store, each key once: their numbers, ascending, to which [n]. -1: out of memory. */
int tn_asker_missing(const tn_asker *a, const tn_reply_key *key, int n, int *which);

/* asker_endpoint.c */
void tn_service_close(struct service *at);
tn_reply_key tn_service_key(const tn_asker *a, const tn_question *q, const tn_sampling *how);
tn_status tn_service_ask(tn_asker *a, const tn_question *q, const tn_reply_key *key, const int *which, int k, int n, const tn_sampling *how,
                         const char *what, tn_err *e);
tn_status tn_service_options(tn_asker *a, const tn_question *q, int n, const char *const *option, int count, const char *what, double *logp,
                             tn_err *e); /* logp [n][count] */
#endif
