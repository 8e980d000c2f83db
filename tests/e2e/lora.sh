# Adapters from outside, in the built-in world with a tiny model: exactness, resume, files, sharing, refusals.
. tests/e2e/lib.sh
L=$E2E_TMP/lora
mkdir -p "$L"
quiet() { "$@" >"$L/log" 2>&1; }
must() { quiet "$@" || fail "lora: $* : $(tail -1 "$L/log")"; }
tenet world config --out "$L/tiny" --hidden-size 32 --layers 2 --heads 2 --intermediate-size 48 2>/dev/null
tenet world text --count 400 --out "$L/text.jsonl"
tenet world sft --count 96 --out "$L/sft.jsonl"
tenet world prompts-pref --count 24 --out "$L/pref.jsonl"
tenet world prompts-rl --count 64 --out "$L/rl.jsonl"
must tenet pretrain --model "$L/tiny" --data "$L/text.jsonl" --output-dir "$L/base" --batch-tokens 2048 --max-steps 8 \
    --learning-rate 3e-3 --save-steps 0 --save-dtype float32
must tenet generate --model "$L/base" --input "$L/pref.jsonl" --n 4 --max-new-tokens 12 --out "$L/samples.jsonl" --logprobs
must tenet world rank --input "$L/samples.jsonl" --annotator careful --out "$L/rank.jsonl" --pairs-out "$L/pairs.jsonl"

# The command line of each method; DIR is appended.
common="--learning-rate 3e-3 --logging-steps 1 --seed 3 --use-peft --lora-r 4 --lora-alpha 8"
all="--lora-target-modules all-linear"
sft="sft --model $L/base --data $L/sft.jsonl --assistant-only-loss --per-device-train-batch-size 8 --max-steps 6 $common $all"
reward="reward --model $L/base --data $L/rank.jsonl --kwise --per-device-train-batch-size 6 --max-steps 6 $common --use-rslora"
dpo="dpo --model $L/base --data $L/pairs.jsonl --per-device-train-batch-size 6 --max-steps 6 $common"
must tenet $reward --output-dir "$L/rm" --save-steps 0
ppo="ppo --model $L/base --reward-model $L/rm --data $L/rl.jsonl --iterations 6 --rollouts 12 --minibatch-size 6 --num-ppo-epochs 2
     --response-length 12 --temperature 1 --missing-eos-penalty 1 --kl-target 1 $common $all"

# a full reward model: the critic trains an adapter on its trunk; a reward adapter beside a full policy, too
must tenet reward --model "$L/base" --data "$L/rank.jsonl" --kwise --max-steps 3 --output-dir "$L/rm-full" --save-steps 0
ppo_rm_full="${ppo/"$L/rm"/"$L/rm-full"}"
ppo_full=$(echo "$ppo" | sed "s,$common,--learning-rate 3e-3 --seed 3,; s,$all,,")

# the same metrics, the same adapter; nothing of the base is written
equal() {
    local weights=adapter_model.safetensors
    [ -e "$1/$weights" ] || weights=model.safetensors
    cmp -s "$1/metrics.jsonl" "$2/metrics.jsonl" && cmp -s "$1/$weights" "$2/$weights"
}
for method in sft reward dpo ppo_full ppo_rm_full ppo; do
    line=${!method}
    # shellcheck disable=SC2086
    must tenet $line --output-dir "$L/$method-whole" --save-steps 0
    if [ $method != ppo_full ] && [ -e "$L/$method-whole/model.safetensors" ]; then fail "lora_${method}_writes_the_base"; fi
    # killed after three steps, resumed with other threads
    # shellcheck disable=SC2086
    "$TENET_BIN" $line --output-dir "$L/$method-cut" --save-steps 3 --threads 1 >"$L/log" 2>&1 &
    pid=$!
    n=0
    while [ ! -d "$L/$method-cut/checkpoint-3" ] && kill -0 $pid 2>/dev/null && [ $n -lt 600 ]; do sleep 0.02; n=$((n + 1)); done
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null
    rm -rf "$L/$method-cut/checkpoint-6"
    # shellcheck disable=SC2086
    must tenet $line --output-dir "$L/$method-cut" --save-steps 0 --resume-from-checkpoint latest --threads 3
    if equal "$L/$method-whole" "$L/$method-cut"; then ok "lora_${method}_kill_resume_threads"; else fail "lora_${method}_kill_resume_threads: other bits"; fi
done
check lora_ppo_shares_the_trunk grep -qF "the reference (the adapter off), the reward model, the critic" "$L/log"

