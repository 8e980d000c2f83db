/* Allocations that fail inside jansson: an error, no crash, no value that lacks a part. */
#include "base/json.h"
#include "test.h"
#include <errno.h>
#include <string.h>

static const char text[] =
    "{\"a\": [1, 2.5, \"a string of more than thirty-two characters, with \\u00e4 and \\n\", null],"
    " \"a key that is long enough for its buffer to grow, and to grow once more after that\": {\"b\": "
    "[[], {}, [\"0123456789012345678901234567890\", \"0123456789012345678901234567890\"]]},"
    " \"c\": \"short\", \"d\": -12345678901234567, \"e\": [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18]}";

TEST(base_json_mem_parse) {
    json_t *want = NULL;
    CHECK_OK(tn_json_parse(text, strlen(text), "text", &want, e));
    long failed = 0;
    for (long n = 1;; n++) {
        json_t *got = NULL;
        tn_fault_arm(n, ENOMEM);
        tn_status st = tn_json_parse(text, strlen(text), "text", &got, NULL);
        bool fired = tn_fault_fired();
        tn_fault_arm(0, 0);
        CHECK_MSG(st == (fired ? TN_NOMEM : TN_OK), "call %ld: %s", n, tn_status_text(st));
        CHECK_MSG((got != NULL) == !fired, "call %ld", n);
        CHECK_MSG(!got || json_equal(got, want), "call %ld: another value", n);
        json_decref(got);
        failed += fired;
        if (!fired) break;
    }
    CHECK_MSG(failed > 50, "%ld calls", failed);
    json_decref(want);
}

/* A value that lost a member is not saved, once. */
TEST(base_json_mem_save) {
    char path[700];
    snprintf(path, sizeof path, "%s/f.json", tn_test_dir());
    json_t *o = json_object();
    tn_fault_arm(1, ENOMEM);
    json_object_set_new(o, "lost", json_integer(1));
    tn_fault_arm(0, 0);
    CHECK(json_object_size(o) == 0);
    json_t *other = NULL;
    CHECK_OK(tn_json_parse("[1]", 3, "text", &other, e)); /* does not take the blame */
    CHECK_FAIL(tn_json_save(path, o, false, e), TN_NOMEM, "f.json");
    CHECK(!tn_exists(path));
    CHECK_OK(tn_json_save(path, o, false, e));
    json_decref(o);
    json_decref(other);
}
