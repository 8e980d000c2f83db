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

static void help_row(FILE *f, const tn_opt_row *r) {
    tn_str head = TN_STR_INIT, text = TN_STR_INIT;
    tn_conf_row_head(r, &head);
    tn_conf_row_text(r, &text);
    fprintf(f, "  %s", head.s);
    if (head.len + 4 > HELP_INDENT) fprintf(f, "\n%*s", HELP_INDENT, "");
    else fprintf(f, "%*s", (int)(HELP_INDENT - 2 - head.len), "");
    print_wrapped(f, text.s, HELP_INDENT, HELP_INDENT);
    tn_str_free(&head);
    tn_str_free(&text);
}

void tn_help_verb(const tn_verb *v, FILE *f) {
    fprintf(f, "Usage: tenet %s%s%s [--option value]...\n\n", v->name, v->positional ? " " : "",
            v->positional ? v->positional : "");
    print_wrapped(f, v->summary, 0, 0);
    if (v->details) {
        fputc('\n', f);
        fprintf(f, "%s%s", v->details,
                v->details[0] && v->details[strlen(v->details) - 1] == '\n' ? "" : "\n");
    }
    fprintf(f, "\nOptions (dashes and underscores are the same):\n");
    for (int i = 0; tn_conf_row(v, i); i++) help_row(f, tn_conf_row(v, i));
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
            fprintf(f, "  %-16s", (*u)->name);
            print_wrapped(f, (*u)->summary, 18, 18);
        }
    }
    fprintf(f, "\n'tenet VERB --help' explains a verb and lists its options; 'tenet --version' "
               "gives the version.\n");
}
