/* Rotary tables against transformers: one unit in the last place of float32 is allowed, because
 * torch's own vector powers, cosines and sines are that far from correctly rounded.            */
#include "base/mathx.h"
#include "model/desc.h"
#include "test.h"
#include <math.h>
#include <stdlib.h>

static double hex_at(const json_t *a, size_t i) {
    return strtod(json_string_value(json_array_get(a, i)), NULL);
}

static double ulp32(double v) {
    float f = fabsf((float)v);
    return (double)nextafterf(f, INFINITY) - (double)f;
}

static tn_status case_desc(const json_t *c, tn_desc *d, tn_err *e) {
    json_int_t dim = json_integer_value(json_object_get(c, "head_dim"));
    json_t *rope = json_deep_copy(json_object_get(c, "rope"));
    json_object_del(
        rope, "partial_rotary_factor"); /* the families rotate whole heads; rot_dim is set below */
    json_t *o =
        json_pack("{s:s, s:i, s:I, s:i, s:i, s:i, s:I, s:I, s:o}", "model_type", "llama",
                  "vocab_size", 4, "hidden_size", 2 * dim, "intermediate_size", 4,
                  "num_hidden_layers", 1, "num_attention_heads", 2, "head_dim", dim,
                  "max_position_embeddings", json_integer_value(json_object_get(c, "max_pos")),
                  "rope_parameters", rope);
    tn_status st = tn_desc_from_config(d, o, "case", e);
    json_decref(o);
    d->rope.rot_dim = (int)json_integer_value(json_object_get(c, "rot_dim"));
    return st;
}

TEST(rope_tables_equal_transformers) {
    json_t *cases = tn_golden("rope.json"), *c;
    size_t k;
    long exact = 0, total = 0;
    json_array_foreach(cases, k, c) {
        const char *id = json_string_value(json_object_get(c, "id"));
        tn_desc d;
        CHECK_OK(case_desc(c, &d, e));
        const json_t *pos = json_object_get(c, "positions"), *wc = json_object_get(c, "cos"),
                     *ws = json_object_get(c, "sin");
        int seq = (int)json_integer_value(json_object_get(c, "seq_len")), half = d.rope.rot_dim / 2,
            n = 0;
        for (size_t p = 0; p < json_array_size(pos); p++) {
            int at = (int)json_integer_value(json_array_get(pos, p));
            n = at + 1 > n ? at + 1 : n;
        }
        double *cs = malloc((size_t)n * (size_t)half * 8),
               *sn = malloc((size_t)n * (size_t)half * 8);
        CHECK_OK(tn_rope_tables(&d, n, seq, cs, sn, e));
        CHECK(json_array_size(wc) == json_array_size(pos) * (size_t)half);
        for (size_t p = 0; p < json_array_size(pos); p++)
            for (int i = 0; i < half; i++) {
                size_t w = p * (size_t)half + (size_t)i;
                size_t g =
                    (size_t)json_integer_value(json_array_get(pos, p)) * (size_t)half + (size_t)i;
                const double got[2] = {cs[g], sn[g]}, want[2] = {hex_at(wc, w), hex_at(ws, w)};
                for (int q = 0; q < 2; q++) {
                    double off = fabs((double)(float)got[q] - want[q]);
                    exact += off == 0;
                    total++;
                    CHECK_MSG(off <= ulp32(want[q]),
                              "%s: %s at position %lld, pair %d is %.9g, transformers has %.9g", id,
                              q ? "sin" : "cos", json_integer_value(json_array_get(pos, p)), i,
                              got[q], want[q]);
                }
            }
        free(cs);
        free(sn);
    }
    CHECK_MSG(exact >= total * 9 / 10, "only %ld of %ld table entries are equal to the bit", exact,
              total);
    json_decref(cases);
}

TEST(rope_refuses_dynamic_beyond_original) {
    tn_desc d = {.max_pos = 64,
                 .head_dim = 4,
                 .rope = {.type = TN_ROPE_DYNAMIC, .theta = 1e4, .factor = 2, .rot_dim = 4}};
    double cs[128], sn[128];
    CHECK_OK(tn_rope_tables(&d, 64, 64, cs, sn, e));
    CHECK_FAIL(tn_rope_tables(&d, 64, 65, cs, sn, e), TN_UNSUPPORTED, "64");
    CHECK_FAIL(tn_rope_tables(&d, 64, 1 << 21, cs, sn, e), TN_UNSUPPORTED, "positions");
}
