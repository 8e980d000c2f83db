/* tenet inspect: what a model folder, a GGUF file or a safetensors file holds. */
#include "base/manifest.h"
#include "base/mem.h"
#include "cmd/verbs.h"
#include "model/adapter_file.h"
#include "model/gguf.h"
#include "model/safetensors.h"
#include "model/zip.h"
#include "text/text.h"
#include <string.h>

typedef struct inspect_opts {
    bool tensors;
    const char *base;
} inspect_opts;
static const tn_opt_row inspect_rows[] = {{.name = "tensors",
                                           .type = TN_OPT_BOOL,
                                           .offset = offsetof(inspect_opts, tensors),
                                           .def = "false",
                                           .help = "List every tensor with its type and shape."},
                                          {.name = "base-model",
                                           .type = TN_OPT_STRING,
                                           .offset = offsetof(inspect_opts, base),
                                           .metavar = "DIR",
                                           .help = "Base of an adapter, instead of the one it names."},
                                          TN_OPT_LAST};
static const tn_opt_row *const inspect_tables[] = {inspect_rows, NULL};

#define LINE "  %-11s "

/* ---------------- numbers ---------------- */

static const char *amount(double v, const char *unit, char buf[static 32]) {
    const char *scale[] = {"", "K", "M", "G", "T"};
    int i = 0;
    while (v >= 999.5 && i < 4) v /= 1000, i++;
    snprintf(buf, 32, v >= 99.5 || i == 0 ? "%.0f %s%s" : "%.1f %s%s", v, scale[i], unit);
    return buf;
}

/* Elements by type: "F32 61, Q4_1 210". */
#define MAX_TYPES 32
typedef struct tally {
    int n;
    struct {
        char name[16];
        size_t tensors;
        double elements;
    } type[MAX_TYPES];
    double elements, bytes;
} tally;

static void tally_add(tally *t, const char *name, double elements, double bytes) {
    int i = 0;
    while (i < t->n && strcmp(t->type[i].name, name) != 0) i++;
    if (i == MAX_TYPES) i = MAX_TYPES - 1;
    else if (i == t->n) snprintf(t->type[t->n++].name, sizeof t->type[0].name, "%s", name);
    t->type[i].tensors++;
    t->type[i].elements += elements;
    t->elements += elements;
    t->bytes += bytes;
}

static void tally_print(const tally *t) {
    char a[32], b[32];
    printf(LINE "%s stored, %s:", "weights", amount(t->elements, "", a), amount(t->bytes, "B", b));
    for (int i = 0; i < t->n; i++)
        printf("%s %s (%zu tensors, %.1f %%)", i ? "," : "", t->type[i].name, t->type[i].tensors,
               100 * t->type[i].elements / (t->elements > 0 ? t->elements : 1));
    printf("\n");
}

/* ---------------- a descriptor ---------------- */

static void print_rope(const tn_desc *d) {
    static const char *const names[] = {"default", "linear", "dynamic",
                                        "llama3",  "yarn",   "longrope"};
    printf(LINE "%d, rope %s, theta %g", "positions", d->max_pos, names[d->rope.type],
           d->rope.theta);
    if (d->rope.type != TN_ROPE_DEFAULT)
        printf(", factor %g, trained at %d", d->rope.factor, d->rope.original_max);
    int windowed = 0;
    for (int i = 0; i < d->layers; i++) windowed += tn_desc_window(d, i) > 0;
    if (windowed) printf("; window %d in %d of %d layers", d->window, windowed, d->layers);
    printf("\n");
}

static void print_ids(const tn_desc *d) {
    printf(LINE, "token ids");
    if (d->bos >= 0) printf("bos %d  ", d->bos);
    for (int i = 0; i < d->n_eos; i++) printf(i ? ", %d" : "eos %d", d->eos[i]);
    if (d->pad >= 0) printf("  pad %d", d->pad);
    printf("\n");
}

