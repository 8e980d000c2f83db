# --recompute and --gradient_checkpointing: every training verb ends in the same bytes, and a run may go on at another level.
. tests/e2e/lib.sh
T=$E2E_TMP/recompute
. tests/e2e/tiny.sh "$T"
same() { # A B
    local f
    for f in model.safetensors adapter_model.safetensors metrics.jsonl; do
        [ -e "$1/$f" ] || [ -e "$2/$f" ] || continue
        cmp -s "$1/$f" "$2/$f" || { echo "$f differs"; return 1; }
    done
}
run() { # OUT ARGUMENTS...
    local out=$1
    shift
    tenet "$@" --output-dir "$out" --save-steps 2 >"$T/log" 2>&1 || tail -n 1 "$T/log"
}
for verb in pretrain sft reward dpo ppo grpo rloo lora; do
    # shellcheck disable=SC2046
    line="$(arguments $verb 4) --micro-batch-tokens 64"
    # shellcheck disable=SC2086
    {
        bad=$(run "$T/$verb-none" $line)
        for level in "--recompute cheap" "--recompute layer" "--gradient_checkpointing true"; do
            rm -rf "$T/other"
            bad="$bad$(run "$T/other" $line $level)$(same "$T/$verb-none" "$T/other")"
        done
        rm -rf "$T"/other/checkpoint-4
        bad="$bad$(run "$T/other" $line --recompute cheap --resume-from-checkpoint latest)$(same "$T/$verb-none" "$T/other")"
    }
    if [ -z "$bad" ]; then ok "recompute_$verb"; else fail "recompute_$verb: $bad"; fi
done
