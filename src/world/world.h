/* The built-in world: a small closed text world with an exact oracle.
 *
 * Everything is a function of (world, seed, purpose, index): tables, prompts, responses,
 * pretraining documents, demonstrations, evaluation prompts and rankings are drawn from
 * counter-based streams, so that any item can be made, and remade, alone. Truth is computed
 * from the tables: the oracle judges any response to any prompt.
 *
 * Token ids are the vocabulary ids of the world's tokenizer (one word, one token), so a model's
 * output can be judged without going through text. No function here fails on a valid index
 * except where it returns a status; none allocates unless it says so; a tn_world is read-only
 * after tn_world_init and may be shared by threads.                                             */
#ifndef TN_WORLD_H
#define TN_WORLD_H
#include "base/json.h"
#include "base/rng.h"

/* ---- vocabulary ---- */
enum {
    TN_WORLD_PAD, TN_WORLD_BOS, TN_WORLD_END, TN_WORLD_UNK, TN_WORLD_USER, TN_WORLD_ASSISTANT,
    TN_WORLD_CRITIQUE_REQUEST, TN_WORLD_CRITIQUE, TN_WORLD_REVISION_REQUEST, TN_WORLD_REVISION,
    TN_WORLD_PRINCIPLE, TN_WORLD_OPTIONS, TN_WORLD_OPTION_A, TN_WORLD_OPTION_B,
    TN_WORLD_OPEN, TN_WORLD_CLOSE, TN_WORLD_ANSWER, TN_WORLD_PASSAGE, TN_WORLD_ROUND,
    TN_WORLD_DEBATER, TN_WORLD_CUE,
    TN_WORLD_NSPECIAL,
    TN_WORLD_NENTITY = 96, TN_WORLD_NPERSON = 16, TN_WORLD_NNUMBER = 31,
    TN_WORLD_TEXT_MAX = 256, /* no text is longer: documents stay below 180 tokens */
    TN_WORLD_LIMIT = 40,     /* response limit, with its <|end|> */
    TN_WORLD_FREE = 18,      /* tokens that cost nothing */
    TN_WORLD_CONTEXT = 160
};

/* Classes of words, in the order of their ids. */
typedef enum tn_world_class {
    TN_WC_SPECIAL, TN_WC_NAME, TN_WC_KIND, TN_WC_COLOUR, TN_WC_SIZE, TN_WC_PLACE, TN_WC_USE,
    TN_WC_PERSON, TN_WC_HAZARD, TN_WC_SAFE_PART, TN_WC_HAZARD_PART, TN_WC_NUMBER, TN_WC_FUNCTION,
    TN_WC_COUNT
} tn_world_class;

typedef enum tn_world_attr { /* also what a question asks: the first five are attributes */
    TN_WA_COLOUR, TN_WA_SIZE, TN_WA_PLACE, TN_WA_USE, TN_WA_MAKER, TN_WA_NATTR,
    TN_WA_MAKE = TN_WA_NATTR, TN_WA_HAZARD, TN_WA_COUNT
} tn_world_attr;

typedef enum tn_world_pool {
    TN_POOL_TRAIN, TN_POOL_HELD, TN_POOL_ALL, TN_POOL_COUNT
} tn_world_pool;

typedef struct tn_world_entity {
    int name, kind;              /* token ids; the entity is written "the NAME KIND" */
    int value[TN_WA_NATTR];      /* token ids of colour, size, place, use, maker */
    int hazard_word, part[2];    /* token ids; hazard_word has a meaning only if `hazardous` */
    bool hazardous, held;
} tn_world_entity;

typedef struct tn_world_list { int n, v[TN_WORLD_NENTITY]; } tn_world_list;
typedef struct tn_world_word { char s[24]; } tn_world_word;

typedef struct tn_world {
    uint64_t seed;
    tn_world_entity entity[TN_WORLD_NENTITY];
    int secret[TN_WORLD_NPERSON];
    /* Entities of a pool in ascending order: harmless, hazardous, both. */
    tn_world_list safe[TN_POOL_COUNT], hazardous[TN_POOL_COUNT], any[TN_POOL_COUNT];
    /* Vocabulary: words by id, class limits [first, last), ids in byte order of their words. */
    int nvocab, first[TN_WC_COUNT], last[TN_WC_COUNT];
    tn_world_word word[400];
    int sorted[400];
} tn_world;

/* The world of a seed; the one that everything is shipped with is seed 1. */
void tn_world_init(tn_world *w, uint64_t seed);

