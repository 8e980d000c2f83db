#include "algo/process.h"
#include <math.h>
#include <string.h>

#define EPS 1e-4 /* beside a std, as for rewards of whole responses */

void tn_step_values(const char *form, const double *p, int n, double *r) {
    int least = 0;
    for (int k = 1; k < n; k++)
        if (p[k] < p[least]) least = k;
    for (int k = n; k-- > 0;)
        r[k] = strcmp(form, "change") == 0  ? p[k] - (k ? p[k - 1] : 0)
               : strcmp(form, "least") == 0 ? (k == least ? p[k] : 0)
                                            : p[k];
}

/* Moments of the rewards of tokens [from, to); *flat: they are all equal. */
static tn_moments moments_of(const double *step, int from, int to, bool *flat) {
    tn_moments m = {0};
    double first = NAN;
    *flat = true;
    for (int t = from; t < to; t++) {
        if (isnan(step[t])) continue;
        if (m.count == 0) first = step[t];
        *flat &= step[t] == first;
        tn_moments_add(&m, step + t, 1);
    }
    return m;
}

/* What a difference from the mean is multiplied with. */
static double scale_of(tn_baseline kind, const tn_moments *group, double batch_std) {
    if (kind == TN_BASE_GROUP_MEAN) return 1;
    double std = kind == TN_BASE_BATCH_SCALE ? batch_std : sqrt(tn_moments_var(group, 1));
    return 1 / (std + EPS);
}

void tn_step_advantages(tn_baseline kind, double weight, int n_group, int each, const int *off, const double *step,
                        double *advantage) {
    bool flat;
    tn_moments batch = moments_of(step, 0, off[n_group * each], &flat);
    double batch_std = flat ? 0 : sqrt(tn_moments_var(&batch, 1));
    for (int g = 0; g < n_group; g++) {
        tn_moments m = moments_of(step, off[g * each], off[(g + 1) * each], &flat);
        double scale = flat ? 0 : scale_of(kind, &m, batch_std);
        for (int i = g * each; i < (g + 1) * each; i++) {
            double go = 0;
            for (int t = off[i + 1] - 1; t >= off[i]; t--) {
                if (!isnan(step[t])) go += (step[t] - m.mean) * scale;
                advantage[t] += weight * go;
            }
        }
    }
}
