/* Adapter folders: saved and loaded again, shared bases, and everything that can be wrong with them. */
#include "base/fault.h"
#include "fuzz/mutate.h"
#include "model/adapter_file.h"
#include "model/safetensors.h"
#include "tiny.h"
#include <errno.h>

static const char *golden(const char *name) {
    static char path[4][300];
    static int k;
    char rel[128];
    snprintf(rel, sizeof rel, "golden/model/%s", name);
    char *s = path[k++ % 4];
    snprintf(s, sizeof path[0], "%s", tn_test_file(rel));
    return s;
}

static const char *fresh_dir(const char *name) {
    static char path[4][300];
    static int k;
    char *s = path[k++ % 4];
    snprintf(s, sizeof path[0], "%s/%s", tn_test_dir(), name);
    CHECK_OK(tn_remove_tree(s, e));
    CHECK_OK(tn_mkdirs(s, e));
    return s;
}

static tn_model *load(const char *dir, tn_backend *be, const tn_load *how) {
    tn_model *m = NULL;
    CHECK_OK(tn_model_load(&m, dir, be, how, e));
    return m;
}

static bool same_store(const tn_store *a, const tn_store *b) {
    return a && b && a->n == b->n && memcmp(a->data, b->data, a->n * 4) == 0;
}

TEST(adapter_file_round_trip) {
    static const char *const names[] = {"lora-llama", "lora-qwen2-rslora", "lora-score"};
    tn_backend *be = tiny_backend("ref", TN_F32, NULL, 1);
    for (int i = 0; be && i < 3; i++)
        for (int bf16 = 0; bf16 < 2; bf16++) {
            tn_model *m = load(golden(names[i]), be, &(tn_load){0}), *r;
            const char *dir = fresh_dir("adapter");
            tn_str base = TN_STR_INIT, real = TN_STR_INIT;
            if (!m) continue;
            CHECK_OK(tn_model_save(m, dir, bf16 ? "bfloat16" : "float32", e));
            CHECK(tn_adapter_folder(dir) && !tn_adapter_folder(m->dir));
            char *full = tn_strdup(dir);
            tn_path_join(&base, dir, "model.safetensors");
            CHECK(!tn_exists(base.s)); /* nothing of the base */
            CHECK_OK(tn_adapter_base(dir, NULL, &base, e));
            CHECK_OK(tn_real_path(m->dir, &real, e));
            CHECK(strcmp(base.s, real.s) == 0); /* absolute: the folder may move */
            r = load(full, be, &(tn_load){0});
            if (r) {
                CHECK(r->adapter[0]->spec.rank == m->adapter[0]->spec.rank &&
                      r->adapter[0]->spec.alpha == m->adapter[0]->spec.alpha &&
                      r->adapter[0]->spec.rslora == m->adapter[0]->spec.rslora &&
                      r->adapter[0]->spec.modules == m->adapter[0]->spec.modules);
                CHECK(same_store(m->adapter[0]->store, r->adapter[0]->store) == !bf16);
                CHECK((i == 2) == (r->head != NULL) && (i == 2) == r->no_lm_head);
                CHECK(!m->head || same_store(m->head, r->head) == !bf16);
                CHECK_OK(tn_model_trainable(r, e));
                CHECK(!r->trunk->grad && r->adapter[0]->store->grad);
            }
            tn_model_free(r);
            tn_model_free(m);
            tn_free(full);
            tn_str_free(&base);
            tn_str_free(&real);
        }
    tn_backend_free(be);
}

/* Two adapters on one base share it; on another one they do not. */
TEST(adapter_file_shares_the_base) {
    tn_backend *be = tiny_backend("ref", TN_F32, NULL, 1);
    tn_model *policy = load(golden("lora-llama"), be, &(tn_load){0});
    tn_model *reward = load(golden("lora-score"), be, &(tn_load){.on = policy});
    tn_model *other = load(golden("lora-qwen2-rslora"), be, &(tn_load){.on = policy});
    tn_model *alone = load(golden("lora-score"), be, &(tn_load){0});
    if (policy && reward && other && alone) {
        CHECK(reward->trunk == policy->trunk && reward->packs_shared && reward->no_lm_head && !policy->no_lm_head);
        CHECK(same_store(reward->head, alone->head) && same_store(reward->adapter[0]->store, alone->adapter[0]->store));
        CHECK(other->trunk != policy->trunk && !other->packs_shared);
        CHECK_OK(tn_model_trainable(reward, e)); /* packed for training with the policy */
        CHECK(reward->head->grad && !policy->adapter[0]->store->grad);
    }
    tn_model_free(other);
    tn_model_free(reward);
    /* the base itself, as a reference */
    tn_model *plain = load(golden("llama-llama3"), be, &(tn_load){.on = policy});
    CHECK(plain && policy && plain->trunk == policy->trunk && plain->n_adapter == 0 && !plain->trainable);
    tn_model_free(plain);
    plain = load(golden("llama-llama3"), be, &(tn_load){.on = policy, .want_score = true});
    CHECK(plain && policy && plain->trunk != policy->trunk); /* to be trained whole */
    tn_model_free(plain);
    /* a policy cannot look at a reward model's trunk: it has no packed LM head */
    tn_model_free(policy);
    policy = load(golden("lora-llama"), be, &(tn_load){.on = alone});
    CHECK(policy && policy->trunk != alone->trunk);
    tn_model_free(policy);
    tn_model_free(alone);
    /* a score head for an adapter that had none: zero, to be trained */
    reward = load(golden("lora-llama"), be, &(tn_load){.want_score = true, .score_bias = true});
    CHECK(reward && reward->head && reward->score_bias != TN_NONE && ((float *)reward->head->data)[0] == 0);
    tn_model_free(reward);
    tn_backend_free(be);
}

