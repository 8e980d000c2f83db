/* Methods of strings, dictionaries and lists that chat templates may call. */
#include "text/jinja_int.h"
#include "text/unicode.h"
#include <string.h>

static const char *const str_methods[] = {
    "strip",        "lstrip",    "rstrip",    "split",      "rsplit",     "splitlines",
    "startswith",   "endswith",  "replace",   "upper",      "lower",      "title",
    "capitalize",   "join",      "find",      "rfind",      "index",      "count",
    "isdigit",      "isalpha",   "isspace",   "isupper",    "islower",    "removeprefix",
    "removesuffix", "format",    "encode",    "partition",  "rpartition", "zfill",
    "center",       "ljust",     "rjust",     "casefold",   "swapcase",   "isalnum",
    "isnumeric",    "isdecimal", "translate", "format_map", "expandtabs", "isidentifier",
    "isprintable",  "istitle",   "isascii",   "rindex",     "maketrans",  NULL};
static const char *const dict_methods[] = {"get",        "items",   "keys",     "values",
                                           "update",     "pop",     "copy",     "clear",
                                           "setdefault", "popitem", "fromkeys", NULL};
static const char *const list_methods[] = {"index",  "count",   "append", "extend", "insert", "pop",
                                           "remove", "reverse", "sort",   "copy",   "clear",  NULL};

bool tn_jhas_method(jv v, const char *name) {
    const char *const *list = v.kind == JV_STR    ? str_methods
                              : v.kind == JV_DICT ? dict_methods
                              : v.kind == JV_LIST ? list_methods
                                                  : NULL;
    if (v.kind == JV_LOOP) return !strcmp(name, "cycle");
    for (; list && *list; list++)
        if (!strcmp(*list, name)) return true;
    return false;
}

static tn_status need_str(jrun *r, jv v, const char *method) {
    if (v.kind == JV_STR) return TN_OK;
    return tn_jraise(r, TN_FORMAT, "%s() needs a string, not %s", method, tn_jtype(v));
}

static tn_status push_sub(jrun *r, jv list, const jstr *s, size_t a, size_t b) {
    tn_status st = TN_OK;
    jv v = tn_jsub(r, s, a, b, &st);
    return st == TN_OK ? tn_jpush(r, list, v) : st;
}

static size_t skip_space(const jstr *s, size_t i, bool space) {
    while (i < s->n) {
        size_t k = i;
        if (tn_jspace(tn_utf8_next(s->s, &k)) != space) break;
        i = k;
    }
    return i;
}

static tn_status split_space(jrun *r, const jstr *s, int64_t max, jv list) {
    for (size_t i = skip_space(s, 0, true); i < s->n;) {
        size_t end = max == 0 ? s->n : skip_space(s, i, false); /* the rest keeps its blanks */
        TN_TRY(push_sub(r, list, s, i, end));
        i = skip_space(s, end, true);
        if (max > 0) max--;
    }
    return TN_OK;
}

static tn_status split(jrun *r, const jstr *s, const jargs *a, jv *out) {
    jv sep = tn_jarg(a, 0, "sep", jv_none()), count = tn_jarg(a, 1, "maxsplit", jv_int(-1));
    int64_t max = count.kind == JV_INT ? count.i : -1;
    TN_TRY(tn_jlist(r, 4, out));
    if (sep.kind == JV_NONE) return split_space(r, s, max, *out);
    TN_TRY(need_str(r, sep, "split"));
    if (sep.s->n == 0) return tn_jraise(r, TN_FORMAT, "empty separator");
    size_t i = 0;
    for (; max != 0; max--) {
        const char *hit = memmem(s->s + i, s->n - i, sep.s->s, sep.s->n);
        if (!hit) break;
        TN_TRY(push_sub(r, *out, s, i, (size_t)(hit - s->s)));
        i = (size_t)(hit - s->s) + sep.s->n;
    }
    return push_sub(r, *out, s, i, s->n);
}

static const char *last_hit(const jstr *s, size_t end, const jstr *what) {
    for (size_t i = end + 1; i-- > 0;)
        if (end - i >= what->n && !memcmp(s->s + i, what->s, what->n)) return s->s + i;
    return NULL;
}

static tn_status rsplit(jrun *r, const jstr *s, const jargs *a, jv *out) {
    jv sep = tn_jarg(a, 0, "sep", jv_none()), count = tn_jarg(a, 1, "maxsplit", jv_int(-1)), list;
    int64_t max = count.kind == JV_INT ? count.i : -1;
    if (max < 0) return split(r, s, a, out);
    TN_TRY(need_str(r, sep, "rsplit"));
    if (sep.s->n == 0) return tn_jraise(r, TN_FORMAT, "empty separator");
    TN_TRY(tn_jlist(r, 4, &list));
    size_t end = s->n;
    for (; max > 0; max--) {
        const char *hit = last_hit(s, end, sep.s);
        if (!hit) break;
        TN_TRY(push_sub(r, list, s, (size_t)(hit - s->s) + sep.s->n, end));
        end = (size_t)(hit - s->s);
    }
    TN_TRY(push_sub(r, list, s, 0, end));
    TN_TRY(tn_jlist(r, list.l->n, out));
    for (size_t k = list.l->n; k > 0; k--) TN_TRY(tn_jpush(r, *out, list.l->v[k - 1]));
    return TN_OK;
}

