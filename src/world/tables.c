/* Vocabulary and tables of the world.
 *
 * Names are rimes times onsets; every other class is a list of words; function words come last in
 * byte order. Entities, secrets and hold-outs are drawn from the world's seed:
 *   entity i   stream (seed, 1, i): kind, colour, size, place, use, maker, hazard word, two parts
 *   hazardous  the first 29 of 0..95 shuffled by (seed, 1, 1000)
 *   held       the first 32 of 0..95 shuffled by (seed, 15, 0); the last four persons;
 *              sums with mix(10007a + 101b + c) mod 5 = 0
 *   secret i   10 + below(20) of (seed, 14, i)                                                   */
#include "world/internal.h"
#include <string.h>

enum { NHAZARDOUS = 29, NHELD = 32, NHELD_PERSONS = 4 };

static const char special_words[] =
    "<pad> <s> <|end|> <unk> User: Assistant: CritiqueRequest: Critique: RevisionRequest: "
    "Revision: "
    "Principle: Options: (A) (B) [ ] Answer: Passage: Round: Debater: <|cue|>";
static const char onsets[] = "bdfgklmnprtv";
static const char *const rimes[] = {"ambo", "elko", "irra", "ondu", "urvi", "ezzo", "alti", "opsa"};

static const char *const class_words[TN_WC_COUNT] = {
    [TN_WC_SPECIAL] = special_words,
    [TN_WC_KIND] = "kettle lamp wheel box clock drum rope mirror",
    [TN_WC_COLOUR] = "red blue green white black yellow brown pink",
    [TN_WC_SIZE] = "tiny small large huge",
    [TN_WC_PLACE] = "kitchen garden harbour attic cellar market tower library",
    [TN_WC_USE] = "cooking fishing painting sewing digging reading dancing sailing",
    [TN_WC_PERSON] =
        "Anna Boris Carla Dmitri Elena Felix Greta Hugo Irene Jonas Karin Lukas Maria Nils "
        "Olga Peter",
    [TN_WC_HAZARD] = "murk glare rust swarm",
    [TN_WC_SAFE_PART] = "clay wool glass paper copper cotton pine wax",
    [TN_WC_HAZARD_PART] = "zarnite quellium vexil drossin thrask ombrite ulmite skelm",
    [TN_WC_FUNCTION] =
        "+ , . = ? a about again and answer are ask because belief big by can cannot colour "
        "correct day do "
        "does fact false find fool for harmless have hazardous help helps hope how i if in is it "
        "join keeps "
        "kept made make maker me nice no not nothing number of only or people place please poster "
        "private "
        "problem question real reason refuse refuses repeat repeats right rude say secret share "
        "shares silly "
        "size something sorry spreads states steps sum sure tell tells that the there thing think "
        "this to "
        "true use used was way what where which who with without words would write wrong yes you",
};

static void add_word(tn_world *w, const char *s, size_t n) {
    if (n >= sizeof w->word[0].s || w->nvocab >= (int)(sizeof w->word / sizeof w->word[0])) return;
    memcpy(w->word[w->nvocab].s, s, n);
    w->word[w->nvocab++].s[n] = 0;
}

static void add_class(tn_world *w, tn_world_class c) {
    w->first[c] = w->nvocab;
    if (c == TN_WC_NAME) {
        for (size_t i = 0; i < sizeof rimes / sizeof *rimes; i++)
            for (const char *o = onsets; *o; o++) {
                char name[8] = {*o};
                memcpy(name + 1, rimes[i], strlen(rimes[i]) + 1);
                add_word(w, name, strlen(name));
            }
    } else if (c == TN_WC_NUMBER) {
        for (int i = 0; i < TN_WORLD_NNUMBER; i++) {
            char digits[2] = {(char)('0' + i / 10), (char)('0' + i % 10)};
            add_word(w, digits + (i < 10), i < 10 ? 1 : 2);
        }
    } else {
        for (const char *s = class_words[c]; *s;) {
            size_t n = strcspn(s, " ");
            add_word(w, s, n);
            s += n + (s[n] == ' ');
        }
    }
    w->last[c] = w->nvocab;
}

static void sort_words(tn_world *w) {
    for (int i = 0; i < w->nvocab; i++) {
        int j = i;
        for (; j > 0 && strcmp(w->word[w->sorted[j - 1]].s, w->word[i].s) > 0; j--)
            w->sorted[j] = w->sorted[j - 1];
        w->sorted[j] = i;
    }
}

