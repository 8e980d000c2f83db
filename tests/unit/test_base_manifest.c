/* A folder's manifest: what it lists, and that any difference is found. */
#include "base/manifest.h"
#include "base/os.h"
#include "test.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *in(const char *dir, const char *name) {
    static char path[1024];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}
static void put(const char *dir, const char *name, const char *text) {
    CHECK_OK(tn_write_file(in(dir, name), text, strlen(text), e));
}
static void fill(const char *dir) {
    CHECK_OK(tn_mkdirs(in(dir, "sub/sub"), e));
    put(dir, "a", "alpha");
    put(dir, "empty", "");
    put(dir, "sub/a", "beta");
    put(dir, "sub/sub/a", "gamma, the third");
}

TEST(base_manifest_differences) {
    const char *dir = tn_test_dir();
    fill(dir);
    CHECK_FAIL(tn_manifest_check(dir, e), TN_STATE, "no manifest.json");
    CHECK_OK(tn_manifest_write(dir, e));
    CHECK_OK(tn_manifest_check(dir, e));
    CHECK_OK(tn_manifest_write(dir, e)); /* it does not list itself */
    CHECK_OK(tn_manifest_check(dir, e));
    put(dir, "note", "other files are free");
    CHECK_OK(tn_manifest_check(dir, e));
    put(dir, "sub/a", "bet");
    CHECK_FAIL(tn_manifest_check(dir, e), TN_STATE, "sub/a has 3 bytes where the manifest says 4");
    put(dir, "sub/a", "betb");
    CHECK_FAIL(tn_manifest_check(dir, e), TN_STATE, "sub/a has checksum");
    put(dir, "sub/a", "beta");
    CHECK_OK(tn_manifest_check(dir, e));
    CHECK(unlink(in(dir, "empty")) == 0);
    CHECK_FAIL(tn_manifest_check(dir, e), TN_STATE, "is missing");
    put(dir, "manifest.json", "{}");
    CHECK_FAIL(tn_manifest_check(dir, e), TN_STATE, "no manifest of version 1");
    put(dir, "manifest.json", "{\"version\": 1, \"files\": {\"../x\": {\"bytes\": 1, \"hash\": \"0\"}}}");
    CHECK_FAIL(tn_manifest_check(dir, e), TN_STATE, "not understood");
}

/* Every bit of every file counts. */
TEST(base_manifest_every_bit) {
    const char *dir = tn_test_dir();
    char text[40] = "gamma, the third and of 39 characters";
    size_t n = strlen(text);
    put(dir, "f", text);
    CHECK_OK(tn_manifest_write(dir, e));
    for (size_t bit = 0; bit < 8 * n; bit++) {
        text[bit / 8] ^= (char)(1 << bit % 8);
        CHECK_OK(tn_write_file(in(dir, "f"), text, n, e));
        CHECK_FAIL(tn_manifest_check(dir, e), TN_STATE, "has checksum");
        text[bit / 8] ^= (char)(1 << bit % 8);
    }
    CHECK_OK(tn_write_file(in(dir, "f"), text, n, e));
    CHECK_OK(tn_manifest_check(dir, e));
}