static tn_status splitlines(jrun *r, const jstr *s, jv *out) {
    TN_TRY(tn_jlist(r, 4, out));
    for (size_t i = 0; i < s->n;) {
        size_t end = i;
        while (end < s->n && s->s[end] != '\n' && s->s[end] != '\r') end++;
        TN_TRY(push_sub(r, *out, s, i, end));
        i = end + 1 < s->n && s->s[end] == '\r' && s->s[end + 1] == '\n' ? end + 2 : end + 1;
    }
    return TN_OK;
}

/* startswith and endswith: a string or a tuple of strings. */
static tn_status edge(jrun *r, const jstr *s, jv what, bool at_end, bool *out) {
    *out = false;
    if (what.kind == JV_LIST && what.tuple) {
        for (size_t k = 0; k < what.l->n && !*out; k++)
            TN_TRY(edge(r, s, what.l->v[k], at_end, out));
        return TN_OK;
    }
    TN_TRY(need_str(r, what, at_end ? "endswith" : "startswith"));
    size_t n = what.s->n;
    *out = n <= s->n && (n == 0 || !memcmp(at_end ? s->s + s->n - n : s->s, what.s->s, n));
    return TN_OK;
}

static tn_status find(jrun *r, const jstr *s, const char *name, jv what, jv *out) {
    TN_TRY(need_str(r, what, name));
    if (!strcmp(name, "count")) {
        int64_t k = what.s->n ? 0 : (int64_t)tn_jlen(s) + 1;
        for (size_t i = 0; what.s->n;) {
            const char *hit = memmem(s->s + i, s->n - i, what.s->s, what.s->n);
            if (!hit) break;
            k++;
            i = (size_t)(hit - s->s) + what.s->n;
        }
        *out = jv_int(k);
        return TN_OK;
    }
    const char *hit = name[0] == 'r' ? last_hit(s, s->n, what.s)
                      : what.s->n    ? memmem(s->s, s->n, what.s->s, what.s->n)
                                     : s->s;
    if (!hit && strstr(name, "index")) return tn_jraise(r, TN_FORMAT, "substring not found");
    jstr head = {s->s, hit ? (size_t)(hit - s->s) : 0, NULL};
    *out = jv_int(hit ? (int64_t)tn_jlen(&head) : -1);
    return TN_OK;
}

static bool all_of(const jstr *s, const char *name) {
    static const struct {
        const char *name;
        char how;
    } kinds[] = {{"isdigit", 'd'}, {"isspace", 's'}};
    char how = 0;
    for (size_t k = 0; k < 2; k++)
        if (!strcmp(name, kinds[k].name)) how = kinds[k].how;
    for (size_t i = 0; i < s->n;) {
        uint32_t c = tn_utf8_next(s->s, &i);
        if (how == 'd' ? !(c >= '0' && c <= '9') : !tn_jspace(c)) return false;
    }
    return s->n > 0;
}