# an adapter that goes on: reference and critic start from what it was; resume, too
for method in dpo ppo; do
    line=$(eval "echo \$$method" | sed "s,--model $L/base,--model $L/sft-whole,; s,--use-peft --lora-r 4 --lora-alpha 8,,; s,$all,,")
    # shellcheck disable=SC2086
    must tenet $line --output-dir "$L/$method-on" --save-steps 3
    rm -rf "$L/$method-on-cut" && cp -r "$L/$method-on" "$L/$method-on-cut" && rm -rf "$L/$method-on-cut/checkpoint-6"
    # shellcheck disable=SC2086
    must tenet $line --output-dir "$L/$method-on-cut" --save-steps 0 --resume-from-checkpoint latest --threads 1
    if equal "$L/$method-on" "$L/$method-on-cut" && ! cmp -s "$L/$method-on/adapter_model.safetensors" "$L/$method-whole/adapter_model.safetensors"; then
        ok "lora_${method}_goes_on"
    else
        fail "lora_${method}_goes_on: other bits"
    fi
done
check lora_dpo_starts_at_zero grep -q '"loss": 0.69314718055994[0-9]*, .*"rewards/margins": 0,' <(head -1 "$L/dpo-on/metrics.jsonl")

# the reference costs nothing
# shellcheck disable=SC2086
quiet tenet $dpo --output-dir "$L/dry" --dry-run
check lora_reference_is_free grep -qE "^  reference +the adapter off 0\.0  log-probs 0\.[0-9]+  = 0\.[0-9]+ MB" "$L/log"

# float32 on the reference backend: the same bits
# shellcheck disable=SC2086
must tenet $dpo --output-dir "$L/dpo-cpu" --dtype float32 --max-steps 2 --save-steps 0
# shellcheck disable=SC2086
must tenet $dpo --output-dir "$L/dpo-ref" --dtype float32 --max-steps 2 --save-steps 0 --backend ref
if equal "$L/dpo-cpu" "$L/dpo-ref"; then ok lora_reference_backend_same_bits; else fail lora_reference_backend_same_bits; fi

# B = 0 (no learning): the base, bit for bit, in sampling and scoring
# shellcheck disable=SC2086
must tenet $sft --output-dir "$L/zero" --max-steps 1 --learning-rate 0 --save-steps 0
must tenet generate --model "$L/zero" --input "$L/pref.jsonl" --n 4 --max-new-tokens 12 --out "$L/zero.jsonl" --logprobs
if cmp -s "$L/samples.jsonl" "$L/zero.jsonl"; then ok lora_at_zero_samples_as_the_base; else fail lora_at_zero_samples_as_the_base; fi
for dtype in float32 bfloat16; do
    must tenet score --model "$L/base" --input "$L/samples.jsonl" --dtype $dtype --out "$L/a"
    must tenet score --model "$L/zero" --input "$L/samples.jsonl" --dtype $dtype --out "$L/b"
    if cmp -s "$L/a" "$L/b"; then ok "lora_at_zero_scores_as_the_base $dtype"; else fail "lora_at_zero_scores_as_the_base $dtype"; fi
done

# sampled log-probs are those of scoring
numbers() { sed 's/.*"logprobs": \[//; s/\].*//; s/null, //g' "$1"; }
must tenet generate --model "$L/sft-whole" --input "$L/pref.jsonl" --n 3 --max-new-tokens 20 --batch-size 7 --out "$L/y.jsonl" --logprobs
must tenet score --model "$L/sft-whole" --input "$L/y.jsonl" --out "$L/scored.jsonl" --threads 1
if [ "$(wc -l <"$L/y.jsonl")" = 72 ] && cmp -s <(numbers "$L/y.jsonl") <(numbers "$L/scored.jsonl") && ! cmp -s "$L/y.jsonl" "$L/samples.jsonl"; then
    ok lora_sampling_equals_scoring
else
    fail "lora_sampling_equals_scoring: $(tail -1 "$L/log")"
fi

# merged: near, a full folder; of a reward model with its normalisation
must tenet merge "$L/sft-whole" "$L/merged"
must tenet score --model "$L/sft-whole" --input "$L/y.jsonl" --dtype float32 --out "$L/a"
must tenet score --model "$L/merged" --input "$L/y.jsonl" --dtype float32 --out "$L/b"
worst=$(paste <(sed 's/.*"sum": //; s/}//' "$L/a") <(sed 's/.*"sum": //; s/}//' "$L/b") |
    awk '{ d = $1 - $2; if (d < 0) d = -d; if (d > m) m = d } END { print (NR == 72 && m < 2e-4) ? "near" : m }')
