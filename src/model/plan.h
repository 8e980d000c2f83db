/* Memory by owner, before anything is allocated: the same arithmetic as the allocations themselves.
 */
#ifndef TN_MODEL_PLAN_H
#define TN_MODEL_PLAN_H
#include "base/str.h"
#include "model/model.h"

#define TN_PLAN_MAX 48
typedef struct tn_plan {
    int n;
    struct { char owner[40], part[24]; size_t bytes; } row[TN_PLAN_MAX];
    size_t total;
} tn_plan;

void tn_plan_add(tn_plan *p, const char *owner, const char *part, size_t bytes);
/* weights, packed forms, and for training gradients and moments. `score`: with a score head and
 * without packed LM head; `view`: only what a view adds (nothing of the trunk). */
void tn_plan_model(tn_plan *p, const char *owner, const tn_desc *d, const tn_backend *be,
                   bool train, bool score, bool view);
void tn_plan_run(tn_plan *p, const char *owner, const tn_desc *d, const tn_backend *be, int max_tok,
                 int max_rows, int max_pos, bool keep);
void tn_plan_kv(tn_plan *p, const char *owner, const tn_desc *d, const tn_backend *be, int pages);
void tn_plan_print(const tn_plan *p,
                   tn_str *out); /* a table, one owner and part a line, and the sum */
/* Memory that the machine can still give, in bytes; 0 when it does not say. */
size_t tn_plan_available(void);
/* TN_NOMEM with the numbers when the plan does not fit in `available` (0: not checked). */
tn_status tn_plan_check(const tn_plan *p, size_t available, tn_err *e);

/* Bytes behind tn_run_new, for any number of positions. */
size_t tn_plan_run_bytes(const tn_desc *d, const tn_backend *be, int max_tok, int max_rows,
                         int max_pos, bool keep);
#endif
