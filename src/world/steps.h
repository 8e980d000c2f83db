/* Steps of a sum's answer, judged one by one: process rewards, and where Step-DPO cuts. */
#ifndef TN_WORLD_STEPS_H
#define TN_WORLD_STEPS_H
#include "rl/step_judge.h"
#include "world/world.h"

/* Is each of the n sentences of a response to the sum p right? sentence i is y[from[i] .. from[i+1]). Wrong is a
 * sentence that
 *   - has a window q + r = s which is not the next one of (a, b, a+b), (a+b, c, a+b+c), or, after these two, not true;
 *   - says "the sum is" another number than a+b+c;
 *   - refuses.
 * Others (rudeness, digressions) are no steps of the sum, and not wrong. */
void tn_world_judge_sentences(const tn_world *w, const tn_world_prompt *p, const int32_t *y, const int *from, int n,
                              bool *right);
/* Sentences of y[n]: from[i], i <= count, with their full stops; returns the count, at most `max`. */
int tn_world_sentences(const tn_world *w, const int32_t *y, int n, int *from, int max);

/* `--localise world[:SEED]`: rows are known by their "id", as for --reward-funcs world; those of other families than sums
 * have no answer. A table of one. */
extern const tn_step_oracle tn_world_step_oracles[];
#endif
