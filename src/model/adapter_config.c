/* adapter_config.json of PEFT: read strictly (what is not handled is refused by name), and written. */
#include "model/adapter_file.h"
#include <math.h>
#include <string.h>

static const char file_name[] = "adapter_config.json";

bool tn_adapter_folder(const char *dir) {
    tn_str path = TN_STR_INIT;
    tn_path_join(&path, dir, file_name);
    bool is = !path.oom && tn_exists(path.s);
    tn_str_free(&path);
    return is;
}

/* ---------------- reading ---------------- */

/* Read here, or without influence on what a trained adapter computes. */
static const char *const handled[] = {"alpha_pattern",
                                      "auto_mapping",
                                      "base_model_name_or_path",
                                      "bias",
                                      "corda_config",
                                      "eva_config",
                                      "inference_mode",
                                      "init_lora_weights",
                                      "layers_pattern",
                                      "loftq_config",
                                      "lora_alpha",
                                      "lora_dropout",
                                      "lora_ga_config",
                                      "megatron_core",
                                      "modules_to_save",
                                      "peft_type",
                                      "peft_version",
                                      "qalora_group_size",
                                      "r",
                                      "rank_pattern",
                                      "revision",
                                      "runtime_config",
                                      "target_modules",
                                      "task_type",
                                      "use_rslora"};

static bool is_handled(const char *key) {
    for (size_t i = 0; i < sizeof handled / sizeof *handled; i++)
        if (!strcmp(handled[i], key)) return true;
    return false;
}

/* null, false, 0, "", [], {}: switched off. */
static bool is_off(const json_t *v) {
    switch (json_typeof(v)) {
    case JSON_NULL:
    case JSON_FALSE:
        return true;
    case JSON_INTEGER:
    case JSON_REAL:
        return json_number_value(v) == 0;
    case JSON_STRING:
        return json_string_length(v) == 0;
    case JSON_ARRAY:
        return json_array_size(v) == 0;
    case JSON_OBJECT:
        return json_object_size(v) == 0;
    default:
        return false;
    }
}

static tn_status refuse_unhandled(const json_t *o, const char *where, tn_err *e) {
    const char *key;
    const json_t *v;
    json_object_foreach(
        (json_t *)(uintptr_t)o, key,
        v) if (!is_off(v) &&
               (!is_handled(key) ||
                strstr(key, "_pattern"))) return tn_fail(e, TN_UNSUPPORTED,
                                                         "%s: \"%.60s\" is set; plain LoRA with "
                                                         "one rank for all modules is "
                                                         "supported (no DoRA, quantised bases, "
                                                         "per-layer patterns, biases)",
                                                         where, key);
    const json_t *bias = json_object_get(o, "bias"),
                 *init = json_object_get(o, "init_lora_weights");
    if (bias && (!json_is_string(bias) || strcmp(json_string_value(bias), "none") != 0))
        return tn_fail(e, TN_UNSUPPORTED, "%s: \"bias\" must be \"none\": biases are not trained",
                       where);
    static const char *const plain[] = {"gaussian", "eva", "orthogonal"};
    bool ok = !json_is_string(init); /* others change the base, too (pissa, olora, loftq, ...) */
    for (int i = 0; i < 3 && !ok; i++) ok = !strcmp(json_string_value(init), plain[i]);
    if (!ok)
        return tn_fail(e, TN_UNSUPPORTED,
                       "%s: \"init_lora_weights\" is \"%.40s\", which changes the base model; "
                       "convert the adapter with PEFT (path_initial_model_for_weight_conversion)",
                       where, json_string_value(init));
    return TN_OK;
}

tn_status tn_lora_modules(unsigned *set, const char *name, const char *where, tn_err *e) {
    if (!strcmp(name, "all-linear")) {
        *set = TN_ALL_LINEAR;
        return TN_OK;
    }
    const char *dot = strrchr(name, '.'), *last = dot ? dot + 1 : name; /* self_attn.q_proj */
    for (int i = 0; i < TN_MODULES; i++)
        if (!strcmp(last, tn_module_names[i])) {
            *set |= 1u << i;
            return TN_OK;
        }
    return tn_fail(e, TN_UNSUPPORTED,
                   "%s: target module \"%.60s\"; q_proj, k_proj, v_proj, o_proj, gate_proj, "
                   "up_proj, down_proj and all-linear are supported, as names and not as patterns",
                   where, name);
}

