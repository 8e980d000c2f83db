# The steady state allocates nothing: sft, reward, the preference losses, ppo, grpo, rloo, distill and sdpo run eight steps in the tiny world with
# malloc, calloc, realloc and mmap counted inside the functions of a step (tests/e2e/alloc.c).
. tests/e2e/lib.sh
A=$E2E_TMP/alloc
mkdir -p "$A"
if ! make -s build/tests/alloc >"$A/log" 2>&1; then
    fail "alloc_build: $(tail -n 3 "$A/log")"
    exit 1
fi
tenet world config --out "$A/tiny" --hidden-size 32 --layers 2 --heads 2 --intermediate-size 48 2>/dev/null
tenet world text --count 200 --out "$A/text.jsonl"
tenet world sft --count 300 --out "$A/sft.jsonl"
tenet world prompts-pref --count 40 --out "$A/pref.jsonl"
tenet world prompts-rl --count 200 --out "$A/rl.jsonl"
{
    tenet pretrain --model "$A/tiny" --data "$A/text.jsonl" --output-dir "$A/base" --batch-tokens 2048 --max-steps 4 \
        --learning-rate 3e-3 --save-steps 0
    tenet generate --model "$A/base" --input "$A/pref.jsonl" --n 4 --max-new-tokens 24 --out "$A/samples.jsonl"
    tenet world rank --input "$A/samples.jsonl" --annotator careful --out "$A/rank.jsonl" --pairs-out "$A/pairs.jsonl"
    tenet reward --model "$A/base" --data "$A/rank.jsonl" --kwise --output-dir "$A/rm" --max-steps 1 --save-steps 0
} >"$A/log" 2>&1 || fail "alloc_set_up: $(tail -n 1 "$A/log")"
# rows of very different lengths: one token of answer, then hundreds, then one again
awk 'BEGIN {
    for (i = 0; i < 96; i++) {
        n = i < 40 ? 1 + i % 3 : i < 60 ? 150 : i % 7 == 0 ? 200 : 2
        printf "{\"prompt_ids\":[%d", 5 + i
        for (k = 0; k < (i * 13) % 40; k++) printf ",%d", 9 + (i + k * k) % 60
        printf "],\"ids\":[7"
        for (k = 1; k < n; k++) printf ",%d", 9 + (i * k) % 60
        print "]}"
    }
}' >"$A/uneven.jsonl"

# steady NAME ARGUMENTS...: eight steps of a verb; nothing may be allocated after the second.
steady() {
    local name=$1
    shift
    rm -f "$A/count"
    if ! TENET_ALLOC_OUT=$A/count build/tests/alloc "$@" --output-dir "$A/$name" --save-steps 0 --logging-steps 1 \
        >"$A/log" 2>&1; then
        fail "alloc_$name: $(tail -n 2 "$A/log")"
    elif grep -q '^steps \(8\|16\) calls [1-9][0-9]* .* steady 0 ' "$A/count"; then
        ok "alloc_$name"
    else
        fail "alloc_$name: $(cat "$A/count")"
    fi
}
steady sft sft --model "$A/base" --data "$A/sft.jsonl" --assistant-only-loss --per-device-train-batch-size 16 --max-steps 8
steady sft_uneven sft --model "$A/base" --data "$A/uneven.jsonl" --train-sampling-strategy sequential \
    --per-device-train-batch-size 12 --max-steps 8 --micro-batch-tokens 256 --threads 2
steady sft_conversations sft --model "$A/base" --data "$A/sft.jsonl" --assistant-only-loss --train-sampling-strategy sequential \
    --per-device-train-batch-size 4 --gradient-accumulation-steps 8 --micro-batch-tokens 300 --max-steps 8
steady reward reward --model "$A/base" --data "$A/rank.jsonl" --kwise --per-device-train-batch-size 4 --max-steps 8
sed 's/}$/, "chosen_safe": true, "rejected_safe": false}/' "$A/pairs.jsonl" >"$A/safety.jsonl"
sed 's/.*"prompt_ids": \(\[[^]]*\]\), "ids": \(\[[^]]*\]\).*/{"prompt_ids": \1, "step_ids": [\2, [7, 8, 9]], "labels": [true, false]}/' \
    "$A/samples.jsonl" >"$A/steps.jsonl"