static void print_desc(const tn_desc *d) {
    char a[32];
    printf(LINE "%s, %s%s", "model", d->family,
           d->per_token    ? "token classification"
           : d->num_labels ? "sequence classification"
                           : "language model",
           d->num_labels == 1 ? " with one label: a reward model" : "");
    if (d->num_labels > 1) printf(" with %d labels", d->num_labels);
    printf("\n" LINE "%s (%zu)\n", "parameters", amount((double)tn_desc_params(d), "", a),
           tn_desc_params(d));
    printf(LINE "%d layers, width %d, %d heads of %d (%d for keys and values), MLP %d %s\n",
           "shape", d->layers, d->hidden, d->heads, d->head_dim, d->kv_heads, d->ffn,
           d->act == TN_SILU ? "silu" : "gelu");
    printf(LINE "%d tokens, %s head", "vocabulary", d->vocab,
           d->num_labels ? "score"
           : d->tied     ? "tied"
                         : "untied");
    if (d->qkv_bias) printf(", biases on q k v%s", d->o_bias ? " o" : "");
    if (d->mlp_bias) printf(", biases in the MLP");
    if (d->qk_norm) printf(", norms on q and k");
    printf("\n");
    print_rope(d);
    print_ids(d);
}

static void print_tensor(const char *name, size_t n, const char *type, const int64_t *shape,
                         int n_dim) {
    printf("    %-48.*s %-5s [", (int)n, name, type);
    for (int i = 0; i < n_dim; i++) printf("%s%lld", i ? ", " : "", (long long)shape[i]);
    printf("]\n");
}

/* ---------------- kinds of sources ---------------- */

static tn_status inspect_folder(const char *dir, const char *base, bool tensors, tn_err *e);

static void print_entries(const tn_st *s, bool tensors) {
    tally t = {0};
    for (size_t i = 0; i < tn_st_count(s); i++) {
        const tn_st_entry *x = tn_st_at(s, i);
        tally_add(&t, x->dtype_name, (double)x->count, (double)x->bytes);
    }
    tally_print(&t);
    for (size_t i = 0; tensors && i < tn_st_count(s); i++) {
        const tn_st_entry *x = tn_st_at(s, i);
        print_tensor(x->name, strlen(x->name), x->dtype_name, x->shape, x->n_dim);
    }
}

static tn_status inspect_safetensors(const char *path, bool tensors, tn_err *e) {
    tn_st *s;
    TN_TRY(tn_st_open(&s, path, e));
    printf("%s: safetensors\n", path);
    print_entries(s, tensors);
    tn_st_close(s);
    return TN_OK;
}

/* A tokenizer that cannot be read is said, not fatal: the weights can still be used with ids. */
static void print_tokenizer(const char *dir) {
    tn_str path = TN_STR_INIT;
    tn_path_join(&path, dir, "tokenizer.json");
    bool has = !path.oom && tn_exists(path.s);
    tn_str_free(&path);
    tn_tokenizer *t = NULL;
    tn_err e = {0};
    if (!has) printf(LINE "none (rows must be ids)\n", "tokenizer");
    else if (tn_tokenizer_load(&t, dir, &e) != TN_OK)
        printf(LINE "cannot be used: %s\n", "tokenizer", e.msg);
    else {
        const char *chat = tn_chat_name(t);
        printf(LINE "%d ids, chat template %s\n", "tokenizer", tn_tokenizer_vocab(t),
               chat ? chat : "none");
    }
    tn_tokenizer_free(t);
}