static tn_status read_modules(tn_adapter_config *c, const json_t *o, const char *where, tn_err *e) {
    const json_t *v = json_object_get(o, "target_modules"), *x;
    size_t i;
    if (json_is_string(v)) return tn_lora_modules(&c->spec.modules, json_string_value(v), where, e);
    if (!json_is_array(v) || json_array_size(v) == 0)
        return tn_fail(e, TN_FORMAT, "%s: \"target_modules\" must list the adapted modules", where);
    json_array_foreach(v, i, x) {
        if (!json_is_string(x))
            return tn_fail(e, TN_FORMAT, "%s: target_modules[%zu] is not a string", where, i);
        TN_TRY(tn_lora_modules(&c->spec.modules, json_string_value(x), where, e));
    }
    return TN_OK;
}

/* PEFT lists both names of score heads; only "score" exists in these models. */
static tn_status read_saved(tn_adapter_config *c, const json_t *o, const char *where, tn_err *e) {
    const json_t *v = json_object_get(o, "modules_to_save"), *x;
    size_t i;
    if (!v || json_is_null(v)) return TN_OK;
    if (!json_is_array(v))
        return tn_fail(e, TN_FORMAT, "%s: \"modules_to_save\" must be a list", where);
    json_array_foreach(v, i, x) {
        const char *s = json_string_value(x);
        if (!s || (strcmp(s, "score") != 0 && strcmp(s, "classifier") != 0))
            return tn_fail(e, TN_UNSUPPORTED,
                           "%s: modules_to_save has \"%.60s\"; only \"score\" can be saved whole",
                           where, s ? s : "(no string)");
        c->score = c->score || !strcmp(s, "score");
    }
    return TN_OK;
}

static tn_status parse(tn_adapter_config *c, const json_t *o, const char *where, tn_err *e) {
    const char *type, *base, *task;
    int64_t r;
    if (!json_is_object(o)) return tn_fail(e, TN_FORMAT, "%s: an object is expected", where);
    TN_TRY(tn_json_need_str(o, "peft_type", &type, where, e));
    if (strcmp(type, "LORA") != 0)
        return tn_fail(e, TN_UNSUPPORTED, "%s: peft_type is \"%.40s\"; LORA is supported", where,
                       type);
    TN_TRY(refuse_unhandled(o, where, e));
    TN_TRY(tn_json_need_int(o, "r", &r, where, e));
    if (r < 1 || r > 1 << 16)
        return tn_fail(e, TN_FORMAT, "%s: r is %lld; a rank is at least 1", where, (long long)r);
    c->spec.rank = (int)r;
    TN_TRY(tn_json_real(o, "lora_alpha", 8, &c->spec.alpha, where, e));
    TN_TRY(tn_json_bool(o, "use_rslora", false, &c->spec.rslora, where, e));
    TN_TRY(tn_json_real(o, "lora_dropout", 0, &c->dropout, where, e));
    TN_TRY(tn_json_str(o, "base_model_name_or_path", NULL, &base, where, e));
    TN_TRY(tn_json_str(o, "task_type", NULL, &task, where, e));
    TN_TRY(read_modules(c, o, where, e));
    TN_TRY(read_saved(c, o, where, e));
    c->score = c->score || (task && !strcmp(task, "SEQ_CLS"));
    if (base) tn_str_addz(&c->base, base);
    return c->base.oom ? tn_fail(e, TN_NOMEM, "%s: out of memory", where) : TN_OK;
}

tn_status tn_adapter_config_read(tn_adapter_config *c, const char *dir, tn_err *e) {
    *c = (tn_adapter_config){.base = TN_STR_INIT};
    tn_str path = TN_STR_INIT;
    json_t *o = NULL;
    tn_status st = TN_OK;
    tn_path_join(&path, dir, file_name);
    if (path.oom) st = tn_fail(e, TN_NOMEM, "%s: out of memory", dir);
    if (st == TN_OK) st = tn_json_load(path.s, &o, e);
    if (st == TN_OK) st = parse(c, o, path.s, e);
    if (st != TN_OK) tn_str_free(&c->base);
    json_decref(o);
    tn_str_free(&path);
    return st;
}

