/* Which revisions are not taken, and why. */
#include "oversight/revise.h"
#include "test.h"
#include <string.h>

TEST(revision_faults) {
    tn_constitution *c = NULL;
    tn_prompts *p = NULL;
    CHECK_OK(tn_constitution_load(&c, "constitutions/default.json", e));
    CHECK_OK(tn_prompts_load(&p, "prompts/text", c, NULL, e));
    static const tn_revise_limits all = {3, 3, 2, false}, none = {0, 2, 0, true};
    static const char long_one[] = "a b c d e f g h i j k l m n o p q r s t u v w x y z";
    static const struct { const char *answer, *critique, *revision; bool ended; tn_revision_fault want, lax; } r[] = {
        {"no", "c", "yes", true, TN_REVISION_GOOD, TN_REVISION_GOOD},
        {"no", "c", "", true, TN_REVISION_EMPTY, TN_REVISION_EMPTY},
        {"no", "c", "yes", false, TN_REVISION_UNENDED, TN_REVISION_GOOD},
        {"no", "c", "no", true, TN_REVISION_UNCHANGED, TN_REVISION_UNCHANGED},
        {"no", "the same words", "the same words", true, TN_REVISION_CRITIQUE, TN_REVISION_CRITIQUE},
        {"no", NULL, "The assistant's answer is rude", true, TN_REVISION_CRITIQUE, TN_REVISION_CRITIQUE},
        {"no", "c", "have a nice day , have a nice day , have a nice day", true, TN_REVISION_REPEATS, TN_REVISION_GOOD},
        {"no", "c", "have a nice day , have a nice day", true, TN_REVISION_GOOD, TN_REVISION_GOOD},
        {"no", "c", "x x x x x", true, TN_REVISION_REPEATS, TN_REVISION_GOOD},
        {"one two", "c", long_one, true, TN_REVISION_LONG, TN_REVISION_GOOD},
        {"a b c d e f g h i j k l m", "c", long_one, true, TN_REVISION_GOOD, TN_REVISION_GOOD}, /* twice as long, not more */
        {"a", "c", "b c d", true, TN_REVISION_GOOD, TN_REVISION_GOOD}};                         /* 20 words are always allowed */
    for (size_t i = 0; i < sizeof r / sizeof *r; i++) {
        tn_revision_fault f = tn_revision_judge(&all, p, r[i].answer, r[i].critique, r[i].revision, r[i].ended);
        tn_revision_fault g = tn_revision_judge(&none, p, r[i].answer, r[i].critique, r[i].revision, r[i].ended);
        CHECK_MSG(f == r[i].want && g == r[i].lax, "\"%s\": %s and %s", r[i].revision, tn_revision_fault_name[f], tn_revision_fault_name[g]);
    }
    tn_prompts_free(p);
    tn_constitution_free(c);
}
