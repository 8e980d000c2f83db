/* Manual pages in man(7) macros, made from the option tables. */
#include "conf/internal.h"
#include <string.h>

/* One character; what is not ASCII by its number. Returns its bytes. */
static size_t put_char(FILE *f, const unsigned char *s) {
    size_t n = *s < 0xC0 ? 1 : *s < 0xE0 ? 2 : *s < 0xF0 ? 3 : 4;
    unsigned c = n == 1 ? *s : *s & (0xFFu >> (n + 1));
    for (size_t i = 1; i < n; i++) c = c << 6 | (s[i] & 63);
    static const char special[] = "\\-'`^~"; /* else typeset as quotes, hyphens and accents */
    static const char *const written[] = {"\\e", "\\-", "\\(aq", "\\(ga", "\\(ha", "\\(ti"};
    const char *at = n == 1 && c ? strchr(special, (int)c) : NULL;
    if (at) fputs(written[at - special], f);
    else if (n == 1) fputc((int)c, f);
    else fprintf(f, "\\[u%04X]", c);
    return n;
}

/* Text of one line; a leading dot would be a request. */
static void put_text(FILE *f, const char *s, size_t n) {
    if (n && *s == '.') fputs("\\&", f);
    for (size_t i = 0; i < n;) i += put_char(f, (const unsigned char *)s + i);
}

static void put_z(FILE *f, const char *s) { put_text(f, s, strlen(s)); }

/* Paragraphs as they stand, indented lines (commands, examples) unfilled. */
static void put_details(FILE *f, const char *s) {
    bool unfilled = false, pending = false;
    const char *line;
    size_t n;
    while ((line = tn_conf_word(&s, '\n', &n))) {
        bool indented = n && *line == ' ';
        if (n == 0) {
            pending = true;
            continue;
        }
        if (unfilled && !indented) fputs(".fi\n.RE\n", f);
        if (pending) fputs(unfilled && indented ? "\n" : ".PP\n", f);
        if (indented && !unfilled) fputs(".RS 2\n.nf\n", f);
        size_t skip = indented ? n < 2 || line[1] != ' ' ? 1 : 2 : 0;
        put_text(f, line + skip, n - skip);
        fputc('\n', f);
        unfilled = indented;
        pending = false;
    }
    if (unfilled) fputs(".fi\n.RE\n", f);
}

static void put_row(FILE *f, const tn_opt_row *r) {
    tn_str head = TN_STR_INIT, text = TN_STR_INIT;
    tn_conf_row_head(r, &head);
    tn_conf_row_text(r, &text);
    size_t name = strcspn(head.s, " ");
    fputs(".TP\n\\fB", f);
    put_text(f, head.s, name);
    fputs("\\fR", f);
    if (head.s[name]) {
        fputs(" \\fI", f);
        put_z(f, head.s + name + 1);
        fputs("\\fR", f);
    }
    fputc('\n', f);
    put_z(f, text.s);
    fputc('\n', f);
    tn_str_free(&head);
    tn_str_free(&text);
}

static void put_head(FILE *f, const char *verb, const char *summary) {
    const char *dash = verb ? "-" : "";
    fprintf(f, ".\\\" Made by tenet from its option tables.\n.TH TENET");
    for (const char *s = dash; *s; s++) fputs("\\-", f);
    for (const char *s = verb ? verb : ""; *s; s++)
        if (*s == '-') fputs("\\-", f);
        else fputc(*s >= 'a' && *s <= 'z' ? *s - 'a' + 'A' : *s, f);
    fprintf(f, " 1 %s \"tenet %s\" \"User Commands\"\n.SH NAME\n", TN_RELEASED, TN_VERSION);
    fputs("tenet", f);
    put_z(f, dash);
    put_z(f, verb ? verb : "");
    fputs(" \\- ", f);
    put_z(f, summary);
    fputs("\n.SH SYNOPSIS\n", f);
}

static void put_exit_status(FILE *f) {
    fputs(".SH EXIT STATUS\n"
          "0 done, 1 failed, 2 used wrongly, 130 interrupted after saving what there was.\n",
          f);
}

void tn_man_verb(const tn_verb *v, FILE *f) {
    put_head(f, v->name, v->summary);
    fputs("\\fBtenet ", f);
    put_z(f, v->name);
    fputs("\\fR ", f);
    if (v->positional) {
        fputs("\\fI", f);
        put_z(f, v->positional);
        fputs("\\fR ", f);
    }
    fputs("[\\fB\\-\\-option\\fR \\fIvalue\\fR]...\n", f);
    if (v->details) {
        fputs(".SH DESCRIPTION\n", f);
        put_details(f, v->details);
    }
    fputs(".SH OPTIONS\nDashes and underscores in names are the same.\n", f);
    for (int i = 0; tn_conf_row(v, i); i++) put_row(f, tn_conf_row(v, i));
    put_exit_status(f);
    fputs(".SH SEE ALSO\n.BR tenet (1)\n", f);
}

static void put_stage(const tn_verb *const *verbs, const char *stage, FILE *f) {
    fputs(".SS ", f);
    put_z(f, stage);
    fputc('\n', f);
    for (; *verbs; verbs++) {
        if (strcmp((*verbs)->stage, stage)) continue;
        fputs(".TP\n.BR tenet\\-", f);
        put_z(f, (*verbs)->name);
        fputs(" (1)\n", f);
        put_z(f, (*verbs)->summary);
        fputc('\n', f);
    }
}

void tn_man_all(const tn_verb *const *verbs, FILE *f) {
    put_head(f, NULL, "aligns language models with human and AI feedback");
    fputs("\\fBtenet\\fR \\fIVERB\\fR [\\fB\\-\\-option\\fR \\fIvalue\\fR]... "
          "[\\fB\\-\\-config\\fR \\fIrecipe.yaml\\fR]\n"
          ".br\n\\fBtenet help\\fR [\\fB\\-\\-man\\fR] [\\fIVERB\\fR]\n"
          ".SH DESCRIPTION\n"
          "Takes a language model (a Hugging Face folder) and feedback (JSONL) through "
          "supervised fine\\-tuning, reward modelling, PPO and DPO to an aligned model, and "
          "measures what the training did.\n"
          "Every option has the same name on the command line, in a YAML recipe and in the "
          "record of a run.\n"
          ".SH VERBS\n",
          f);
    for (const tn_verb *const *v = verbs; *v; v++) {
        bool done = false;
        for (const tn_verb *const *u = verbs; u < v; u++) done |= !strcmp((*u)->stage, (*v)->stage);
        if (!done) put_stage(verbs, (*v)->stage, f);
    }
    put_exit_status(f);
    fputs(".SH ENVIRONMENT\n"
          ".TP\n\\fBTENET_LOG\\fR\n"
          "Which messages go to standard error: error, warn, info (default) or debug.\n"
          ".TP\n\\fBNO_COLOR\\fR\nNo colours on a terminal.\n"
          ".TP\n\\fBSOURCE_DATE_EPOCH\\fR\n"
          "Seconds since 1970 that stand for now wherever a date would be written.\n",
          f);
}
