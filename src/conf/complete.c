/* Completion of command lines: the same answers for every shell, from the option tables. */
#include "conf/internal.h"
#include <string.h>

typedef struct guess {
    FILE *f;
    const char *begin; /* what has been typed of the word */
    bool files, dirs;
} guess;

/* `about` (may be NULL): its first sentence is said. */
static void offer(const guess *g, const char *word, size_t n, const char *about) {
    if (strlen(g->begin) > n || strncmp(word, g->begin, strlen(g->begin))) return;
    const char *end = about ? strstr(about, ". ") : NULL;
    fprintf(g->f, "%.*s", (int)n, word);
    if (about) fprintf(g->f, "\t%.*s", end ? (int)(end - about) : (int)strlen(about), about);
    fputc('\n', g->f);
}

static void offer_words(const guess *g, const char *list) {
    const char *word;
    size_t n;
    while ((word = tn_conf_word(&list, '|', &n))) offer(g, word, n, NULL);
}

/* Metavariables say what a value is: FILE, DIR, SOURCE (either), NAME=DIR, or words in lower case
 * that stand for themselves, with '|' between them. */
static void offer_metavar(guess *g, const char *metavar, size_t n) {
    const char *eq = memchr(metavar, '=', n), *word, *list;
    char text[128];
    snprintf(text, sizeof text, "%.*s", (int)n, metavar);
    for (list = text + (eq ? eq + 1 - metavar : 0); (word = tn_conf_word(&list, '|', &n));) {
        bool path = !strncmp(word, "FILE", n) || !strncmp(word, "SOURCE", n);
        if (path) g->files = true;
        else if (!strncmp(word, "DIR", n)) g->dirs = true;
        else if (*word >= 'a' && *word <= 'z') offer(g, word, n, NULL);
    }
}

static void offer_value(guess *g, const tn_opt_row *r) {
    if (r->type == TN_OPT_CHOICE) offer_words(g, r->choices);
    else if (r->type == TN_OPT_BOOL) offer_words(g, "true|false");
    else if (r->metavar) offer_metavar(g, r->metavar, strlen(r->metavar));
}

static const tn_opt_row *row_called(const tn_verb *v, const char *flag) {
    return tn_verb_option(v, flag + 2, strcspn(flag + 2, "="));
}

static bool is_flag(const char *s) { return s[0] == '-' && s[1] == '-'; }

/* Options that do not stand there yet; switches that are on by default as --no-x. */
static void offer_options(const guess *g, const tn_verb *v, const char *const *words, int n) {
    const tn_opt_row *r;
    for (int i = 0; (r = tn_conf_row(v, i)); i++) {
        tn_str head = TN_STR_INIT;
        bool there = false;
        for (int k = 0; k < n && !there; k++)
            there = is_flag(words[k]) && row_called(v, words[k]) == r && r->type != TN_OPT_LIST;
        tn_conf_row_head(r, &head);
        if (!there) offer(g, head.s, strcspn(head.s, " "), r->help);
        tn_str_free(&head);
    }
    offer(g, "--help", 6, "Explains the verb and its options.");
}

/* The place-th word of "SOURCE [DIR]..."; the last one may repeat. */
static void offer_positional(guess *g, const tn_verb *v, int place) {
    const char *list = v->positional, *word, *last = NULL;
    size_t n, len = 0;
    if (place == 0 && v->words) {
        offer_words(g, v->words);
        return;
    }
    while ((word = tn_conf_word(&list, ' ', &n))) {
        last = word, len = n;
        if (place-- == 0) break;
    }
    if (!last || (place >= 0 && !memchr(last, '.', len))) return;
    if (*last == '[') last++, len--;
    offer_metavar(g, last, strcspn(last, "]. ") < len ? strcspn(last, "]. ") : len);
}

/* Which option the word after words[0..n) belongs to, if any, and how many positional arguments
 * stand before it. A list goes on until the next option. */
static const tn_opt_row *option_before(const tn_verb *v, const char *const *words, int n,
                                       bool *only_positional, int *place) {
    const tn_opt_row *open = NULL;
    *only_positional = false;
    *place = 0;
    for (int i = 0; i < n; i++) {
        if (*only_positional || !is_flag(words[i])) {
            if (!open) ++*place;
            else if (open->type != TN_OPT_LIST) open = NULL;
        } else if (!words[i][2]) {
            *only_positional = true;
            open = NULL;
        } else {
            open = strchr(words[i], '=') ? NULL : row_called(v, words[i]);
            if (open && open->type == TN_OPT_BOOL) open = NULL;
        }
    }
    return open;
}

static void complete_argument(guess *g, const tn_verb *v, const char *const *words, int n) {
    bool only_positional;
    int place;
    const char *now = words[n - 1], *eq = strchr(now, '=');
    const tn_opt_row *r = option_before(v, words, n - 1, &only_positional, &place);
    bool flag = is_flag(now) && !only_positional;
    if (flag && eq) r = row_called(v, now);
    if (eq) g->begin = eq + 1;
    if (r && (eq || !flag)) offer_value(g, r);
    if (flag ? !eq : !*now && (!r || r->type == TN_OPT_LIST) && !only_positional)
        offer_options(g, v, words, n - 1);
    if (!r && !flag) offer_positional(g, v, place);
}

static const tn_verb *verb_called(const tn_verb *const *verbs, const char *name) {
    for (; *verbs; verbs++)
        if (!strcmp((*verbs)->name, name)) return *verbs;
    return NULL;
}

void tn_complete(const tn_verb *const *verbs, const char *const *words, int n, FILE *f) {
    guess g = {.f = f, .begin = n > 0 ? words[n - 1] : ""};
    bool help = n > 1 && !strcmp(words[0], "help");
    if (n <= 1 || help) {
        for (const tn_verb *const *v = verbs; *v; v++)
            offer(&g, (*v)->name, strlen((*v)->name), (*v)->summary);
        if (help) offer(&g, "--man", 5, "As a manual page.");
        else offer(&g, "help", 4, "Explains a verb."), offer_words(&g, "--help|--version");
    } else {
        const tn_verb *v = verb_called(verbs, words[0]);
        if (v) complete_argument(&g, v, words + 1, n - 1);
    }
    fprintf(f, ":%s\n", g.files ? "files" : g.dirs ? "dirs" : "none");
}
