/* Named sums with counts. A merge adds sums and counts, so that a mean over micro-batches, ranks
 * or steps is the mean over their members, never a mean of means. */
#include "algo/algo.h"
#include <math.h>
#include <string.h>

void tn_metrics_clear(tn_metrics *m) { m->n = 0; }

static int metric_at(const tn_metrics *m, const char *name) {
    for (int i = 0; i < m->n; i++)
        if (m->v[i].name == name || strcmp(m->v[i].name, name) == 0) return i;
    return -1;
}

/* A table that is full keeps what it has; names are fixed in the code and far fewer. */
static void metric_add(tn_metrics *m, tn_metric_kind kind, const char *name, double sum,
                       double count) {
    int i = metric_at(m, name);
    if (i < 0) {
        if (m->n == TN_METRICS_MAX) return;
        i = m->n++;
        m->v[i].name = name;
        m->v[i].kind = kind;
        m->v[i].sum = sum;
        m->v[i].count = count;
        return;
    }
    double *s = &m->v[i].sum, *c = &m->v[i].count;
    switch (m->v[i].kind) {
    case TN_METRIC_MEAN:
    case TN_METRIC_SUM:
        *s += sum;
        break;
    case TN_METRIC_MAX:
        if (*c <= 0 || sum > *s || isnan(sum)) *s = sum;
        break;
    case TN_METRIC_MIN:
        if (*c <= 0 || sum < *s || isnan(sum)) *s = sum;
        break;
    }
    *c += count;
}

void tn_metrics_mean(tn_metrics *m, const char *name, double sum, double count) {
    metric_add(m, TN_METRIC_MEAN, name, sum, count);
}

void tn_metrics_put(tn_metrics *m, tn_metric_kind kind, const char *name, double value) {
    metric_add(m, kind, name, value, 1);
}

void tn_metrics_merge(tn_metrics *into, const tn_metrics *from) {
    for (int i = 0; i < from->n; i++)
        if (from->v[i].count > 0)
            metric_add(into, from->v[i].kind, from->v[i].name, from->v[i].sum, from->v[i].count);
}

double tn_metrics_get(const tn_metrics *m, int i) {
    if (i < 0 || i >= m->n || m->v[i].count <= 0) return NAN;
    return m->v[i].kind == TN_METRIC_MEAN ? m->v[i].sum / m->v[i].count : m->v[i].sum;
}

double tn_metrics_find(const tn_metrics *m, const char *name) {
    return tn_metrics_get(m, metric_at(m, name));
}
