/* Answers of a stage as numbered words, how alike they are, and whether they have collapsed onto a few phrases.
 *
 * A word is a run of letters, digits, apostrophes and bytes beyond ASCII, in lower case (ASCII's); any other character that
 * is no blank is a word of its own. Words and closing sentences of all stages that are compared share one numbering.
 *
 *   distinct-n = different n-grams / n-grams, of all answers together (falls with length; so:)
 *   adjusted   = D / (V [1 - ((V - 1)/V)^C]), D different words of C, V words of all stages (expectation-adjusted distinct-1)
 *   entropy    of words, nats
 *   self-BLEU-2: mean over answers of sqrt(p1 p2), p_n the share of its n-grams that some other answer has, counts clipped
 *              to the most that one of them has; no smoothing, no penalty for length; answers of one word do not count
 *   top-20     share of the 20 most frequent 4-grams among all
 *   loops      share of answers in which one 4-gram stands three times or more
 *   closer     the last sentence of an answer that has others before it; ending: the last four words                    */
#ifndef TN_EVAL_CORPUS_H
#define TN_EVAL_CORPUS_H
#include "base/str.h"
#include "world/stat.h"

typedef struct tn_words tn_words;
tn_words *tn_words_new(void); /* NULL: no memory */
void tn_words_free(tn_words *w);
int tn_words_count(const tn_words *w); /* words, closing sentences left out */
const char *tn_words_text(const tn_words *w, int32_t id);

typedef struct tn_corpus {
    int n;             /* answers */
    size_t *at;        /* [n + 1] where the words of each begin */
    int32_t *word, *closer; /* closer [n]: number of the sentence; -1: the answer is one sentence, or empty */
    bool *ended;       /* by itself, not by a limit */
    size_t cap_at, cap_word, cap_closer, cap_ended;
} tn_corpus;
tn_status tn_corpus_add(tn_corpus *c, tn_words *w, const char *text, size_t n, bool ended, tn_err *e);
void tn_corpus_free(tn_corpus *c);

enum { TN_CORPUS_EOS = 12 };
typedef struct tn_diversity {
    int n;
    long words;
    double distinct[2], adjusted, entropy, self_bleu, top20; /* NaN where there is nothing to count */
    tn_stat_rate loops, ended, closer, ending; /* the last two: of the most frequent one */
    int32_t closer_id;                         /* -1: none */
    /* Of the answers with 2^k words or more, the share that ends before 2^(k+1); NaN where none gets there. */
    double eos[TN_CORPUS_EOS];
} tn_diversity;
/* `self` (may be NULL) [n]: self-BLEU-2 of each answer, NaN for those of one word. */
tn_status tn_diversity_of(const tn_corpus *c, int vocab, tn_diversity *d, double *self, tn_err *e);
double tn_distinct_adjusted(double different, double vocab, double total);

/* What a later stage is asked against the first one. Collapse is DISTINCT (distinct-2 fell by more than a fifth) or CLOSER (one
 * closing sentence stands under more answers than in the first stage, by more than a hundredth at the lower end of Newcombe's
 * 95 % interval): training is to stop. The others only say where to look: LOOPS and UNENDED by the same interval and
 * a hundredth, PHRASES where the top-20 share grew by more than a tenth. */
typedef enum tn_collapse { TN_COLLAPSE_DISTINCT, TN_COLLAPSE_CLOSER, TN_COLLAPSE_LOOPS, TN_COLLAPSE_UNENDED, TN_COLLAPSE_PHRASES, TN_COLLAPSES } tn_collapse;
extern const char *const tn_collapse_name[TN_COLLAPSES];
typedef struct tn_collapse_flag {
    bool fired;
    double first, now;
} tn_collapse_flag;
typedef struct tn_collapse_report {
    tn_collapse_flag flag[TN_COLLAPSES];
    int32_t closer_id; /* the sentence that grew most; -1: none */
    bool stop;         /* DISTINCT or CLOSER */
} tn_collapse_report;
tn_status tn_collapse_of(const tn_corpus *first, const tn_diversity *d0, const tn_corpus *now, const tn_diversity *d, tn_collapse_report *r,
                         tn_err *e);
/* Newcombe's interval of p1 - p0, lower end. */
double tn_stat_newcombe_low(const tn_stat_rate *p1, const tn_stat_rate *p0);
#endif