/* ---------------- the base ---------------- */

tn_status tn_adapter_base(const char *dir, const char *base, tn_str *out, tn_err *e) {
    tn_adapter_config c;
    tn_str_clear(out);
    if (!tn_adapter_folder(dir)) {
        tn_str_addz(out, dir);
        return out->oom ? tn_fail(e, TN_NOMEM, "%s: out of memory", dir) : TN_OK;
    }
    TN_TRY(tn_adapter_config_read(&c, dir, e));
    tn_status st = TN_OK;
    const char *name = base ? base : c.base.s;
    tn_str_addz(out, name);
    if (!base && *name && *name != '/' && !tn_is_dir(name)) {
        tn_path_join(out, dir, name); /* beside the adapter */
        if (!tn_is_dir(out->s)) {
            tn_str_clear(out);
            tn_str_addz(out, name);
        }
    }
    if (out->oom)
        st = tn_fail(e, TN_NOMEM, "%s: out of memory", dir);
    else if (!*name || !tn_is_dir(out->s))
        st = tn_fail(e, TN_IO,
                     "%s is an adapter of \"%s\", which is no folder here; say where its base "
                     "model is with --base-model DIR",
                     dir, name);
    else if (tn_adapter_folder(out->s))
        st = tn_fail(e, TN_UNSUPPORTED,
                     "%s: its base %s is an adapter itself; make a full model of it first with "
                     "`tenet merge`",
                     dir, out->s);
    tn_str_free(&c.base);
    return st;
}

tn_status tn_adapter_peek(tn_lora_spec *s, const char *dir, tn_err *e) {
    tn_adapter_config c;
    *s = (tn_lora_spec){0};
    if (!tn_adapter_folder(dir)) return TN_OK;
    TN_TRY(tn_adapter_config_read(&c, dir, e));
    *s = c.spec;
    tn_str_free(&c.base);
    return TN_OK;
}

tn_status tn_model_tokenizer_dir(const char *dir, const char *base, tn_str *out, tn_err *e) {
    tn_path_join(out, dir, "tokenizer.json");
    bool own = !out->oom && tn_exists(out->s);
    if (!own && tn_adapter_folder(dir)) return tn_adapter_base(dir, base, out, e);
    tn_str_clear(out);
    tn_str_addz(out, dir);
    return out->oom ? tn_fail(e, TN_NOMEM, "%s: out of memory", dir) : TN_OK;
}

/* ---------------- writing ---------------- */

static json_t *names_of(unsigned modules) {
    json_t *a = json_array();
    for (int i = 0; i < TN_MODULES; i++)
        if (modules >> i & 1) json_array_append_new(a, json_string(tn_module_names[i]));
    return a;
}

tn_status tn_adapter_config_write(const tn_model *m, const char *dir, tn_err *e) {
    const tn_lora_spec *s = &m->adapter[0]->spec;
    bool whole = s->alpha == floor(s->alpha) && s->alpha < 1e9;
    tn_str path = TN_STR_INIT, base = TN_STR_INIT;
    json_t *o = NULL;
    tn_status st = TN_OK;
    if (m->dir[0]) TN_GO(tn_real_path(m->dir, &base, e), done);
    tn_path_join(&path, dir, file_name);
    o = json_pack("{s:s,s:s,s:s,s:i,s:o,s:f,s:s,s:b,s:b,s:b,s:o,s:b,s:b}", "peft_type", "LORA",
                  "task_type", m->head ? "SEQ_CLS" : "CAUSAL_LM", "base_model_name_or_path", base.s,
                  "r", s->rank, "lora_alpha",
                  whole ? json_integer((json_int_t)s->alpha) : json_real(s->alpha), "lora_dropout",
                  0.0, "bias", "none", "fan_in_fan_out", 0, "use_rslora", (int)s->rslora,
                  "use_dora", 0, "target_modules", names_of(s->modules), "init_lora_weights", 1,
                  "inference_mode", 1);
    if (o && m->head) json_object_set_new(o, "modules_to_save", json_pack("[s]", "score"));
    st = !o || path.oom ? tn_fail(e, TN_NOMEM, "%s: out of memory", dir)
                        : tn_json_save(path.s, o, true, e);
done:
    json_decref(o);
    tn_str_free(&base);
    tn_str_free(&path);
    return st;
}
