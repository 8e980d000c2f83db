/* Rotary position tables, as transformers' modeling_rope_utils computes them.
 *
 * Its arithmetic is float32 where it works on tensors and double where it works on Python numbers;
 * the order and the roundings here are the same, so that an angle pos * inv_freq[i] is the same
 * float. With b = rope_theta, n = rot_dim:
 *   default   f_i = 1 / b^(2i/n)
 *   linear    f_i / factor
 *   dynamic   default up to max_position_embeddings, refused beyond (it depends on each sequence)
 *   llama3    by wavelength w = 2 pi / f: short ones kept, long ones / factor, smooth in between
 *   yarn      ramp between 1/b^(2i/n) and 1/(factor b^(2i/n)); cos, sin times an attention factor
 *   longrope  1 / (ext_i b^(2i/n)), ext by the longest sequence; cos, sin times an attention factor
 */
#include "base/mathx.h"
#include "model/desc.h"
#include <math.h>

#define PI 3.141592653589793

/* b^(2i/n) in float: base and exponent are floats, the power is rounded once. */
static float power(float base, int i, int n) {
    float x = (float)(2 * i) / (float)n;
    return (float)tn_pow((double)base, (double)x);
}

static void llama3(const tn_rope *r, float *f, int half) {
    double old = r->original_max, low = r->low_freq_factor, high = r->high_freq_factor;
    float low_wave = (float)(old / low), high_wave = (float)(old / high), factor = (float)r->factor;
    for (int i = 0; i < half; i++) {
        float inverse = 1 / f[i], wave = inverse * (float)(2 * PI);
        float kept = wave > low_wave ? f[i] / factor : f[i];
        float turns = (1 / wave) * (float)old; /* torch divides a number by a tensor this way */
        float smooth = (turns - (float)low) / (float)(high - low);
        float a = (1 - smooth) * kept / factor, b = smooth * kept;
        bool medium = !(wave < high_wave) && !(wave > low_wave);
        f[i] = medium ? a + b : kept;
    }
}

/* Dimension that turns `rotations` times within the original length. */
static double correction_dim(double rotations, int n, double base, int original) {
    return n * tn_log(original / (rotations * 2 * PI)) / (2 * tn_log(base));
}

static void yarn(const tn_rope *r, float *f, int half) {
    int n = r->rot_dim;
    double fast = r->beta_fast != 0 ? r->beta_fast : 32,
           slow = r->beta_slow != 0 ? r->beta_slow : 1;
    double low = correction_dim(fast, n, r->theta, r->original_max);
    double high = correction_dim(slow, n, r->theta, r->original_max);
    if (r->truncate) {
        low = floor(low);
        high = ceil(high);
    }
    if (low < 0) low = 0;
    if (high > n - 1) high = n - 1;
    if (low == high) high += 0.001;
    for (int i = 0; i < half; i++) {
        float ramp = ((float)i - (float)low) / (float)(high - low);
        ramp = ramp < 0 ? 0 : ramp > 1 ? 1 : ramp;
        float p = power((float)r->theta, i, n), keep = 1 - ramp;
        float extra = 1 / p, inter = 1 / ((float)r->factor * p);
        float a = inter * (1 - keep), b = extra * keep;
        f[i] = a + b;
    }
}

static double mscale(double scale, double m) {
    return scale <= 1 ? 1 : 0.1 * m * tn_log(scale) + 1;
}

static double attention_factor(const tn_rope *r) {
    if (r->type != TN_ROPE_YARN && r->type != TN_ROPE_LONGROPE) return 1;
    if (r->attention_factor != 0) return r->attention_factor;
    if (r->type == TN_ROPE_LONGROPE)
        return r->factor <= 1 ? 1 : sqrt(1 + tn_log(r->factor) / tn_log(r->original_max));
    if (r->mscale != 0 && r->mscale_all_dim != 0)
        return mscale(r->factor, r->mscale) / mscale(r->factor, r->mscale_all_dim);
    return mscale(r->factor, 1);
}

static tn_status frequencies(const tn_desc *d, int seq_len, float *f, tn_err *e) {
    const tn_rope *r = &d->rope;
    int n = r->rot_dim, half = n / 2;
    for (int i = 0; i < half; i++) f[i] = 1 / power((float)r->theta, i, n);
    switch (r->type) {
    case TN_ROPE_DEFAULT: break;
    case TN_ROPE_LINEAR:
        for (int i = 0; i < half; i++) f[i] /= (float)r->factor;
        break;
    case TN_ROPE_DYNAMIC:
        if (seq_len > d->max_pos)
            return tn_fail(
                e, TN_UNSUPPORTED,
                "dynamic RoPE changes with each sequence's length beyond "
                "max_position_embeddings; %d tokens were asked for, up to %d are supported "
                 "(shorten "
                "them, e.g. with --max-length)",
                seq_len, d->max_pos);
        break;
    case TN_ROPE_LLAMA3: llama3(r, f, half); break;
    case TN_ROPE_YARN: yarn(r, f, half); break;
    case TN_ROPE_LONGROPE: {
        const double *ext = seq_len > r->original_max ? r->long_factor : r->short_factor;
        for (int i = 0; i < half; i++) f[i] = 1 / ((float)ext[i] * power((float)r->theta, i, n));
        break;
    }
    }
    return TN_OK;
}

tn_status tn_rope_tables(const tn_desc *d, int n_pos, int seq_len, double *cos, double *sin,
                         tn_err *e) {
    float f[TN_MAX_HEAD_DIM / 2];
    int half = d->rope.rot_dim / 2;
    if (n_pos > 1 << 20 || seq_len > 1 << 20)
        return tn_fail(e, TN_UNSUPPORTED, "%d positions are asked for; up to %d are supported",
                       n_pos, 1 << 20);
    TN_TRY(frequencies(d, seq_len, f, e));
    double scale = (double)(float)attention_factor(&d->rope);
    for (int p = 0; p < n_pos; p++)
        for (int i = 0; i < half; i++) {
            double angle = (double)((float)p * f[i]);
            cos[(size_t)p * (size_t)half + (size_t)i] = tn_cos(angle) * scale;
            sin[(size_t)p * (size_t)half + (size_t)i] = tn_sin(angle) * scale;
        }
    return TN_OK;
}
