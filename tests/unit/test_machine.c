/* The machine's description, read from made-up /proc and /sys; rates. */
#include "base/machine.h"
#include "base/os.h"
#include "ops/rate.h"
#include "test.h"
#include <stdlib.h>

static char root[600];

static void put(const char *path, const char *text) {
    char full[1200];
    snprintf(full, sizeof full, "%s%s", root, path);
    char *slash = strrchr(full, '/');
    *slash = 0;
    CHECK_OK(tn_mkdirs(full, e));
    *slash = '/';
    CHECK_OK(tn_write_file(full, text, strlen(text), e));
}

/* Two packages of two cores of two threads; 8 GiB. */
static void make_machine(void) {
    tn_str cpu = TN_STR_INIT;
    snprintf(root, sizeof root, "%s", tn_test_dir());
    for (int i = 0; i < 8; i++)
        tn_str_addf(&cpu,
                    "processor\t: %d\nmodel name\t: Test CPU 9000\nphysical id\t: %d\ncore id\t\t: "
                    "%d\nflags\t\t: fpu avx2 avx512_bf16 amx_tile\n\n",
                    i, i / 4, i / 2 % 2 * 5);
    put("/proc/cpuinfo", cpu.s);
    tn_str_free(&cpu);
    put("/proc/meminfo", "MemTotal:        8388608 kB\nMemFree: 1 kB\nMemAvailable:    6291456 kB\n"
                         "HugePages_Total:       3\n");
    put("/sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]\n");
    put("/etc/os-release", "NAME=\"X\"\nPRETTY_NAME=\"Test Linux 1\"\n");
    const char *cache[] = {"Data", "1", "48K", "Instruction", "1", "32K", "Unified", "2", "2048K",
                           "Unified", "3", "60M"};
    for (int i = 0; i < 4; i++) {
        char path[96];
        const char *what[] = {"type", "level", "size"};
        for (int k = 0; k < 3; k++) {
            snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/%s", i,
                     what[k]);
            put(path, cache[3 * i + k]);
        }
    }
}

TEST(machine_read) {
    tn_machine m;
    make_machine();
    CHECK_OK(tn_machine_read(&m, root, e));
    CHECK(!strcmp(m.cpu, "Test CPU 9000") && !strcmp(m.system, "Test Linux 1"));
    CHECK(m.cpus == 8 && m.cores == 4 && m.sockets == 2);
    CHECK(m.l1d == 48 << 10 && m.l2 == 2048 << 10 && m.l3 == 60 << 20);
    CHECK(m.memory == 8ull << 30 && m.memory_free == 6ull << 30 && m.memory_limit == 0);
    CHECK(m.cpu_limit == 0 && !m.container && !strcmp(m.huge, "never") && m.huge_reserved == 3);
    CHECK(tn_machine_has(&m, "avx2") && tn_machine_has(&m, "amx_tile") &&
          !tn_machine_has(&m, "avx"));
    tn_machine_free(&m);
}

TEST(machine_control_groups) {
    tn_machine m;
    make_machine();
    put("/.dockerenv", "");
    put("/proc/self/cgroup", "0::/a/b\n");
    put("/sys/fs/cgroup/a/b/memory.max", "4294967296\n");
    put("/sys/fs/cgroup/a/b/memory.current", "1073741824\n");
    put("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
    put("/sys/fs/cgroup/a/memory.max", "2147483648\n");
    put("/sys/fs/cgroup/a/memory.current", "1610612736\n");
    put("/sys/fs/cgroup/a/memory.stat", "anon 5\ninactive_file 536870912\n");
    put("/sys/fs/cgroup/a/cpu.max", "150000 100000\n");
    CHECK_OK(tn_machine_read(&m, root, e));
    CHECK(m.memory_limit == 2ull << 30 && m.memory_free == 1ull << 30); /* page cache goes */
    CHECK(m.cpu_limit == 1.5 && m.container);
    tn_machine_free(&m);
    put("/proc/self/cgroup", "4:memory:/x/y\n3:cpuset:/\n2:cpu,cpuacct:/\n0::/\n");
    put("/sys/fs/cgroup/memory/x/memory.limit_in_bytes", "1073741824\n");
    put("/sys/fs/cgroup/memory/x/memory.usage_in_bytes", "0\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    put("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
    put("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    CHECK_OK(tn_machine_read(&m, root, e));
    CHECK(m.memory_limit == 1ull << 30 && m.memory_free == 1ull << 30 && m.cpu_limit == 0);
    tn_machine_free(&m);
}

TEST(machine_nothing_known) {
    tn_machine m;
    CHECK_OK(tn_machine_read(&m, tn_test_dir(), e));
    CHECK(m.cpus == 0 && m.memory == 0 && m.cpus_here > 0 && !*m.huge && !*m.cpu);
    CHECK(!tn_machine_has(&m, "avx2"));
    tn_machine_free(&m);
    CHECK(tn_disk_free(tn_test_dir()) > 0 && tn_disk_free("/nonexistent/x") == 0);
}

TEST(machine_find_program) {
    tn_str p = TN_STR_INIT;
    CHECK(tn_find_program("sh", &p) && tn_exists(p.s));
    CHECK(!tn_find_program("no-such-program-anywhere", &p));
    tn_str_free(&p);
}

TEST(rates_are_positive) {
    tn_backend *b = NULL;
    CHECK_OK(tn_backend_open(&b, "cpu", TN_F32, NULL, 2, e));
    double gemm = tn_rate_shape(b, 64, 64, 33, 0.001), bytes = tn_rate_read(b->pool, 1 << 20, 0.001);
    CHECK_MSG(gemm > 1e6 && gemm < 1e15, "%g FLOP/s", gemm);
    CHECK_MSG(bytes > 1e6 && bytes < 1e14, "%g B/s", bytes);
    tn_backend_free(b);
}
