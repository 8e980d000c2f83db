/* Values, rewards and advantages of macro actions: the options framework (Sutton et al. 1999) on
 * tokens, as in MA-RLHF. GAE itself is tn_gae, whose steps are macros here. */
#include "algo/macro.h"

double tn_macro_share(tn_macro_weight w, int i, int n) {
    return w == TN_MACRO_EQUAL ? 1 : w == TN_MACRO_POSITION ? 1.0 / (i + 1) : i == n - 1;
}

double tn_macro_norm(tn_macro_weight w, int n) {
    double sum = 0;
    if (w != TN_MACRO_POSITION) return w == TN_MACRO_EQUAL ? n : 1;
    for (int i = 0; i < n; i++) sum += 1.0 / (i + 1);
    return sum;
}

double tn_macro_mean(tn_macro_weight w, const double *v, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++) sum += tn_macro_share(w, i, n) * v[i];
    return n > 0 ? sum / tn_macro_norm(w, n) : 0;
}

static double discounted(const double *reward, int n, double gamma) {
    double sum = 0;
    for (int i = n - 1; i >= 0; i--) sum = reward[i] + gamma * sum;
    return sum;
}

void tn_macro_gae(tn_macro_weight w, bool mean_reward, const double *reward, const double *value,
                  double gamma, double lambda, tn_macros *a, double *advantage, double *ret,
                  tn_metrics *m) {
    int n = a->seq_off[a->n_seq];
    for (int k = 0; k < n; k++) {
        int t = a->off[k], len = a->off[k + 1] - t;
        a->value[k] = tn_macro_mean(w, value + t, len);
        a->reward[k] =
            mean_reward ? tn_macro_mean(w, reward + t, len) : discounted(reward + t, len, gamma);
    }
    tn_gae(a->n_seq, a->seq_off, a->reward, a->value, gamma, lambda, a->advantage, a->ret);
    for (int k = 0; k < n; k++)
        for (int t = a->off[k]; t < a->off[k + 1]; t++)
            advantage[t] = a->advantage[k], ret[t] = a->ret[k];
    tn_moments spread = {0};
    tn_moments_add(&spread, a->advantage, n);
    tn_metrics_mean(m, "macro/number", n, a->n_seq);
    tn_metrics_mean(m, "macro/length", n > 0 ? a->off[n] - a->off[0] : 0, n);
    tn_metrics_mean(m, "macro/advantage_var", spread.m2, n);
}
