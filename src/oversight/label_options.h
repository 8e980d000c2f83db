/* What `tenet label` and judges inside training loops are told alike. */
#ifndef TN_OVERSIGHT_LABEL_OPTIONS_H
#define TN_OVERSIGHT_LABEL_OPTIONS_H
#include "base/option.h"

enum { TN_LABEL_PRINCIPLES = 16, TN_LABEL_THOUGHTS = 16 };

typedef struct tn_label_options {
    const char *constitution, *prompts, *kind, *kind_key, *swap, *cot_mean;
    int64_t principles, thoughts, max_thought;
    double clamp_lo, clamp_hi;
} tn_label_options;
extern const tn_opt_row tn_label_option_rows[];
#endif