if [ "$worst" = near ] && [ ! -e "$L/merged/adapter_config.json" ]; then ok lora_merge; else fail "lora_merge: off by $worst"; fi
must tenet merge "$L/rm" "$L/rm-merged"
must tenet score --model "$L/rm" --input "$L/y.jsonl" --dtype float32 --out "$L/a"
must tenet score --model "$L/rm-merged" --input "$L/y.jsonl" --dtype float32 --out "$L/b"
worst=$(paste <(sed 's/.*"score_normalized": //; s/}//' "$L/a") <(sed 's/.*"score_normalized": //; s/}//' "$L/b") |
    awk '{ d = $1 - $2; if (d < 0) d = -d; if (d > m) m = d } END { print (NR == 72 && m < 2e-3) ? "near" : m }')
if [ "$worst" = near ]; then ok lora_merge_reward; else fail "lora_merge_reward: off by $worst"; fi
fails lora_merge_full 2 "is no adapter" tenet merge "$L/base" "$L/none"
fails lora_merge_target 2 "use --overwrite" tenet merge "$L/rm" "$L/merged"

# other verbs
must tenet inspect "$L/rm"
check lora_inspect grep -q "rank        4, alpha 8, rsLoRA" "$L/log"
must tenet convert "$L/sft-whole" "$L/sft-bf16" --dtype bfloat16
must tenet score --model "$L/sft-bf16" --input "$L/y.jsonl" --out "$L/a"
check lora_convert grep -q "BF16 (28 tensors" <(tenet inspect "$L/sft-bf16")
quiet tenet eval --world --count 8 --models base="$L/base" sft="$L/sft-whole" --ref-model "$L/zero" --reward-model "$L/rm" \
    --pairs "$L/pairs.jsonl" --out "$L/eval" && check lora_eval grep -q "true reward" "$L/log" || fail "lora_eval: $(tail -1 "$L/log")"
# shellcheck disable=SC2086
must tenet $sft --output-dir "$L/best" --eval-data "$L/sft.jsonl" --eval-steps 1 --max-steps 30 --learning-rate 3 --max-grad-norm 0 \
    --early-stopping-patience 3 --load-best-model-at-end --save-steps 0
check lora_keeps_best grep -q "kept the weights of step" "$L/log"

# a base that moved
mv "$L/base" "$L/moved"
fails lora_base_gone 1 "--base-model DIR" tenet score --model "$L/sft-whole" --input "$L/y.jsonl"
must tenet score --model "$L/sft-whole" --base-model "$L/moved" --input "$L/y.jsonl" --out "$L/again.jsonl"
if cmp -s "$L/scored.jsonl" "$L/again.jsonl"; then ok lora_base_elsewhere; else fail lora_base_elsewhere; fi
rm "$L/sft-whole/tokenizer.json" # its base's will do
must tenet generate --model "$L/sft-whole" --base-model "$L/moved" --input "$L/pref.jsonl" --n 3 --max-new-tokens 20 --out "$L/z.jsonl" --logprobs
if cmp -s "$L/y.jsonl" "$L/z.jsonl"; then ok lora_tokenizer_of_the_base; else fail lora_tokenizer_of_the_base; fi
mv "$L/moved" "$L/base"

# refusals
# shellcheck disable=SC2086
refuse() { local name=$1 status=$2 text=$3; shift 3; fails "lora_refuses_$name" "$status" "$text" tenet $sft --output-dir "$L/none" "$@"; }
refuse dropout 1 "without dropout" --lora-dropout 0.05
refuse dora 1 "DoRA is not supported" --use-dora
refuse quantised 1 "quantised bases are not supported" --load-in-4bit
refuse module 1 'target module "lm_head"' --lora-target-modules q_proj lm_head
refuse saved 1 "only the score head" --lora-modules-to-save embed_tokens
refuse rank 2 "--lora-r must be from 1" --lora-r 0
fails lora_refuses_other_rank 2 "goes on as it is" tenet sft --model "$L/zero" --data "$L/sft.jsonl" --lora-r 8 --output-dir "$L/none"
fails lora_refuses_base_with_scores 1 "its base $L/rm-full is a reward model" tenet merge "$L/zero" "$L/none2" --base-model "$L/rm-full"
# shellcheck disable=SC2086
quiet tenet sft --model "$L/base" --data "$L/sft.jsonl" --lora-r 8 --dry-run && check lora_warns_without_use_peft \
    grep -q "warning.*--lora-r has no effect without --use-peft" "$L/log" || fail "lora_warns_without_use_peft: $(tail -1 "$L/log")"
fails lora_refuses_pretrain 2 "random weights" tenet pretrain --model "$L/tiny" --data "$L/text.jsonl" --use-peft --output-dir "$L/none1"
fails lora_refuses_full_resume 1 "go on with --use-peft" tenet sft --model "$L/base" --data "$L/sft.jsonl" --assistant-only-loss \
    --output-dir "$L/sft-cut" --resume-from-checkpoint "$L/sft-cut/checkpoint-3"
[ -z "${e2e_failed:-}" ]
