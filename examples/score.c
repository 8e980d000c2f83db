/* Log-probs of a completion, as `tenet score` prints them.
 *   cc score.c $(pkg-config --cflags --libs --static tenet) -o score
 *   ./score MODEL_DIR PROMPT_IDS COMPLETION_IDS        ids separated by commas                  */
#include <stdio.h>
#include <stdlib.h>
#include <tenet.h>

static size_t parse(const char *s, int32_t *ids, size_t max) {
    size_t n = 0;
    for (char *end; *s && n < max; s = *end ? end + 1 : end) ids[n++] = (int32_t)strtol(s, &end, 10);
    return n;
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: score MODEL_DIR PROMPT_IDS COMPLETION_IDS\n");
        return 2;
    }
    static int32_t prompt[4096], ids[4096];
    static double logprob[4096];
    size_t n_prompt = parse(argv[2], prompt, 4096), n = parse(argv[3], ids, 4096);
    tenet_error e;
    tenet_model *m;
    tenet_model_options o = {sizeof o, "float32", 0};
    if (tenet_model_open(&m, argv[1], &o, &e) || tenet_logprobs(m, prompt, n_prompt, ids, n, logprob, &e)) {
        fprintf(stderr, "%s\n", e.message);
        return 1;
    }
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        printf("%d %.9g\n", ids[i], logprob[i]);
        sum += logprob[i];
    }
    printf("sum %.9g\n", sum);
    tenet_model_close(m);
    return 0;
}