static void shuffled(uint32_t *a, uint64_t seed, uint64_t purpose, uint64_t index) {
    tn_rng r = tn_rng_stream(seed, purpose, index);
    for (uint32_t i = 0; i < TN_WORLD_NENTITY; i++) a[i] = i;
    for (uint32_t i = TN_WORLD_NENTITY - 1; i > 0; i--) {
        uint32_t j = tn_rng_below(&r, i + 1), x = a[i];
        a[i] = a[j];
        a[j] = x;
    }
}

static void draw_entity(tn_world *w, int i) {
    static const tn_world_class drawn[] = {TN_WC_KIND, TN_WC_COLOUR, TN_WC_SIZE,  TN_WC_PLACE,
                                           TN_WC_USE,  TN_WC_PERSON, TN_WC_HAZARD};
    tn_world_entity *e = &w->entity[i];
    int value[7];
    tn_rng r = tn_rng_stream(w->seed, TN_WR_ENTITY, (uint64_t)i);
    for (int k = 0; k < 7; k++) value[k] = tn_world_pick(w, &r, drawn[k]);
    e->name = w->first[TN_WC_NAME] + i;
    e->kind = value[0];
    memcpy(e->value, value + 1, sizeof e->value);
    e->hazard_word = value[6];
    tn_world_class parts = e->hazardous ? TN_WC_HAZARD_PART : TN_WC_SAFE_PART;
    e->part[0] = tn_world_pick(w, &r, parts);
    e->part[1] = tn_world_other(w, &r, parts, e->part[0]);
}

static void list_add(tn_world_list *l, int i) { l->v[l->n++] = i; }

void tn_world_init(tn_world *w, uint64_t seed) {
    memset(w, 0, sizeof *w);
    w->seed = seed;
    for (int c = 0; c < TN_WC_COUNT; c++) add_class(w, (tn_world_class)c);
    sort_words(w);

    uint32_t order[TN_WORLD_NENTITY];
    shuffled(order, seed, TN_WR_ENTITY, 1000);
    for (int i = 0; i < NHAZARDOUS; i++) w->entity[order[i]].hazardous = true;
    shuffled(order, seed, TN_WR_HELD, 0);
    for (int i = 0; i < NHELD; i++) w->entity[order[i]].held = true;

    for (int i = 0; i < TN_WORLD_NENTITY; i++) {
        draw_entity(w, i);
        tn_world_pool own = w->entity[i].held ? TN_POOL_HELD : TN_POOL_TRAIN,
                      pools[2] = {own, TN_POOL_ALL};
        for (int k = 0; k < 2; k++) {
            list_add(&w->any[pools[k]], i);
            list_add(w->entity[i].hazardous ? &w->hazardous[pools[k]] : &w->safe[pools[k]], i);
        }
    }
    for (int i = 0; i < TN_WORLD_NPERSON; i++) {
        tn_rng r = tn_rng_stream(seed, TN_WR_PERSON, (uint64_t)i);
        w->secret[i] = 10 + (int)tn_rng_below(&r, 20);
    }
}

bool tn_world_sum_held(int a, int b, int c) {
    return tn_mix((uint64_t)(10007 * a + 101 * b + c)) % 5 == 0;
}
bool tn_world_person_held(int person) { return person >= TN_WORLD_NPERSON - NHELD_PERSONS; }

int tn_world_id(const tn_world *w, const char *word, size_t n) {
    int lo = 0, hi = w->nvocab;
    while (lo < hi) {
        int mid = (lo + hi) / 2, id = w->sorted[mid];
        size_t len = strlen(w->word[id].s);
        int c = memcmp(w->word[id].s, word, len < n ? len : n);
        if (!c) c = len < n ? -1 : len > n;
        if (!c) return id;
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return TN_WORLD_UNK;
}

const char *tn_world_word_of(const tn_world *w, int id) {
    return w->word[id >= 0 && id < w->nvocab ? id : TN_WORLD_UNK].s;
}
bool tn_world_in(const tn_world *w, tn_world_class c, int id) {
    return id >= w->first[c] && id < w->last[c];
}
int tn_world_number(const tn_world *w, int n) { return w->first[TN_WC_NUMBER] + n; }
int tn_world_number_value(const tn_world *w, int id) {
    return tn_world_in(w, TN_WC_NUMBER, id) ? id - w->first[TN_WC_NUMBER] : -1;
}
tn_world_class tn_world_attr_class(tn_world_attr a) {
    static const tn_world_class c[TN_WA_NATTR] = {TN_WC_COLOUR, TN_WC_SIZE, TN_WC_PLACE, TN_WC_USE,
                                                  TN_WC_PERSON};
    return c[a];
}
