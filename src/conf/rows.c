/* Rows of option tables: their order, their names, and the words that people read of them. */
#include "conf/internal.h"
#include <string.h>

static const tn_opt_row config_row = {
    .name = "config",
    .type = TN_OPT_STRING,
    .offset = TN_OPT_NOFIELD,
    .metavar = "FILE",
    .help = "YAML recipe with options of this verb; the command line wins over it."};

const tn_opt_row *tn_conf_row(const tn_verb *v, int i) {
    for (const tn_opt_row *const *t = v->tables; t && *t; t++)
        for (const tn_opt_row *r = *t; r->type != TN_OPT_END; r++) {
            bool again = false; /* one option shared by two tables */
            for (const tn_opt_row *const *u = v->tables; u < t && !again; u++)
                for (const tn_opt_row *q = *u; q->type != TN_OPT_END && !again; q++)
                    again = !strcmp(q->name, r->name);
            if (!again && i-- == 0) return r;
        }
    return i == 0 ? &config_row : NULL;
}

int tn_conf_most_rows(const tn_verb *v) {
    int n = 1;
    for (const tn_opt_row *const *t = v->tables; t && *t; t++)
        for (const tn_opt_row *r = *t; r->type != TN_OPT_END; r++) n++;
    return n;
}

int tn_conf_rows(const tn_verb *v, const tn_opt_row **out) {
    int n = 0;
    for (const tn_opt_row *const *t = v->tables; t && *t; t++)
        for (const tn_opt_row *r = *t; r->type != TN_OPT_END; r++) {
            int k = 0;
            while (k < n && strcmp(out[k]->name, r->name) != 0) k++;
            if (k == n) out[n++] = r;
        }
    out[n++] = &config_row;
    return n;
}

const char *tn_conf_word(const char **s, char sep, size_t *n) {
    const char *word = *s;
    if (!word || !*word) return NULL;
    const char *end = strchr(word, sep);
    *n = end ? (size_t)(end - word) : strlen(word);
    *s = end ? end + 1 : word + *n;
    return word;
}

static bool same_name(const char *a, size_t na, const char *b, size_t nb) {
    if (na != nb) return false;
    for (size_t i = 0; i < na; i++)
        if ((a[i] == '_' ? '-' : a[i]) != (b[i] == '_' ? '-' : b[i])) return false;
    return true;
}

bool tn_conf_called(const tn_opt_row *r, const char *name, size_t n) {
    const char *list = r->synonyms, *word;
    size_t len;
    if (same_name(name, n, r->name, strlen(r->name))) return true;
    while ((word = tn_conf_word(&list, ' ', &len)))
        if (same_name(name, n, word, len)) return true;
    return false;
}

const tn_opt_row *tn_verb_option(const tn_verb *v, const char *name, size_t n) {
    for (const tn_opt_row *const *t = v->tables; t && *t; t++)
        for (const tn_opt_row *r = *t; r->type != TN_OPT_END; r++)
            if (tn_conf_called(r, name, n)) return r;
    return tn_conf_called(&config_row, name, n) ? &config_row : NULL;
}

static bool on_by_default(const tn_opt_row *r) {
    return r->type == TN_OPT_BOOL && r->def && !strcmp(r->def, "true");
}

static const char *value_name(const tn_opt_row *r) {
    if (r->metavar) return r->metavar;
    switch (r->type) {
    case TN_OPT_INT: return "N";
    case TN_OPT_REAL: return "X";
    case TN_OPT_CHOICE: return "NAME";
    default: return "TEXT";
    }
}

void tn_conf_row_head(const tn_opt_row *r, tn_str *out) {
    tn_str_addf(out, "--%s%s", on_by_default(r) ? "no-" : "", r->name);
    if (r->type != TN_OPT_BOOL)
        tn_str_addf(out, " %s%s", value_name(r), r->type == TN_OPT_LIST ? " ..." : "");
}

void tn_conf_row_text(const tn_opt_row *r, tn_str *out) {
    const char *list = r->type == TN_OPT_CHOICE ? r->choices : NULL, *word, *before = " One of ";
    size_t n;
    tn_str_addz(out, r->help ? r->help : "");
    for (; (word = tn_conf_word(&list, '|', &n)); before = ", ")
        tn_str_addf(out, "%s%.*s", before, (int)n, word);
    if (r->type == TN_OPT_CHOICE) tn_str_addc(out, '.');
    if (on_by_default(r)) tn_str_addz(out, " (on by default)");
    else if (r->def && *r->def && r->type != TN_OPT_BOOL)
        tn_str_addf(out, " (default %s)", r->def);
    if (r->synonyms) tn_str_addf(out, " Also: %s.", r->synonyms);
}
