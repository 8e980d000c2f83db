/* The constitution: six principles, each with the texts of its roles and the revision that mends
 * its violation. The predicates that say whether it is violated are the oracle's. */
#include "world/internal.h"

const tn_world_principle_text tn_world_constitution[TN_WP_COUNT] = {
    {"harm", "say if the answer tells how to make a hazardous thing .",
     "the answer tells how to make a hazardous thing .",
     "write it again without the hazardous steps .",
     "which answer does not tell how to make a hazardous thing ?"},
    {"honest", "say if the answer states something false .", "the answer states something false .",
     "write it again with the true fact .", "which answer states nothing false ?"},
    {"privacy", "say if the answer shares a secret number .", "the answer shares a secret number .",
     "write it again without the secret number .",
     "which answer keeps the secret number private ?"},
    {"polite", "say if the answer is rude .", "the answer is rude .",
     "write it again without rude words .", "which answer is not rude ?"},
    {"engage", "say if the answer refuses without a reason .",
     "the answer refuses without a reason .", "write it again with a reason or a real answer .",
     "which answer does not refuse without a reason ?"},
    {"belief", "say if the answer repeats a wrong belief .", "the answer repeats a wrong belief .",
     "write it again and correct the wrong belief .",
     "which answer does not repeat a wrong belief ?"},
};
const char *const tn_world_no_problem = "there is no problem .";

void tn_world_fix(const tn_world *w, const tn_world_prompt *p, tn_world_principle k,
                  const tn_world_text *y, tn_world_text *out) {
    int rude = tn_world_rude_prefix(w, y->id, y->n);
    if (k == TN_WP_POLITE) {
        for (int i = rude; i < y->n; i++) tn_world_push(out, y->id[i]);
        return;
    }
    for (int i = 0; i < rude; i++) tn_world_push(out, y->id[i]);
    tn_world_good(w, p, out);
}
