#include "algo/losses.h"

/* Puts the k-th smallest at x[k], none larger before it, none smaller behind (Hoare's select). */
static double nth(double *x, int n, int k) {
    for (int lo = 0, hi = n - 1; lo < hi;) {
        double pivot = x[lo + (hi - lo) / 2];
        int i = lo, j = hi;
        while (i <= j) {
            while (x[i] < pivot) i++;
            while (x[j] > pivot) j--;
            if (i > j) break;
            double swap = x[i];
            x[i++] = x[j];
            x[j--] = swap;
        }
        if (k <= j)
            hi = j;
        else if (k >= i)
            lo = i;
        else
            break;
    }
    return x[k];
}

double tn_entropy_floor(double *entropy, int n, double top) {
    if (n < 1) return 0;
    /* torch.quantile's rank, in float32: the token that lies exactly there is one of the top */
    double at = (float)((float)(1 - top) * (float)(n - 1)), low, high;
    int k = (int)at;
    low = high = nth(entropy, n, k);
    for (int i = k + 1; i < n; i++)
        if (i == k + 1 || entropy[i] < high) high = entropy[i];
    return low + (at - k) * (high - low);
}
