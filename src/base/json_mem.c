/* jansson's memory. Where jansson is told that there is none, it often goes on: a member is not set, an
 * array is short, and its lexer (2.14, lex_scan_string) runs over the end of a buffer, because the text of a
 * token that could not grow has lost its end. So a loss is remembered until TN_NOMEM is said somewhere. While
 * a text is parsed, the lexer's buffer, which doubles from 16 bytes and so asks for powers of two, can grow in
 * a reserve of eight times the text; other requests fail after a loss, which ends the parse at the next
 * value. */
#include "base/json_mem.h"
#include "base/json.h"

static _Thread_local char *reserve, *reserve_next, *reserve_end;

static void *from_reserve(size_t n) {
    if (!reserve || n < 32 || (n & (n - 1)) || n > (size_t)(reserve_end - reserve_next)) return NULL;
    void *p = reserve_next;
    reserve_next += n;
    return p;
}

static void *json_alloc(size_t n) {
    void *p = reserve && tn_memory_lost ? NULL : tn_malloc(n);
    if (p) return p;
    tn_memory_lost = true;
    return from_reserve(n);
}

static void json_release(void *p) {
    if (!reserve || (char *)p < reserve || (char *)p >= reserve_end) tn_free(p);
}

/* malloc's and free's own kin: values made before, or by a host program, mix freely. */
__attribute__((constructor)) static void json_use_ours(void) {
    json_set_alloc_funcs(json_alloc, json_release);
}

tn_status tn_json_check(const char *what, tn_err *e) {
    if (!tn_memory_lost) return TN_OK;
    return tn_fail(e, TN_NOMEM, "no memory for the JSON values of %s", what);
}

tn_status tn_json_load_text(const char *text, size_t n, size_t flags, const char *where, json_t **root,
                            json_error_t *je, tn_err *e) {
    bool before = tn_memory_lost;
    size_t size = n < SIZE_MAX / 16 ? 8 * n + 65536 : SIZE_MAX;
    *root = NULL;
    reserve = reserve_next = tn_malloc(size);
    if (!reserve) return tn_fail(e, TN_NOMEM, "%s: no memory to parse %zu bytes of JSON", where, n);
    reserve_end = reserve + size;
    tn_memory_lost = false;
    *root = json_loadb(text, n, flags, je);
    tn_status st = tn_json_check(where, e);
    if (st != TN_OK) {
        json_decref(*root); /* some of it may lie in the reserve */
        *root = NULL;
    }
    tn_free(reserve);
    reserve = NULL;
    tn_memory_lost = before;
    return st;
}