/* ---------------- what can be wrong ---------------- */

/* A copy of lora-score whose config has `key` set to v (NULL: removed), with its base's path made good. */
static const char *changed(const char *key, json_t *v) {
    const char *dir = fresh_dir("changed"), *from = golden("lora-score");
    tn_str a = TN_STR_INIT, b = TN_STR_INIT;
    json_t *o = NULL;
    tn_path_join(&a, from, "adapter_model.safetensors");
    tn_path_join(&b, dir, "adapter_model.safetensors");
    CHECK_OK(tn_copy_file(a.s, b.s, e));
    tn_path_join(&a, from, "adapter_config.json");
    tn_path_join(&b, dir, "adapter_config.json");
    CHECK_OK(tn_json_load(a.s, &o, e));
    json_object_set_new(o, "base_model_name_or_path", json_string(golden("llama-llama3")));
    if (v) json_object_set_new(o, key, v);
    else json_object_del(o, key);
    CHECK_OK(tn_json_save(b.s, o, false, e));
    json_decref(o);
    tn_str_free(&a);
    tn_str_free(&b);
    return dir;
}

#define REFUSED(key, value, code, text) \
    CHECK_FAIL(tn_model_load(&m, changed(key, value), be, &(tn_load){0}, e), code, text)

TEST(adapter_file_hostile_config) {
    tn_backend *be = tiny_backend("ref", TN_F32, NULL, 1);
    tn_model *m = NULL;
    m = load(changed("lora_dropout", json_real(0.05)), be, &(tn_load){0});
    CHECK(m && m->adapter_dropout == 0.05);
    tn_model_free(m);
    m = NULL;
    REFUSED("peft_type", json_string("IA3"), TN_UNSUPPORTED, "peft_type is \"IA3\"");
    REFUSED("peft_type", NULL, TN_FORMAT, "peft_type");
    REFUSED("use_dora", json_true(), TN_UNSUPPORTED, "\"use_dora\" is set");
    REFUSED("use_qalora", json_true(), TN_UNSUPPORTED, "use_qalora");
    REFUSED("lora_bias", json_true(), TN_UNSUPPORTED, "lora_bias");
    REFUSED("fan_in_fan_out", json_true(), TN_UNSUPPORTED, "fan_in_fan_out");
    REFUSED("something_of_peft_0.30", json_integer(1), TN_UNSUPPORTED, "something_of_peft_0.30");
    REFUSED("rank_pattern", json_pack("{s:i}", "q_proj", 4), TN_UNSUPPORTED, "rank_pattern");
    REFUSED("layers_to_transform", json_pack("[i]", 0), TN_UNSUPPORTED, "layers_to_transform");
    REFUSED("layer_replication", json_pack("[[i,i]]", 0, 2), TN_UNSUPPORTED, "layer_replication");
    REFUSED("bias", json_string("all"), TN_UNSUPPORTED, "biases are not trained");
    REFUSED("init_lora_weights", json_string("pissa"), TN_UNSUPPORTED, "changes the base model");
    REFUSED("r", json_integer(0), TN_FORMAT, "r is 0");
    REFUSED("r", json_string("2"), TN_FORMAT, "r");
    REFUSED("r", NULL, TN_FORMAT, "r");
    REFUSED("r", json_integer(3), TN_FORMAT, "r = 3 of adapter_config.json and the base model make it [3, 20]");
    REFUSED("r", json_integer(1 << 15), TN_ARG, "LoRA rank of 32768");
    REFUSED("lora_alpha", json_real(-1), TN_ARG, "alpha of -1");
    REFUSED("target_modules", json_pack("[s]", "embed_tokens"), TN_UNSUPPORTED, "target module \"embed_tokens\"");
    REFUSED("target_modules", json_string(".*(q|v)_proj"), TN_UNSUPPORTED, "not as patterns");
    REFUSED("target_modules", json_array(), TN_FORMAT, "target_modules");
    REFUSED("target_modules", json_pack("[i]", 3), TN_FORMAT, "target_modules[0]");
    REFUSED("target_modules", json_string("all-linear"), TN_FORMAT, "q_proj.lora_A.weight is missing");
    REFUSED("target_modules", json_pack("[s]", "self_attn.v_proj"), TN_FORMAT, "has no place in an adapter");
    REFUSED("modules_to_save", json_pack("[s]", "lm_head"), TN_UNSUPPORTED, "modules_to_save has \"lm_head\"");
    REFUSED("modules_to_save", json_string("score"), TN_FORMAT, "modules_to_save");
    REFUSED("base_model_name_or_path", json_string("HuggingFaceTB/SmolLM2-135M"), TN_IO, "--base-model DIR");
    REFUSED("base_model_name_or_path", NULL, TN_IO, "--base-model DIR");
    REFUSED("base_model_name_or_path", json_string(golden("lora-llama")), TN_UNSUPPORTED, "an adapter itself");
    REFUSED("base_model_name_or_path", json_string(golden("qwen2-yarn-late-window")), TN_FORMAT, "base model make");
    CHECK(m == NULL);
    /* --base-model wins */
    m = load(changed("base_model_name_or_path", json_string("nowhere")), be, &(tn_load){.base = golden("llama-llama3")});
    CHECK(m && m->n_adapter == 1);
    tn_model_free(m);
    tn_backend_free(be);
}

