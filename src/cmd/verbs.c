/* Table of verbs. */
#include "cmd/verbs.h"
#include <string.h>

const tn_verb *const tn_verbs[] = {
#define X(name) &tn_verb_##name,
    TN_VERBS(X)
#undef X
    NULL};

const tn_verb *tn_verb_find(const char *name) {
    for (const tn_verb *const *v = tn_verbs; *v; v++)
        if (!strcmp((*v)->name, name)) return *v;
    return NULL;
}

const char *tn_verb_nearest(const char *name) {
    const char *names[sizeof tn_verbs / sizeof *tn_verbs];
    size_t n = 0;
    for (const tn_verb *const *v = tn_verbs; *v; v++) names[n++] = (*v)->name;
    return tn_nearest(name, names, n);
}
