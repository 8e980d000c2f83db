#include "base/machine.h"
#include "base/fault.h"
#include "base/os.h"
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

typedef struct reader {
    const char *root;
    tn_str path, text;
} reader;

/* The file's contents, or "" when it cannot be read. */
static const char *contents(reader *r, const char *path) {
    tn_str_clear(&r->path);
    tn_str_addf(&r->path, "%s%s", r->root, path);
    if (tn_read_file(r->path.s, &r->text, 64 << 20, NULL) != TN_OK) tn_str_clear(&r->text);
    return r->text.s;
}

/* What follows "key" and ':' or '=' in a line of `text` that begins so; NULL when none does. The
 * value ends with its line: *n bytes. */
static const char *value_of(const char *text, const char *key, size_t *n) {
    size_t k = strlen(key);
    for (const char *s = text; s && *s; s = strchr(s, '\n'), s = s ? s + 1 : NULL) {
        if (strncmp(s, key, k)) continue;
        const char *v = s + k + strspn(s + k, " \t");
        if (*v != ':' && *v != '=') continue;
        v++;
        v += strspn(v, " \t\"");
        *n = strcspn(v, "\"\n");
        return v;
    }
    return NULL;
}

static void copy_value(char *out, size_t size, const char *text, const char *key) {
    size_t n;
    const char *v = value_of(text, key, &n);
    if (v) snprintf(out, size, "%.*s", (int)n, v);
}

/* "16384 kB", "32K", "2048" in bytes; "max" is 0. */
static size_t bytes_of(const char *s) {
    char *end;
    unsigned long long v = strtoull(s, &end, 10);
    end += strspn(end, " ");
    return (size_t)v << (*end == 'k' || *end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : 0);
}

static size_t bytes_at(const char *text, const char *key) {
    size_t n;
    const char *v = value_of(text, key, &n);
    return v ? bytes_of(v) : 0;
}

/* ---- CPU ---- */

/* Physical cores and packages: distinct pairs of "physical id" and "core id". */
static void count_cores(tn_machine *m, const char *text) {
    enum { MOST = 4096 };
    int *seen = tn_calloc(MOST, sizeof *seen), n = 0, package = 0, top = 0;
    for (const char *s = text; seen && s && *s; s = strchr(s, '\n'), s = s ? s + 1 : NULL) {
        const char *colon = strchr(s, ':');
        if (!strncmp(s, "processor", 9)) m->cpus++;
        if (colon && !strncmp(s, "physical id", 11)) package = (int)strtol(colon + 1, NULL, 10);
        if (!colon || strncmp(s, "core id", 7)) continue;
        int id = package << 16 | (int)strtol(colon + 1, NULL, 10), k = 0;
        if (package > top) top = package;
        while (k < n && seen[k] != id) k++;
        if (k == n && n < MOST) seen[n++] = id;
    }
    m->cores = n;
    m->sockets = n ? top + 1 : 0;
    tn_free(seen);
}

static void read_cpu(tn_machine *m, reader *r) {
    const char *text = contents(r, "/proc/cpuinfo"), *flags;
    size_t n;
    copy_value(m->cpu, sizeof m->cpu, text, "model name");
    flags = value_of(text, "flags", &n);
    if (!flags) flags = value_of(text, "Features", &n); /* Arm */
    tn_str_addc(&m->flags, ' ');
    if (flags) tn_str_add(&m->flags, flags, n);
    tn_str_addc(&m->flags, ' ');
    count_cores(m, text);
}

static void read_caches(tn_machine *m, reader *r) {
    for (int i = 0; i < 8; i++) {
        char path[96], type;
        const char *dir = "/sys/devices/system/cpu/cpu0/cache/index";
        snprintf(path, sizeof path, "%s%d/type", dir, i);
        type = contents(r, path)[0];
        if (type != 'D' && type != 'U') continue; /* Data, Unified; not Instruction */
        snprintf(path, sizeof path, "%s%d/level", dir, i);
        char level = contents(r, path)[0];
        snprintf(path, sizeof path, "%s%d/size", dir, i);
        size_t size = bytes_of(contents(r, path));
        if (level == '1') m->l1d = size;
        if (level == '2') m->l2 = size;
        if (level == '3') m->l3 = size;
    }
}

/* ---- control groups ---- */

typedef struct limits {
    tn_machine *m;
    reader *r;
    size_t room; /* smallest distance of usage from a limit */
} limits;

static const char *group_file(limits *l, const char *base, const char *group, const char *name) {
    char path[1024];
    snprintf(path, sizeof path, "/sys/fs/cgroup%s%s/%s", base, group, name);
    return contents(l->r, path);
}

/* Free room in a group: usage counts page cache, which goes when memory is wanted. */
static void memory_group(limits *l, const char *base, const char *group, const char *max,
                         const char *usage, const char *inactive) {
    size_t limit = bytes_of(group_file(l, base, group, max)), n;
    if (!limit || limit >= l->m->memory) return; /* none; version 1 says 2^63 less a page */
    size_t used = bytes_of(group_file(l, base, group, usage)), cache = 0;
    const char *stat = group_file(l, base, group, "memory.stat");
    for (const char *s = stat; s && *s; s = strchr(s, '\n'), s = s ? s + 1 : NULL)
        if (!strncmp(s, inactive, n = strlen(inactive)) && s[n] == ' ') cache = bytes_of(s + n + 1);
    used -= cache < used ? cache : used;
    if (!l->m->memory_limit || limit < l->m->memory_limit) l->m->memory_limit = limit;
    if (limit - (used < limit ? used : limit) < l->room) l->room = limit - used;
}