/* ---- tensors ---- */

typedef struct edit {
    const char *drop, *rename, *to, *flat; /* part of a tensor's name */
} edit;

static void read_entry(const void *ctx, size_t begin, size_t n, float *out) { tn_st_read(ctx, begin, n, out, 4); }

/* lora-score with other tensors. */
static const char *edited(const edit *how) {
    const char *dir = changed("r", json_integer(2));
    tn_str path = TN_STR_INIT, to = TN_STR_INIT;
    tn_st *s = NULL;
    static tn_st_out t[64];
    size_t n = 0;
    tn_path_join(&path, golden("lora-score"), "adapter_model.safetensors");
    CHECK_OK(tn_st_open(&s, path.s, e));
    for (size_t i = 0; s && i < tn_st_count(s); i++) {
        const tn_st_entry *x = tn_st_at(s, i);
        if (how->drop && strstr(x->name, how->drop)) continue;
        t[n] = (tn_st_out){.name = x->name, .n_dim = x->n_dim, .read = read_entry, .ctx = x};
        memcpy(t[n].shape, x->shape, sizeof x->shape);
        if (how->rename && strstr(x->name, how->rename)) t[n].name = how->to;
        if (how->flat && strstr(x->name, how->flat)) t[n].n_dim = 1, t[n].shape[0] = (int64_t)x->count;
        n++;
    }
    tn_path_join(&to, dir, "adapter_model.safetensors");
    CHECK_OK(tn_st_write_file(to.s, t, n, TN_ST_SAVE_F32, e));
    tn_st_close(s);
    tn_str_free(&path);
    tn_str_free(&to);
    return dir;
}

TEST(adapter_file_hostile_tensors) {
    static const struct {
        edit how;
        const char *text;
    } cases[] = {
        {{.drop = "1.self_attn.v_proj.lora_B"}, "layers.1.self_attn.v_proj.lora_B.weight is missing"},
        {{.drop = "score"}, "base_model.model.score.weight is missing"},
        {{.rename = "score", .to = "base_model.model.lm_head.weight"}, "score.weight is missing"},
        {{.rename = "0.mlp.up_proj.lora_A", .to = "base_model.model.model.layers.7.mlp.up_proj.lora_A.weight"},
         "layers.0.mlp.up_proj.lora_A.weight is missing"},
        {{.flat = "0.mlp.up_proj.lora_A"}, "has 1 dimensions, [40, 1]"},
        {{.flat = "score"}, "score.weight has 1 dimensions"},
    };
    tn_backend *be = tiny_backend("ref", TN_F32, NULL, 1);
    tn_model *m = NULL;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        CHECK_FAIL(tn_model_load(&m, edited(&cases[i].how), be, &(tn_load){0}, e), TN_FORMAT, cases[i].text);
    const char *dir = changed("r", json_integer(2));
    tn_str path = TN_STR_INIT;
    tn_path_join(&path, dir, "adapter_model.safetensors");
    CHECK_OK(tn_write_file(path.s, "not tensors", 11, e));
    CHECK_FAIL(tn_model_load(&m, dir, be, &(tn_load){0}, e), TN_FORMAT, "safetensors");
    CHECK_OK(tn_remove_tree(path.s, e));
    CHECK_FAIL(tn_model_load(&m, dir, be, &(tn_load){0}, e), TN_IO, "there is no adapter_model.safetensors");
    tn_path_join(&path, dir, "adapter_config.json");
    CHECK_OK(tn_write_file(path.s, "{\"peft_type\": ", 14, e));
    CHECK_FAIL(tn_model_load(&m, dir, be, &(tn_load){0}, e), TN_FORMAT, "adapter_config.json");
    CHECK_OK(tn_write_file(path.s, "[1]", 3, e));
    CHECK_FAIL(tn_model_load(&m, dir, be, &(tn_load){0}, e), TN_FORMAT, "an object is expected");
    CHECK(m == NULL);
    tn_str_free(&path);
    tn_backend_free(be);
}

