#include "oversight/label.h"
#include <string.h>

#define AT(f) offsetof(tn_label_options, f)
const tn_opt_row tn_label_option_rows[] = {
    {"constitution", TN_OPT_STRING, AT(constitution), "constitutions/default.json", NULL, 0, 0, NULL, "FILE", "Principles (JSON or JSONL)."},
    {"prompts", TN_OPT_STRING, AT(prompts), "prompts/chat", NULL, 0, 0, NULL, "DIR",
     "Templates: prompts/chat for models with a chat template, prompts/text for base models, prompts/world, or your own."},
    {"prompt-kind", TN_OPT_STRING, AT(kind), "red_team", NULL, 0, 0, NULL, "NAME", "Kind of all prompts, for the principles' applies_to and weights."},
    {"kind-key", TN_OPT_STRING, AT(kind_key), NULL, NULL, 0, 0, NULL, "KEY", "Key of the rows that names each prompt's kind, e.g. family."},
    {"principles", TN_OPT_INT, AT(principles), "1", NULL, 0, TN_LABEL_PRINCIPLES, NULL, "N",
     "Principles drawn for each judgement; 0: all that apply, weighted."},
    {"swap-mean", TN_OPT_CHOICE, AT(swap), "probs", "probs|logits", 0, 0, NULL, NULL,
     "How the two orders are put together: mean of probabilities, or of logits (a constant bias of position drops out)."},
    {"thoughts", TN_OPT_INT, AT(thoughts), "0", NULL, 0, TN_LABEL_THOUGHTS, "cot", "N", "Chains of thought sampled before each answer."},
    {"cot-mean", TN_OPT_CHOICE, AT(cot_mean), "mean_then_clamp", "plain|mean_then_clamp|clamp_then_mean", 0, 0, NULL, NULL,
     "Labels after chains of thought are near 0 or 1: clamp them, after averaging or before."},
    {"clamp-low", TN_OPT_REAL, AT(clamp_lo), "0.4", NULL, 0, 0.5, NULL, "P", "Least label after a chain of thought."},
    {"clamp-high", TN_OPT_REAL, AT(clamp_hi), "0.6", NULL, 0.5, 1, NULL, "P", "Largest."},
    {"max-thought-tokens", TN_OPT_INT, AT(max_thought), "160", NULL, 1, 1 << 20, NULL, "N", "Longest chain of thought."},
    TN_OPT_LAST};

void tn_labelling_set(tn_labelling *l, const tn_label_options *o) {
    l->kind = o->kind, l->kind_key = o->kind_key;
    l->principles = (int)o->principles, l->thoughts = (int)o->thoughts;
    l->clamp_lo = o->clamp_lo, l->clamp_hi = o->clamp_hi;
    l->swap = !strcmp(o->swap, "logits") ? TN_SWAP_LOGITS : TN_SWAP_PROBS;
    l->cot = !strcmp(o->cot_mean, "plain") ? TN_COT_PLAIN : !strcmp(o->cot_mean, "clamp_then_mean") ? TN_COT_CLAMP_THEN_MEAN : TN_COT_MEAN_THEN_CLAMP;
    l->reason.top_p = 1, l->reason.max_new = (int)o->max_thought;
}