/* What tenet wrote about a reward model's scores. */
static tn_status print_score_norm(const char *dir, tn_err *e) {
    tn_str path = TN_STR_INIT;
    json_t *o = NULL;
    tn_path_join(&path, dir, "tenet.json");
    tn_status st = TN_OK;
    if (path.oom) st = tn_fail(e, TN_NOMEM, "%s: out of memory", dir);
    else if (tn_exists(path.s)) st = tn_json_load(path.s, &o, e);
    const json_t *s = json_object_get(o, "score");
    if (json_is_object(s))
        printf(LINE "mean %g, standard deviation %g on its training data\n", "score",
               json_number_value(json_object_get(s, "mean")),
               json_number_value(json_object_get(s, "sd")));
    json_decref(o);
    tn_str_free(&path);
    return st;
}

/* A checkpoint's files against its own list. */
static tn_status print_manifest(const char *dir, tn_err *e) {
    tn_str path = TN_STR_INIT;
    tn_path_join(&path, dir, "manifest.json");
    bool has = path.oom || tn_exists(path.s);
    tn_str_free(&path);
    if (!has) return TN_OK;
    TN_TRY(tn_manifest_check(dir, e));
    printf(LINE "all as manifest.json lists them\n", "files");
    return TN_OK;
}

/* The adapter's own files, then its base. */
static tn_status inspect_adapter(const char *dir, const char *base_dir, bool tensors, tn_err *e) {
    tn_adapter_config c;
    tn_str base = TN_STR_INIT, path = TN_STR_INIT;
    tn_st *s = NULL;
    tn_err lost = {0};
    tn_status st;
    TN_TRY(tn_adapter_config_read(&c, dir, e));
    printf("%s: LoRA adapter (PEFT)\n" LINE "%s\n", dir, "base", c.base.len ? c.base.s : "not named");
    printf(LINE "%d, alpha %g%s", "rank", c.spec.rank, c.spec.alpha, c.spec.rslora ? ", rsLoRA" : "");
    printf(c.dropout > 0 ? ", trained with dropout %g\n" : "\n", c.dropout);
    printf(LINE, "adapted");
    for (int i = 0; i < TN_MODULES; i++)
        if (c.spec.modules >> i & 1) printf("%s ", tn_module_names[i]);
    printf("\n");
    if (c.score) printf(LINE "trained whole: a reward model\n", "score head");
    print_tokenizer(dir);
    TN_GO(print_score_norm(dir, e), done);
    tn_path_join(&path, dir, "adapter_model.safetensors");
    TN_GO(tn_st_open(&s, path.s, e), done);
    print_entries(s, tensors);
    if (tn_adapter_base(dir, base_dir, &base, &lost) != TN_OK)
        printf(LINE "not here: %s\n", "base", lost.msg);
    else st = inspect_folder(base.s, NULL, tensors, e);
done:
    tn_st_close(s);
    tn_str_free(&c.base);
    tn_str_free(&base);
    tn_str_free(&path);
    return st;
}

static tn_status inspect_folder(const char *dir, const char *base, bool tensors, tn_err *e) {
    if (tn_adapter_folder(dir)) return inspect_adapter(dir, base, tensors, e);
    tn_str path = TN_STR_INIT;
    json_t *config = NULL;
    tn_st *s = NULL;
    tn_desc d;
    tn_status st = TN_OK;
    tn_path_join(&path, dir, "config.json");
    if (path.oom) TN_GO(tn_fail(e, TN_NOMEM, "%s: out of memory", dir), done);
    if (!tn_exists(path.s))
        TN_GO(tn_fail(e, TN_IO,
                      "%s: there is no config.json; a Hugging Face model folder is expected", dir),
              done);
    TN_GO(tn_json_load(path.s, &config, e), done);
    TN_GO(tn_desc_from_config(&d, config, path.s, e), done);
    printf("%s: Hugging Face folder\n", dir);
    print_desc(&d);
    print_tokenizer(dir);
    TN_GO(print_score_norm(dir, e), done);
    TN_GO(tn_st_open(&s, dir, e), done);
    print_entries(s, tensors);
    st = print_manifest(dir, e);
done:
    tn_st_close(s);
    json_decref(config);
    tn_str_free(&path);
    return st;
}