static void cpu_quota(tn_machine *m, double quota, double period) {
    if (quota > 0 && period > 0 && (!m->cpu_limit || quota / period < m->cpu_limit))
        m->cpu_limit = quota / period;
}

/* One group and all above it, up to the root. */
static void read_group(limits *l, const char *controllers, char *group) {
    bool v2 = !*controllers;
    for (;; *strrchr(group, '/') = 0) {
        if (!strcmp(group, "/")) *group = 0;
        if (v2) {
            memory_group(l, "", group, "memory.max", "memory.current", "inactive_file");
            char *end;
            double quota = strtod(group_file(l, "", group, "cpu.max"), &end);
            cpu_quota(l->m, quota, strtod(end, NULL));
        } else if (strstr(controllers, "memory")) {
            memory_group(l, "/memory", group, "memory.limit_in_bytes", "memory.usage_in_bytes",
                         "total_inactive_file");
        } else if (!strncmp(controllers, "cpu", 3) && strncmp(controllers, "cpuset", 6)) {
            double quota = strtod(group_file(l, "/cpu", group, "cpu.cfs_quota_us"), NULL);
            cpu_quota(l->m, quota,
                      strtod(group_file(l, "/cpu", group, "cpu.cfs_period_us"), NULL));
        }
        if (!strchr(group, '/')) return;
    }
}

/* Lines "number:controllers:path". */
static void read_groups(tn_machine *m, reader *r) {
    limits l = {m, r, SIZE_MAX};
    char *lines = tn_strdup(contents(r, "/proc/self/cgroup")), *save = NULL;
    for (char *s = lines ? strtok_r(lines, "\n", &save) : NULL; s;
         s = strtok_r(NULL, "\n", &save)) {
        char *controllers = strchr(s, ':'),
             *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path || path[1] != '/') continue;
        *path = 0;
        read_group(&l, controllers + 1, path + 1);
    }
    tn_free(lines);
    if (l.room < m->memory_free) m->memory_free = l.room;
}

/* ---- all ---- */

static void read_memory(tn_machine *m, reader *r) {
    const char *text = contents(r, "/proc/meminfo"), *huge, *open;
    size_t n;
    m->memory = bytes_at(text, "MemTotal");
    m->memory_free = bytes_at(text, "MemAvailable");
    huge = value_of(text, "HugePages_Total", &n);
    m->huge_reserved = huge ? strtol(huge, NULL, 10) : 0;
    open = strchr(contents(r, "/sys/kernel/mm/transparent_hugepage/enabled"), '[');
    if (open) snprintf(m->huge, sizeof m->huge, "%.*s", (int)strcspn(open + 1, "]"), open + 1);
}

static bool there(reader *r, const char *path) {
    tn_str_clear(&r->path);
    tn_str_addf(&r->path, "%s%s", r->root, path);
    return tn_exists(r->path.s);
}

tn_status tn_machine_read(tn_machine *m, const char *root, tn_err *e) {
    reader r = {root, TN_STR_INIT, TN_STR_INIT};
    struct utsname u;
    *m = (tn_machine){.flags = TN_STR_INIT};
    if (uname(&u) == 0) snprintf(m->kernel, sizeof m->kernel, "%.40s %.40s", u.release, u.machine);
    copy_value(m->system, sizeof m->system, contents(&r, "/etc/os-release"), "PRETTY_NAME");
    m->cpus_here = tn_ncpu();
    read_cpu(m, &r);
    read_caches(m, &r);
    read_memory(m, &r);
    m->container = there(&r, "/.dockerenv") || there(&r, "/run/.containerenv");
    read_groups(m, &r);
    bool oom = r.path.oom || r.text.oom || m->flags.oom;
    tn_str_free(&r.path);
    tn_str_free(&r.text);
    return oom ? tn_fail(e, TN_NOMEM, "no memory to describe the machine") : TN_OK;
}

void tn_machine_free(tn_machine *m) { tn_str_free(&m->flags); }

bool tn_machine_has(const tn_machine *m, const char *flag) {
    size_t n = strlen(flag);
    for (const char *s = m->flags.s; (s = strstr(s, flag)); s += n)
        if (s > m->flags.s && s[-1] == ' ' && s[n] == ' ') return true;
    return false;
}

size_t tn_disk_free(const char *dir) {
    struct statvfs s;
    if (tn_fault() || statvfs(dir, &s) < 0) return 0;
    return (size_t)s.f_bavail * (size_t)s.f_frsize;
}

bool tn_find_program(const char *name, tn_str *path) {
    const char *dirs = getenv("PATH");
    while (dirs && *dirs) {
        size_t n = strcspn(dirs, ":");
        tn_str_clear(path);
        tn_str_addf(path, "%.*s/%s", (int)n, dirs, name);
        if (n && access(path->s, X_OK) == 0) return true;
        dirs += n + (dirs[n] == ':');
    }
    return false;
}