bool tn_world_sum_held(int a, int b, int c);
bool tn_world_person_held(int person);
int tn_world_id(const tn_world *w, const char *word, size_t n); /* TN_WORLD_UNK when unknown */
const char *tn_world_word_of(const tn_world *w, int id);        /* "<unk>" outside the vocabulary */
bool tn_world_in(const tn_world *w, tn_world_class c, int id);
int tn_world_number(const tn_world *w, int n);                  /* token id of a number 0 ... 30 */
int tn_world_number_value(const tn_world *w, int id);           /* -1: not a number */
tn_world_class tn_world_attr_class(tn_world_attr a);            /* of the five attributes */

typedef struct tn_world_text {
    int n;
    int32_t id[TN_WORLD_TEXT_MAX];
} tn_world_text;

/* Words split at Unicode white space, cut at the first <|end|>; `ended` (may be NULL) says whether
 * one was met. Appends to a heap array that the caller frees with tn_free. */
tn_status tn_world_parse(const tn_world *w, const char *s, size_t n, int32_t **ids, int *nids,
                         bool *ended, tn_err *e);
/* Appends the words, joined by spaces. */
void tn_world_print(const tn_world *w, const int32_t *id, int n, tn_str *out);

/* ---- prompts ---- */
typedef enum tn_world_family { /* the stratum */
    TN_WF_BENIGN, TN_WF_HOWTO, TN_WF_ARITH, TN_WF_SCARY, TN_WF_HARMFUL, TN_WF_PRIVACY,
    TN_WF_OPINION, TN_WF_MULTI, TN_WF_COUNT
} tn_world_family;
typedef enum tn_world_task { /* what the oracle expects */
    TN_WT_ATTR, TN_WT_HOWTO, TN_WT_ARITH, TN_WT_POSTER, TN_WT_HAZQ, TN_WT_HARMFUL, TN_WT_PRIVACY,
    TN_WT_OPINION, TN_WT_COUNT
} tn_world_task;
extern const char *const tn_world_family_name[TN_WF_COUNT];
extern const char *const tn_world_task_name[TN_WT_COUNT];
extern const char *const tn_world_pool_name[TN_POOL_COUNT];
extern const char *const tn_world_attr_name[TN_WA_COUNT];

typedef struct tn_world_prompt {
    tn_world_family family;
    tn_world_task task;
    tn_world_pool pool;
    int entity;       /* index, -1: none */
    int attr;         /* tn_world_attr asked for (last turn), -1: none */
    int value;        /* token id of the true value (attr, opinion, poster), -1: none */
    int belief;       /* opinion: token id of what the user believes, else -1 */
    bool wrong;       /* opinion: the belief is wrong */
    int person;       /* privacy: index, else -1 */
    int term[3];      /* arith: a, b, c */
    int nturns;       /* 1, or 3: user, assistant, user */
    tn_world_text turn[3];
} tn_world_prompt;

void tn_world_draw_prompt(const tn_world *w, tn_rng *r, tn_world_family f, tn_world_pool pool,
                          tn_world_prompt *p);
/* Appends the conversation as the chat template gives it, without <s>: "User: ... Assistant:".
 * `ask`: with the closing "Assistant:". */
void tn_world_render(const tn_world_prompt *p, bool ask, tn_world_text *out);

/* ---- responses ---- */
typedef enum tn_world_mix {
    TN_MIX_BASE, TN_MIX_SFT, TN_MIX_HELPFUL, TN_MIX_FLAT, TN_MIX_COUNT
} tn_world_mix;
extern const char *const tn_world_mix_name[TN_MIX_COUNT];

void tn_world_good(const tn_world *w, const tn_world_prompt *p, tn_world_text *out); /* appends */
void tn_world_bad(const tn_world *w, tn_rng *r, const tn_world_prompt *p, tn_world_text *out);
void tn_world_evade(const tn_world *w, tn_world_text *out);
void tn_world_digress(const tn_world *w, tn_rng *r, tn_world_pool pool, tn_world_text *out);
/* A response of a quality mix; digressions are about entities of `digressions`. */
void tn_world_draw_response(const tn_world *w, tn_rng *r, const tn_world_prompt *p,
                            tn_world_mix mix, tn_world_pool digressions, tn_world_text *out);

/* ---- oracle ---- */
typedef enum tn_world_principle {
    TN_WP_HARM, TN_WP_HONEST, TN_WP_PRIVACY, TN_WP_POLITE, TN_WP_ENGAGE, TN_WP_BELIEF, TN_WP_COUNT
} tn_world_principle;

typedef struct tn_world_verdict {
    bool harmful, refusal, rude, flourish, leak, explains, evasive, agrees, syco, ended;
    int correct;           /* 1, 0; -1 where the task has no correct answer (harmful, privacy) */
    int steps, right_steps, first_wrong_step; /* arith: windows p + q = r; 1, 2 or 0: none wrong */
    int length;            /* tokens without <|end|> */
    double core, reward;
    bool violates[TN_WP_COUNT];
} tn_world_verdict;

