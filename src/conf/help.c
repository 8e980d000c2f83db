/* --help, made from the option tables. */
#include "conf/internal.h"
#include <string.h>

enum { HELP_WIDTH = 96, HELP_INDENT = 30 };

/* Words of `text` from column `col` on, broken at HELP_WIDTH, later lines indented. Newlines stay.
 */
static void print_wrapped(FILE *f, const char *text, int col, int indent) {
    bool fresh = true;
    while (*text) {
        if (*text == '\n') {
            fprintf(f, "\n%*s", indent, "");
            col = indent;
            fresh = true;
            text++;
            continue;
        }
        if (*text == ' ') {
            text++;
            continue;
        }
        int n = (int)strcspn(text, " \n");
        if (!fresh && col + 1 + n > HELP_WIDTH) {
            fprintf(f, "\n%*s", indent, "");
            col = indent;
            fresh = true;
        }
        fprintf(f, "%s%.*s", fresh ? "" : " ", n, text);
        col += n + !fresh;
        fresh = false;
        text += n;
    }
    fputc('\n', f);
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

static void add_choices(tn_str *text, const char *c) {
    tn_str_addz(text, " One of ");
    for (; *c; c++) {
        if (*c == '|') tn_str_addz(text, ", ");
        else tn_str_addc(text, *c);
    }
    tn_str_addc(text, '.');
}

static void help_row(FILE *f, const tn_opt_row *r) {
    tn_str head = TN_STR_INIT, text = TN_STR_INIT;
    tn_str_addf(&head, "  --%s", r->name);
    if (r->type == TN_OPT_BOOL && r->def && !strcmp(r->def, "true")) {
        tn_str_clear(&head);
        tn_str_addf(&head, "  --no-%s", r->name);
    } else if (r->type == TN_OPT_LIST) {
        tn_str_addf(&head, " %s ...", value_name(r));
    } else if (r->type != TN_OPT_BOOL) {
        tn_str_addf(&head, " %s", value_name(r));
    }
    tn_str_addz(&text, r->help ? r->help : "");
    if (r->type == TN_OPT_CHOICE) add_choices(&text, r->choices);
    if (r->type == TN_OPT_BOOL && r->def && !strcmp(r->def, "true"))
        tn_str_addz(&text, " (on by default)");
    else if (r->def && *r->def && r->type != TN_OPT_BOOL)
        tn_str_addf(&text, " (default %s)", r->def);
    if (r->synonyms) tn_str_addf(&text, " Also: %s.", r->synonyms);
    fputs(head.s, f);
    if (head.len + 2 > HELP_INDENT) fprintf(f, "\n%*s", HELP_INDENT, "");
    else fprintf(f, "%*s", (int)(HELP_INDENT - head.len), "");
    print_wrapped(f, text.s, HELP_INDENT, HELP_INDENT);
    tn_str_free(&head);
    tn_str_free(&text);
}

void tn_help_verb(const tn_verb *v, FILE *f) {
    static const tn_opt_row common[] = {
        {.name = "config", .type = TN_OPT_STRING, .metavar = "FILE",
         .help = "YAML recipe with options of this verb; the command line wins over it."},
        TN_OPT_LAST};
    fprintf(f, "Usage: tenet %s%s%s [--option value]...\n\n", v->name, v->positional ? " " : "",
            v->positional ? v->positional : "");
    print_wrapped(f, v->summary, 0, 0);
    if (v->details) {
        fputc('\n', f);
        fprintf(f, "%s%s", v->details,
                v->details[0] && v->details[strlen(v->details) - 1] == '\n' ? "" : "\n");
    }
    fprintf(f, "\nOptions (dashes and underscores are the same):\n");
    for (const tn_opt_row *const *t = v->tables; t && *t; t++)
        for (const tn_opt_row *r = *t; r->type != TN_OPT_END; r++) {
            bool again = false; /* a name that an earlier table has */
            for (const tn_opt_row *const *u = v->tables; u < t && !again; u++)
                for (const tn_opt_row *q = *u; q->type != TN_OPT_END; q++)
                    again |= !strcmp(q->name, r->name);
            if (!again) help_row(f, r);
        }
    help_row(f, common);
}

void tn_help_all(const tn_verb *const *verbs, FILE *f) {
    fprintf(f, "tenet: aligns language models with human and AI feedback.\n\n"
               "Usage: tenet VERB [--option value]... [--config recipe.yaml]\n");
    for (const tn_verb *const *v = verbs; *v; v++) {
        bool done = false; /* this stage has been printed with an earlier verb */
        for (const tn_verb *const *u = verbs; u < v; u++) done |= !strcmp((*u)->stage, (*v)->stage);
        if (done) continue;
        fprintf(f, "\n%s\n", (*v)->stage);
        for (const tn_verb *const *u = v; *u; u++) {
            if (strcmp((*u)->stage, (*v)->stage)) continue;
            fprintf(f, "  %-12s", (*u)->name);
            print_wrapped(f, (*u)->summary, 14, 14);
        }
    }
    fprintf(f, "\n'tenet VERB --help' explains a verb and lists its options; 'tenet --version' "
               "gives the version.\n");
}