static void print_gguf_tokenizer(const tn_gguf *g) {
    json_t *tokenizer, *config;
    tn_err e = {0};
    tn_gstr pre = {0}, template = {0};
    tn_status st = tn_gguf_tokenizer(g, &tokenizer, &config, &e);
    if (st == TN_OK) st = tn_gguf_str(g, "tokenizer.ggml.pre", &pre, &e);
    if (st == TN_OK) st = tn_gguf_str(g, "tokenizer.chat_template", &template, &e);
    if (st != TN_OK) printf(LINE "cannot be used: %s\n", "tokenizer", e.msg);
    else if (!tokenizer) printf(LINE "none\n", "tokenizer");
    else
        printf(LINE "%zu ids, split as %.*s, %s\n", "tokenizer",
               json_object_size(json_object_get(json_object_get(tokenizer, "model"), "vocab")),
               pre.p ? (int)pre.n : 13, pre.p ? pre.p : "SentencePiece",
               template.p ? "with a chat template" : "no chat template");
    json_decref(tokenizer);
    json_decref(config);
}

static void print_gguf(const tn_gguf *g, bool tensors) {
    tally t = {0};
    for (size_t i = 0; i < tn_gguf_tensors(g); i++) {
        const tn_gguf_tensor *x = tn_gguf_at(g, i);
        tally_add(&t, tn_gguf_type_find(x->type)->name, (double)x->rows * (double)x->cols,
                  (double)x->bytes);
    }
    tally_print(&t);
    for (size_t i = 0; tensors && i < tn_gguf_tensors(g); i++) {
        const tn_gguf_tensor *x = tn_gguf_at(g, i);
        const int64_t shape[2] = {x->n_dim > 1 ? x->rows : x->cols, x->cols};
        print_tensor(x->name.p, x->name.n, tn_gguf_type_find(x->type)->name, shape,
                     x->n_dim > 1 ? 2 : 1);
    }
}

static tn_status inspect_gguf(const char *path, bool tensors, tn_err *e) {
    tn_gguf *g;
    json_t *config = NULL;
    tn_desc d;
    TN_TRY(tn_gguf_open(&g, path, e));
    tn_status st = tn_gguf_config(g, &config, e);
    if (st == TN_OK) st = tn_desc_from_config(&d, config, path, e);
    if (st == TN_OK) {
        printf("%s: GGUF\n", path);
        print_desc(&d);
        print_gguf_tokenizer(g);
        print_gguf(g, tensors);
    }
    json_decref(config);
    tn_gguf_close(g);
    return st;
}

static tn_status run(const tn_opts *opts, tn_err *e) {
    inspect_opts o;
    tn_opts_bind(opts, inspect_rows, &o);
    if (tn_opts_npos(opts) != 1)
        return tn_fail(e, TN_ARG, "inspect takes one folder or file: tenet inspect DIR");
    const char *path = tn_opts_pos(opts, 0);
    if (tn_is_dir(path)) return inspect_folder(path, o.base, o.tensors, e);
    tn_map m;
    TN_TRY(tn_map_file(path, &m, e));
    bool gguf = tn_zip_is(m.p, m.n) || (m.n >= 4 && !memcmp(m.p, "GGUF", 4));
    tn_unmap(&m);
    return gguf ? inspect_gguf(path, o.tensors, e) : inspect_safetensors(path, o.tensors, e);
}

const tn_verb tn_verb_inspect = {
    .name = "inspect",
    .stage = "Files",
    .summary = "What a model folder, adapter, GGUF file or safetensors file holds",
    .details =
        "Family, shape, parameters, types, tokenizer, chat template, and whether it is a reward\n"
        "model. A checkpoint's files are compared with its manifest.\n\n"
        "  tenet inspect out/reward\n"
        "  tenet inspect model.safetensors --tensors\n",
    .positional = "SOURCE",
    .tables = inspect_tables,
    .run = run};