static tn_status str_method(jrun *r, jv self, const char *name, const jargs *a, jv *out) {
    const jstr *s = self.s;
    jv arg = tn_jarg(a, 0, NULL, jv_none());
    bool ok = false;
    tn_status st = TN_OK;
    if (!strcmp(name, "strip") || !strcmp(name, "lstrip") || !strcmp(name, "rstrip")) {
        if (arg.kind != JV_NONE) TN_TRY(need_str(r, arg, name));
        return tn_jstrip(r, self, arg, name[0] != 'r', name[0] != 'l', out);
    }
    if (!strcmp(name, "split")) return split(r, s, a, out);
    if (!strcmp(name, "rsplit")) return rsplit(r, s, a, out);
    if (!strcmp(name, "splitlines")) return splitlines(r, s, out);
    if (!strcmp(name, "startswith") || !strcmp(name, "endswith")) {
        TN_TRY(edge(r, s, arg, name[0] == 'e', &ok));
        *out = jv_bool(ok);
        return TN_OK;
    }
    if (!strcmp(name, "removeprefix") || !strcmp(name, "removesuffix")) {
        bool tail = name[6] == 's';
        TN_TRY(need_str(r, arg, name));
        TN_TRY(edge(r, s, arg, tail, &ok));
        size_t cut = ok ? arg.s->n : 0;
        *out = tn_jsub(r, s, tail ? 0 : cut, tail ? s->n - cut : s->n, &st);
        return st;
    }
    if (!strcmp(name, "replace")) {
        jv to = tn_jarg(a, 1, NULL, jv_none()), count = tn_jarg(a, 2, "count", jv_int(-1));
        TN_TRY(need_str(r, arg, name));
        TN_TRY(need_str(r, to, name));
        return tn_jreplace(r, self, arg, to, count.kind == JV_INT ? count.i : -1, out);
    }
    if (!strcmp(name, "upper")) return tn_jcase(r, self, 'u', out);
    if (!strcmp(name, "lower")) return tn_jcase(r, self, 'l', out);
    if (!strcmp(name, "title")) return tn_jcase(r, self, 't', out);
    if (!strcmp(name, "capitalize")) return tn_jcase(r, self, 'c', out);
    if (!strcmp(name, "join")) {
        jv list;
        TN_TRY(tn_jitems(r, arg, &list));
        for (size_t k = 0; k < list.l->n; k++) TN_TRY(need_str(r, list.l->v[k], name));
        return tn_jjoin(r, self, list, out);
    }
    if (!strcmp(name, "find") || !strcmp(name, "rfind") || !strcmp(name, "index") ||
        !strcmp(name, "rindex") || !strcmp(name, "count"))
        return find(r, s, name, arg, out);
    if (!strcmp(name, "isdigit") || !strcmp(name, "isspace")) {
        *out = jv_bool(all_of(s, name));
        return TN_OK;
    }
    return tn_jraise(r, TN_UNSUPPORTED, "str.%.40s() is not supported", name);
}

static tn_status dict_method(jrun *r, jv self, const char *name, const jargs *a, jv *out) {
    if (!strcmp(name, "get")) {
        if (a->n < 1) return tn_jraise(r, TN_FORMAT, "get() needs a key");
        if (!tn_jget(self.d, a->v[0], out)) *out = tn_jarg(a, 1, "default", jv_none());
        return TN_OK;
    }
    bool keys = !strcmp(name, "keys"), known;
    if (!strcmp(name, "items")) {
        jargs none = {0};
        return tn_jfilter_list(r, "items", self, &none, out, &known);
    }
    if (keys || !strcmp(name, "values")) {
        TN_TRY(tn_jlist(r, self.d->n, out));
        for (size_t k = 0; k < self.d->n; k++)
            TN_TRY(tn_jpush(r, *out, keys ? self.d->k[k] : self.d->v[k]));
        return TN_OK;
    }
    if (!strcmp(name, "copy")) {
        TN_TRY(tn_jdict(r, out));
        for (size_t k = 0; k < self.d->n; k++)
            TN_TRY(tn_jput(r, out->d, self.d->k[k], self.d->v[k]));
        return TN_OK;
    }
    return tn_jraise(
        r, TN_UNSUPPORTED,
        "dict.%.40s() changes its dictionary, which templates may not, or is not supported", name);
}

static tn_status list_method(jrun *r, jv self, const char *name, const jargs *a, jv *out) {
    if ((!strcmp(name, "index") || !strcmp(name, "count")) && a->n == 1) {
        int64_t hits = 0, first = -1;
        for (size_t k = 0; k < self.l->n; k++)
            if (tn_jequal(self.l->v[k], a->v[0]) && hits++ == 0) first = (int64_t)k;
        if (name[0] == 'i' && first < 0)
            return tn_jraise(r, TN_FORMAT, "the value is not in the list");
        *out = jv_int(name[0] == 'i' ? first : hits);
        return TN_OK;
    }
    return tn_jraise(r, TN_UNSUPPORTED,
                     "list.%.40s() changes its list, which templates may not, or is not supported",
                     name);
}

static tn_status loop_method(jrun *r, jloop *l, const char *name, const jargs *a, jv *out) {
    if (!strcmp(name, "cycle")) {
        if (a->n == 0) return tn_jraise(r, TN_FORMAT, "no items for cycling given");
        *out = a->v[l->index % a->n];
        return TN_OK;
    }
    return tn_jraise(r, TN_UNSUPPORTED, "loop.%.40s() is not supported", name);
}

tn_status tn_jmethod(jrun *r, const jmethod *m, jargs *a, jv *out) {
    switch (m->self.kind) {
    case JV_STR:
        return str_method(r, m->self, m->name, a, out);
    case JV_DICT:
        return dict_method(r, m->self, m->name, a, out);
    case JV_LIST:
        return list_method(r, m->self, m->name, a, out);
    case JV_LOOP:
        return loop_method(r, m->self.loop, m->name, a, out);
    default:
        return tn_jraise(r, TN_BUG, "a method of a %s", tn_jtype(m->self));
    }
}