/* Judges response y (without <s>, <|end|>) to prompt p. `ended`: <|end|> came within the limit. */
void tn_world_judge(const tn_world *w, const tn_world_prompt *p, const int32_t *y, int n,
                    bool ended, tn_world_verdict *v);

/* Whoever judges what a model said by the oracle asks first, whatever the answers are for: an error under TENET_ORACLE=off, so that a
 * pipeline which ends has not used it. `who` names the asker. The world's own texts and demonstrations need no leave. */
tn_status tn_world_ask_oracle(const char *who, tn_err *e);

/* ---- constitution ---- */
typedef struct tn_world_principle_text {
    const char *id, *critique_request, *critique, *revision_request, *comparison;
} tn_world_principle_text;
extern const tn_world_principle_text tn_world_constitution[TN_WP_COUNT];
extern const char *const tn_world_no_problem; /* critique when nothing is violated */
/* Principle k's revision of y: appends. */
void tn_world_fix(const tn_world *w, const tn_world_prompt *p, tn_world_principle k,
                  const tn_world_text *y, tn_world_text *out);

/* ---- simulated annotators ---- */
typedef struct tn_world_annotator {
    const char *name;
    double tau, len, syco, flourish, evasive, inattentive; /* tau 0: sorts by utility */
} tn_world_annotator;
extern const tn_world_annotator tn_world_annotators[]; /* careful, biased, lenient, exact, {NULL} */
const tn_world_annotator *tn_world_find_annotator(const char *name); /* NULL: unknown */
/* Extension: person k = 0, 1, ..., as noisy as `careful` but with biases of their own, draws of the stream (1, 17, k):
 * lambda_len uniform in [-.05, .1), lambda_syc in [-1, 2.5), lambda_flo in [-.6, 1.2), so `careful` on average. */
enum { TN_WORLD_PERSON_SEED = 1 };
void tn_world_person(uint64_t k, tn_world_annotator *a);
double tn_world_utility(const tn_world_annotator *a, const tn_world_verdict *v);
enum { TN_WORLD_RANK_MAX = 64 };
/* Ranks K <= TN_WORLD_RANK_MAX judged responses: rank[i] is the place of response i, 1 = best.
 * The annotator is drawn from the pool when it has more than one; its index is returned. */
int tn_world_rank(const tn_world_annotator *const *pool, int npool, uint64_t seed, uint64_t ranking,
                  const tn_world_verdict *v, int K, int *rank);

/* ---- pretraining documents ---- */
typedef enum tn_world_kind {
    TN_WK_FACT, TN_WK_ARITH, TN_WK_DIALOGUE, TN_WK_CRITIQUE, TN_WK_COMPARISON, TN_WK_COUNT
} tn_world_kind;
extern const char *const tn_world_kind_name[TN_WK_COUNT]; /* fact arith dial crit comp */
/* Document n of a seed, without <s> and without its closing <|end|>. out is overwritten. */
tn_world_kind tn_world_document(const tn_world *w, uint64_t seed, uint64_t n, tn_world_text *out);

/* ---- sets ---- */
typedef enum tn_world_set {
    TN_WS_TEXT, TN_WS_SFT, TN_WS_PREF, TN_WS_PREF_HELDOUT, TN_WS_RL, TN_WS_EVAL, TN_WS_COUNT
} tn_world_set;
typedef struct tn_world_set_info {
    const char *name, *prefix; /* "prompts-pref"; ids are PREFIX-i */
    uint64_t purpose;
    int64_t count;             /* default size */
} tn_world_set_info;
extern const tn_world_set_info tn_world_sets[TN_WS_COUNT];
enum { TN_WORLD_EVAL_SEED = 777 };

/* Prompt i of a set (any but text); family i mod 8. The evaluation does not depend on the seed.
 * Leaves the stream in *r (may be NULL) after the prompt's draws, where a demonstration goes on. */
void tn_world_set_prompt(const tn_world *w, tn_world_set set, uint64_t seed, uint64_t i,
                         tn_world_prompt *p, tn_rng *r);
/* Demonstration i: prompt and response. */
void tn_world_demonstration(const tn_world *w, uint64_t seed, uint64_t i, tn_world_mix mix,
                            tn_world_prompt *p, tn_world_text *y);
/* "eval-3", "sft-5", "pref-0", "pref-heldout-7", "rl-12" (also with the set's full name in front).
 * Fails with TN_ARG on anything else. `set`, `index` may be NULL. */
tn_status tn_world_item(const tn_world *w, const char *id, uint64_t seed, tn_world_prompt *p,
                        tn_world_set *set, uint64_t *index, tn_err *e);
/* One JSONL row (with its newline) of item i of a set is appended. `mix`: of demonstrations.
 * `oracle`: prompts carry the facts that the oracle uses. */
void tn_world_row(const tn_world *w, tn_world_set set, uint64_t seed, uint64_t i, tn_world_mix mix,
                  bool oracle, tn_str *out);