/* Every system call and allocation of loading and saving fails once. */
TEST(adapter_file_faults_are_errors) {
    tn_backend *be = tiny_backend("ref", TN_F32, NULL, 1);
    tn_model *m = load(golden("lora-score"), be, &(tn_load){0});
    const char *dir = fresh_dir("faults");
    for (int what = 0; m && what < 3; what++) {
        long n = 0;
        bool fired = true;
        while (fired && n < 3000) {
            tn_err e = {0};
            tn_model *r = NULL;
            tn_status st;
            tn_fault_arm(++n, what == 1 ? ENOSPC : ENOMEM);
            if (what == 0) st = tn_model_load(&r, golden("lora-score"), be, &(tn_load){0}, &e);
            else if (what == 1) st = tn_model_save(m, dir, "float32", &e);
            else st = tn_model_load(&r, golden("lora-score"), be, &(tn_load){.on = m}, &e);
            fired = tn_fault_fired();
            tn_fault_arm(0, 0);
            CHECK_MSG(!fired || st == TN_OK || e.msg[0], "call %ld: an error without a message", n);
            CHECK_MSG(fired || st == TN_OK, "call %ld: %s", n, e.msg);
            if (st == TN_OK && r) CHECK(same_store(r->adapter[0]->store, m->adapter[0]->store));
            tn_model_free(r);
        }
        CHECK_MSG(n > 5 && !fired, "%ld calls", n);
    }
    tn_model_free(m);
    tn_backend_free(be);
}

static void put(const char *path, const tn_str *s) {
    tn_out *o = NULL;
    CHECK_OK(tn_remove_tree(path, e));
    CHECK_OK(tn_out_open(&o, path, false, e));
    CHECK_OK(tn_out_write(o, s->s, s->len, e));
    CHECK_OK(tn_out_close(o, TN_OK, false, e));
}

/* Mutated configurations and headers: an error with a message, or an adapter; never a crash. */
TEST(adapter_file_mutated) {
    static const char *const names[] = {"adapter_config.json", "adapter_model.safetensors"};
    tn_backend *be = tiny_backend("ref", TN_F32, NULL, 1);
    for (int k = 0; be && k < 2; k++) {
        const char *dir = changed("r", json_integer(2));
        tn_str path = TN_STR_INIT, good = TN_STR_INIT, bad = TN_STR_INIT;
        int loaded = 0, refused = 0;
        tn_path_join(&path, dir, names[k]);
        CHECK_OK(tn_read_file(path.s, &good, 1 << 20, e));
        for (uint64_t i = 0; i < tn_fuzz_rounds(300); i++) {
            tn_err e = {0};
            tn_model *m = NULL;
            size_t n = k && i % 4 ? 2600 : good.len; /* of the tensors mostly the header */
            tn_mutate(&bad, good.s, n < good.len ? n : good.len, NULL, 0, i);
            if (n < good.len) tn_str_add(&bad, good.s + n, good.len - n);
            put(path.s, &bad);
            tn_status st = tn_model_load(&m, dir, be, &(tn_load){.base = k ? NULL : golden("llama-llama3")}, &e);
            CHECK_MSG(st == TN_OK || e.msg[0], "round %d: an error without a message", (int)i);
            if (st == TN_OK) loaded++;
            else refused++;
            tn_model_free(m);
        }
        CHECK_MSG(loaded > 0 && refused > 50, "%s: %d loaded, %d refused", names[k], loaded, refused);
        tn_str_free(&path);
        tn_str_free(&good);
        tn_str_free(&bad);
    }
    tn_backend_free(be);
}