steady inform reward --head inform --model "$A/base" --data "$A/pairs.jsonl" --per-device-train-batch-size 16 --max-steps 8 --micro-batch-tokens 256
steady odin reward --head odin --model "$A/base" --data "$A/pairs.jsonl" --per-device-train-batch-size 16 --max-steps 8 --micro-batch-tokens 256
steady heads reward --head ensemble --model "$A/base" --data "$A/pairs.jsonl" --per-device-train-batch-size 16 --max-steps 8 --micro-batch-tokens 256
steady cost cost --model "$A/base" --data "$A/safety.jsonl" --per-device-train-batch-size 16 --max-steps 8
steady prm prm --model "$A/base" --data "$A/steps.jsonl" --per-device-train-batch-size 16 --max-steps 8
steady dpo dpo --model "$A/base" --data "$A/pairs.jsonl" --per-device-train-batch-size 6 --max-steps 8
steady dpo_rankings dpo --model "$A/base" --data "$A/rank.jsonl" --per-device-train-batch-size 6 --max-steps 8 --no-share-prompts
pairs="--model $A/base --data $A/pairs.jsonl --per-device-train-batch-size 6 --max-steps 8 --micro-batch-tokens 128"
# shellcheck disable=SC2086
{
    steady kto kto $pairs --gradient-accumulation-steps 2 --train-sampling-strategy random
    steady bco kto --loss-type bco $pairs
    steady orpo orpo $pairs
    steady aot dpo --loss-type aot $pairs
    steady tr_dpo dpo --sync-ref-model --ref-model-sync-steps 2 $pairs
}
steady ppo ppo --model "$A/base" --reward-model "$A/rm" --data "$A/rl.jsonl" --iterations 8 --rollouts 24 --minibatch-size 8 \
    --num-ppo-epochs 2 --response-length 24 --micro-batch-tokens 256
steady ppo_ptx ppo --model "$A/base" --reward-model "$A/rm" --data "$A/rl.jsonl" --iterations 8 --rollouts 24 --minibatch-size 8 \
    --response-length 24 --micro-batch-tokens 256 --ptx-coef 0.3 --ptx-data "$A/uneven.jsonl"
steady ppo_safe ppo --model "$A/base" --reward-model "$A/rm" "$A/rm" --cost-model "$A/rm" --data "$A/rl.jsonl" --iterations 8 --rollouts 24 \
    --minibatch-size 8 --response-length 24 --micro-batch-tokens 256 --macro-action random --macro-loss macro --reward-shaping par
critic_free="--model $A/base --reward-model $A/rm --reward-funcs world regex:the soft_overlong_punishment:8 repetition_penalty_reward
    --data $A/rl.jsonl --max-completion-length 24 --micro-batch-tokens 256 --max-steps 8"
# shellcheck disable=SC2086
steady grpo grpo $critic_free --per-device-train-batch-size 32 --beta 0.1 --top-entropy-quantile 0.3
# shellcheck disable=SC2086
steady rloo rloo $critic_free --model models/world --per-device-train-batch-size 24 --num-generations 4 --mask-truncated-completions
for lmbda in 0 1; do # both samplers, each from the first step on
    steady distill_$lmbda distill --model "$A/base" --teacher-model models/world --data "$A/sft.jsonl" --lmbda $lmbda --seq-kd \
        --max-new-tokens 24 --max-steps 8 --micro-batch-tokens 256
done
# a teacher that reads other prompts
sed 's/.*"prompt_ids": \(\[[^]]*\)\], "ids": \(\[[^]]*\]\).*/{"prompt_ids": \1], "ids": \2, "teacher_prompt_ids": \1, 9, 10, 11, 9, 10, 11, 9]}/' "$A/samples.jsonl" >"$A/taught.jsonl"
for kind in "base 1" "live 1" "ema 0"; do
    steady "sdft_${kind% *}" sdft --model "$A/base" --data "$A/taught.jsonl" --teacher-model-kind ${kind% *} --lmbda ${kind#* } --max-completion-length 16 \
        --per-device-train-batch-size 12 --max-steps 8 --micro-batch-tokens 128
done
for kind in live ema; do
    steady "sdpo_$kind" sdpo --model models/world --data tests/golden/trl_sdpo/rows.jsonl --reward-funcs number:answer --temperature 1.3 --max-completion-length 20 \
        --num-generations 4 --per-device-train-batch-size 12 --max-steps 8 --micro-batch-tokens 256 --teacher-model-kind $kind
done
steady tdpo tdpo --model "$A/base" --data "$A/pairs.jsonl" --per-device-train-batch-size 6 --max-steps 8
lora="--use-peft --lora-target-modules all-linear"
# shellcheck disable=SC2086
{
steady lora_sft_uneven sft --model "$A/base" --data "$A/uneven.jsonl" --train-sampling-strategy sequential $lora \
    --per-device-train-batch-size 12 --max-steps 8 --micro-batch-tokens 256 --threads 2
steady lora_reward reward --model "$A/base" --data "$A/rank.jsonl" --kwise --per-device-train-batch-size 4 --max-steps 8 $lora
steady lora_dpo dpo --model "$A/base" --data "$A/pairs.jsonl" --per-device-train-batch-size 6 --max-steps 8 $lora
steady lora_ppo ppo --model "$A/base" --reward-model "$A/lora_reward" --data "$A/rl.jsonl" --iterations 8 --rollouts 24 \
    --minibatch-size 8 --num-ppo-epochs 2 --response-length 24 --micro-batch-tokens 256 $lora
}
[ -z "${e2e_failed:-}" ]
