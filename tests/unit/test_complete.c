/* What shells are told about a command line; manual pages. */
#include "conf/conf.h"
#include "test.h"
#include <stdlib.h>

static const tn_opt_row rows[] = {
    {"model", TN_OPT_STRING, TN_OPT_NOFIELD, NULL, NULL, 0, 0, "model_name_or_path", "DIR",
     "Model folder. More about it."},
    {"data", TN_OPT_LIST, TN_OPT_NOFIELD, NULL, NULL, 0, 0, NULL, "FILE", "Rows."},
    {"runs", TN_OPT_LIST, TN_OPT_NOFIELD, NULL, NULL, 0, 0, NULL, "NAME=DIR", "Runs."},
    {"resume", TN_OPT_STRING, TN_OPT_NOFIELD, NULL, NULL, 0, 0, NULL, "DIR|latest", "Go on."},
    {"loss-type", TN_OPT_CHOICE, TN_OPT_NOFIELD, "ipo", "ipo|hinge|sigmoid", 0, 0, NULL, NULL,
     "Loss \\ \"\xCE\xB2\"."},
    {"packing", TN_OPT_BOOL, TN_OPT_NOFIELD, "true", NULL, 0, 0, NULL, NULL, ".Pack."},
    {"seed", TN_OPT_INT, TN_OPT_NOFIELD, NULL, NULL, 0, 0, NULL, NULL, "Seed."},
    TN_OPT_LAST};
static const tn_opt_row *const tables[] = {rows, rows, NULL};
static const tn_verb train = {.name = "train",
                              .stage = "A",
                              .summary = "trains",
                              .details = "One.\nTwo.\n\n  tenet train --x\n\nThree.",
                              .tables = tables};
static const tn_verb convert = {
    .name = "convert", .stage = "A", .summary = "converts", .positional = "SOURCE [DIR]..."};
static const tn_verb world = {.name = "world",
                              .stage = "B",
                              .summary = "a world",
                              .positional = "SET",
                              .words = "text|test|sft"};
static const tn_verb *const verbs[] = {&train, &convert, &world, NULL};

/* The answer to words separated by single blanks, lines joined by ';', descriptions cut off. */
static const char *answer(const char *line, bool with_about) {
    static char out[4096];
    char buf[512], *text = NULL;
    const char *words[32];
    size_t n = 0;
    int k = 0;
    snprintf(buf, sizeof buf, "%s", line);
    for (char *s = buf;; s++) {
        words[k++] = s;
        s += strcspn(s, " ");
        if (!*s) break;
        *s = 0;
    }
    FILE *f = open_memstream(&text, &n);
    tn_complete(verbs, words, k, f);
    fclose(f);
    char *o = out;
    bool skip = false;
    for (char *s = text; *s && o < out + sizeof out - 1; s++) {
        if (*s == '\t' && !with_about) skip = true;
        if (*s == '\n') skip = false;
        if (!skip) *o++ = *s == '\n' ? ';' : *s;
    }
    *o = 0;
    free(text);
    return out;
}

#define ANSWER(line, want)                                                                         \
    CHECK_MSG(!strcmp(answer(line, false), want), "'%s': %s", line, answer(line, false))

TEST(conf_complete_words) {
    ANSWER("", "train;convert;world;help;--help;--version;:none;");
    ANSWER("tr", "train;:none;");
    ANSWER("help ", "train;convert;world;--man;:none;");
    ANSWER("none --x", ":none;");
    ANSWER("train --",
           "--model;--data;--runs;--resume;--loss-type;--no-packing;--seed;--config;--help;:none;");
    ANSWER("train --model x --loss-type ipo --packing --data a --",
           "--data;--runs;--resume;--seed;--config;--help;:none;");
    CHECK_MSG(!strcmp(answer("train --mod", true), "--model\tModel folder;:none;"), "%s",
              answer("train --mod", true));
}

TEST(conf_complete_values) {
    ANSWER("train --loss-type ", "ipo;hinge;sigmoid;:none;");
    ANSWER("train --loss_type h", "hinge;:none;");
    ANSWER("train --loss-type=s", "sigmoid;:none;");
    ANSWER("train --model x", ":dirs;");
    ANSWER("train --model_name_or_path x", ":dirs;");
    ANSWER("train --resume la", "latest;:dirs;");
    ANSWER("train --data a b", ":files;");
    ANSWER("train --runs a=x b=", ":dirs;");
    ANSWER("train --runs a=x --seed 3", ":none;");
    ANSWER("train --packing=t", "true;:none;");
    ANSWER("train --config r", ":files;");
    ANSWER("train --nothing x", ":none;");
    ANSWER("train --data a -- --lo", ":none;");
}

TEST(conf_complete_positional) {
    ANSWER("world te", "text;test;:none;");
    ANSWER("world text x", ":none;");
    ANSWER("convert x", ":files;");
    ANSWER("convert x y", ":dirs;");
    ANSWER("convert x y z", ":dirs;");
    ANSWER("train x", ":none;");
}

TEST(conf_manual_page) {
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    tn_man_verb(&train, f);
    tn_man_all(verbs, f);
    fclose(f);
    CHECK(strstr(text, ".TH TENET\\-TRAIN 1 ") && strstr(text, "\ntenet\\-train \\- trains\n"));
    CHECK(
        strstr(text, "One.\nTwo.\n.PP\n.RS 2\n.nf\ntenet train \\-\\-x\n.fi\n.RE\n.PP\nThree.\n"));
    CHECK(strstr(text, ".TP\n\\fB\\-\\-no\\-packing\\fR\n\\&.Pack. (on by default)\n"));
    CHECK(strstr(text, "\\fB\\-\\-loss\\-type\\fR \\fINAME\\fR\nLoss \\e \"\\[u03B2]\". One of "
                       "ipo, hinge, sigmoid."));
    CHECK(
        strstr(text, ".SS A\n.TP\n.BR tenet\\-train (1)\ntrains\n.TP\n.BR tenet\\-convert (1)\n"));
    const char *model = strstr(text, "\\-\\-model\\fR");
    CHECK(model && !strstr(model + 1, "\\-\\-model\\fR"));
    free(text);
}
