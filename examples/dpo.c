/* Direct preference optimisation through the library: the verb's options, the verb's numbers.
 *   cc dpo.c $(pkg-config --cflags --libs --static tenet) -o dpo
 *   ./dpo MODEL_DIR PREFERENCES.jsonl OUTPUT_DIR [STEPS]                                        */
#include <stdio.h>
#include <tenet.h>

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: dpo MODEL_DIR PREFERENCES.jsonl OUTPUT_DIR [STEPS]\n");
        return 2;
    }
    const char *options[] = {"model", argv[1], "data", argv[2], "output-dir", argv[3], "max-steps", argc > 4 ? argv[4] : "10",
                             "beta", "0.1", "learning-rate", "1e-4", "dtype", "float32", "save-steps", "0", NULL};
    tenet_error e;
    if (tenet_run("dpo", options, &e)) {
        fprintf(stderr, "%s\n", e.message);
        return 1;
    }
    char path[4096], line[65536];
    snprintf(path, sizeof path, "%s/metrics.jsonl", argv[3]);
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f)) fputs(line, stdout);
    if (f) fclose(f);
    return 0;
}
