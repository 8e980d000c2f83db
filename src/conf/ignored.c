/* Options of TRL and transformers that have no meaning in one native process. They are accepted,
 * so that a working command line can be brought over unchanged, and named once. A trailing '='
 * marks the ones that are followed by a value.                                             */
#include "conf/internal.h"
#include <string.h>

const char *const tn_ignored_options[] = {"activation-checkpointing",
                                          "activation-offloading",
                                          "accelerator-config=",
                                          "assistant-tokens=",
                                          "attn-implementation=",
                                          "auto-find-batch-size",
                                          "average-tokens-across-devices",
                                          "batch-eval-metrics",
                                          "bf16",
                                          "bf16-full-eval",
                                          "bnb-4bit-quant-storage=",
                                          "bnb-4bit-quant-type=",
                                          "data-collator=",
                                          "dataloader-drop-last",
                                          "dataloader-num-workers=",
                                          "dataloader-persistent-workers",
                                          "dataloader-pin-memory",
                                          "dataloader-prefetch-factor=",
                                          "dataset-batch-size=",
                                          "dataset-num-proc=",
                                          "ddp-backend=",
                                          "ddp-broadcast-buffers",
                                          "ddp-bucket-cap-mb=",
                                          "ddp-find-unused-parameters",
                                          "ddp-timeout=",
                                          "debug=",
                                          "deepspeed=",
                                          "device=",
                                          "disable-tqdm",
                                          "do-eval",
                                          "do-predict",
                                          "do-train",
                                          "ds3-gather-for-generation",
                                          "eval-accumulation-steps=",
                                          "eval-do-concat-batches",
                                          "eval-use-gather-object",
                                          "fp16",
                                          "fp16-backend=",
                                          "fp16-full-eval",
                                          "fp16-opt-level=",
                                          "fsdp=",
                                          "fsdp-config=",
                                          "fsdp-min-num-params=",
                                          "fsdp-transformer-layer-cls-to-wrap=",
                                          "full-determinism",
                                          "generate-during-eval",
                                          "gradient-checkpointing",
                                          "gradient-checkpointing-kwargs=",
                                          "group-by-length",
                                          "half-precision-backend=",
                                          "hub-always-push",
                                          "hub-model-id=",
                                          "hub-private-repo",
                                          "hub-revision=",
                                          "hub-strategy=",
                                          "hub-token=",
                                          "ignore-bias-buffers",
                                          "ignore-data-skip",
                                          "include-for-metrics=",
                                          "include-inputs-for-metrics",
                                          "include-num-input-tokens-seen=",
                                          "include-tokens-per-second",
                                          "jit-mode-eval",
                                          "label-names=",
                                          "length-column-name=",
                                          "liger-kernel-config=",
                                          "load-in-4bit",
                                          "load-in-8bit",
                                          "local-rank=",
                                          "log-level=",
                                          "log-level-replica=",
                                          "log-on-each-node",
                                          "logging-nan-inf-filter",
                                          "low-cpu-mem-usage",
                                          "model-init-kwargs=",
                                          "mp-parameters=",
                                          "no-cuda",
                                          "num-processes=",
                                          "optim-args=",
                                          "optim-target-modules=",
                                          "padding-free",
                                          "past-index=",
                                          "prediction-loss-only",
                                          "project=",
                                          "push-to-hub",
                                          "push-to-hub-model-id=",
                                          "push-to-hub-organization=",
                                          "push-to-hub-token=",
                                          "ray-scope=",
                                          "remove-unused-columns",
                                          "report-to=",
                                          "restore-callback-states-from-checkpoint",
                                          "run-name=",
                                          "save-on-each-node",
                                          "save-safetensors",
                                          "skip-memory-metrics",
                                          "tf32",
                                          "torch-compile",
                                          "torch-compile-backend=",
                                          "torch-compile-mode=",
                                          "torch-dtype-autocast",
                                          "torch-empty-cache-steps=",
                                          "torchdynamo=",
                                          "tpu-metrics-debug",
                                          "tpu-num-cores=",
                                          "trackio-space-id=",
                                          "trust-remote-code",
                                          "use-bnb-nested-quant",
                                          "use-cache",
                                          "use-cpu",
                                          "use-ipex",
                                          "use-legacy-prediction-loop",
                                          "use-liger-kernel",
                                          "use-liger-loss",
                                          "use-mps-device",
                                          "use-vllm",
                                          "vllm-mode=",
                                          "vllm-gpu-memory-utilization=",
                                          "wandb-log-unique-prompts",
                                          NULL};

const char *tn_conf_ignored(const char *name, size_t n, bool *takes_value) {
    for (const char *const *p = tn_ignored_options; *p; p++) {
        size_t len = strlen(*p);
        bool value = (*p)[len - 1] == '=';
        if (len - value != n) continue;
        bool same = true;
        for (size_t i = 0; i < n && same; i++) same = (name[i] == '_' ? '-' : name[i]) == (*p)[i];
        if (!same) continue;
        *takes_value = value;
        return *p;
    }
    return NULL;
}

tn_status tn_conf_note_ignored(tn_opts *o, const char *name, tn_err *e) {
    for (int i = 0; i < o->n_ignored; i++)
        if (!strcmp(o->ignored[i], name)) return TN_OK;
    const char **v = tn_arena_zalloc(o->arena, (size_t)o->n_ignored + 1, sizeof *v);
    if (!v) return tn_fail(e, TN_NOMEM, "no memory for options");
    if (o->n_ignored) memcpy(v, o->ignored, (size_t)o->n_ignored * sizeof *v);
    v[o->n_ignored++] = name;
    o->ignored = v;
    return TN_OK;
}