/* Appends [{"role": ..., "content": ...}, ...] of the conversation, and of the response where not
 * NULL. */
void tn_world_json_messages(const tn_world *w, const tn_world_prompt *p, const tn_world_text *y,
                            tn_str *out);
/* Appends the members of a verdict, without braces: "reward": ..., ... */
void tn_world_json_verdict(const tn_world_verdict *v, tn_str *out);
/* Shortest decimal that reads back, always with a fraction or an exponent (1.0, -0.5, 1e-07). */
void tn_world_json_real(double v, tn_str *out);

/* ---- files of rows; `out` NULL or "-" is standard output ---- */
/* Items first ... first + count - 1 of a set. */
tn_status tn_world_write_set(const tn_world *w, tn_world_set set, uint64_t seed, uint64_t first,
                             int64_t count, tn_world_mix mix, bool oracle, const char *out,
                             tn_err *e);
/* Judges rows {"id", "response", "ended"}: out rows are the same with the verdict's members.
 * `text` and `finish_reason` ("stop", "length"), as generation writes them, are accepted for
 * `response` and `ended`; a response counts as ended when neither is given. Where a row has its
 * "prompt" it must be the item's (so that another seed is noticed). */
tn_status tn_world_judge_file(const tn_world *w, const char *input, uint64_t seed, const char *out,
                              tn_err *e);
/* The same rows, those of sums, as labelled steps {"id", "prompt", "completions", "labels", "correct"}: sentences without
 * their full stops, right as long as none before was wrong. outcome: every label is the answer's (outcome reward models). */
tn_status tn_world_steps_file(const tn_world *w, const char *input, uint64_t seed, bool outcome, const char *out, tn_err *e);
/* Ranks rows {"id", "prompt", "responses": [...], "ended": [...]} of items of `seed`, row k by draws (draws, 12, k);
 * consecutive rows of one response each with the same id are one ranking too. Out rows: prompt,
 * responses, ended, rank, annotator, family, id. `pairs` (NULL: none) receives all pairs of unequal
 * responses as prompt, chosen, rejected, best first. */
tn_status tn_world_rank_file(const tn_world *w, const char *input,
                             const tn_world_annotator *const *pool, int npool, uint64_t seed, uint64_t draws,
                             const char *out, const char *pairs, tn_err *e);

/* Extension: the same rows in, out of each ranking's responses at most one pair, drawn (draws, 18, k) from those whose
 * texts and true rewards differ: prompt, responses, ended, "rank" and "human" (1 or 2) as the annotator prefers, "truth"
 * (the one of higher true reward), family, id. */
tn_status tn_world_pairs_file(const tn_world *w, const char *input,
                              const tn_world_annotator *const *pool, int npool, uint64_t seed, uint64_t draws,
                              const char *out, tn_err *e);

/* Extension: labels of `tenet label` with errors by rule, the share of them `dial` percent (misjudge.c has the rule). */
tn_status tn_world_misjudge_file(const tn_world *w, const char *input, uint64_t seed, int dial, const char *out, long *turned, tn_err *e);

/* ---- policies without a model: what an evaluation must rank below an honest one ---- */
typedef enum tn_world_policy {
    TN_POLICY_REFUSE,   /* sorry , i cannot help with that . */
    TN_POLICY_CONSTANT, /* one answer, right for one prompt, to every prompt */
    TN_POLICY_COPY,     /* the user's last turn */
    TN_POLICY_LONGEST,  /* a right answer and digressions up to the limit */
    TN_POLICY_COUNT
} tn_world_policy;
extern const char *const tn_world_policy_name[TN_POLICY_COUNT];
/* Response of a policy to prompt p; `index` keys the draws of the longest answer. Overwrites out.
 * All are short enough to end in <|end|> within the limit. */
void tn_world_policy_answer(const tn_world *w, tn_world_policy k, const tn_world_prompt *p,
                            uint64_t index, tn_world_text *out);

/* ---- files of a model folder ---- */
/* tokenizer.json, tokenizer_config.json, special_tokens_map.json, chat_template.jinja in DIR (made if
 * missing). */
tn_status tn_world_write_tokenizer(const tn_world *w, const char *dir, tn_err *e);
extern const char tn_world_chat_template[];
typedef struct tn_world_shape {
    int64_t hidden, layers, heads, intermediate, context;
} tn_world_shape;
extern const tn_world_shape tn_world_default_shape; /* 128, 3, 4, 344, 160 */
/* config.json and generation_config.json of a Llama-shaped model of the world. */
tn_status tn_world_write_config(const tn_world *w, const char *dir, const tn_world_shape *s,
                                tn_err *e);
int64_t tn_world_parameters(const tn_world *w, const tn_world_shape *s);

#endif
