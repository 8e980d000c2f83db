# AdamW's moments, rounded (--optim) or of an embedding that tokens reach in part: kill -9 and resume to the same bytes,
# the same bits on 1, 2 and 4 ranks, with adapters and a critic; another --optim does not go on. Matrices of 4,096 elements
# and more, so that they are rounded.
. tests/e2e/lib.sh
T=$E2E_TMP/optim
mkdir -p "$T"
quiet() { "$@" >"$T/log" 2>&1; }
last() { grep -v '^--' "$T/log" | grep . | tail -n 1; }
common="--learning-rate 1e-3 --seed 3 --save-steps 2 --save-total-limit 0"
tenet world config --out "$T/config" --hidden-size 64 --layers 1 --heads 2 --intermediate-size 96 2>/dev/null
tenet world text --count 200 --out "$T/text.jsonl"
tenet world sft --count 96 --out "$T/sft.jsonl"
tenet world prompts-rl --count 64 --out "$T/rl.jsonl"
awk 'BEGIN { for (i = 0; i < 16; i++)
    printf "{\"prompt_ids\": [%d, 5], \"chosen_ids\": [%d, 7, 9], \"rejected_ids\": [%d, 4]}\n", i + 3, i + 8, i + 4 }' >"$T/pairs.jsonl"
# shellcheck disable=SC2086
{
    quiet tenet pretrain --model "$T/config" --data "$T/text.jsonl" --output-dir "$T/base" --batch-tokens 2048 --max-steps 4 $common &&
        quiet tenet reward --model "$T/base" --data "$T/pairs.jsonl" --output-dir "$T/rm" --max-steps 1 $common
} || fail "optim_set_up: $(last)"
sft="sft --model $T/base --data $T/sft.jsonl --assistant-only-loss --per-device-train-batch-size 8 --max-steps 8 $common"
lora="$sft --use-peft --lora-r 48 --lora-target-modules all-linear"
ppo="ppo --model $T/base --reward-model $T/rm --data $T/rl.jsonl --iterations 6 --rollouts 12 --minibatch-size 6 --num-ppo-epochs 1
     --response-length 12 $common"
# an embedding of which the pairs name a part
reward="reward --model $T/base --data $T/pairs.jsonl --per-device-train-batch-size 4 --max-steps 8 $common"

same() { # A B: every file of model, log and last checkpoint
    local f
    for f in $(cd "$1" && find . -name '*.safetensors' -o -name metrics.jsonl -o -name trainer_state.json); do
        cmp -s "$1/$f" "$2/$f" || { echo "$f differs"; return 1; }
    done
}
bytes() { stat -c %s "$1/checkpoint-$2/optimizer/model.safetensors"; }

for kind in adamw_torch adamw_bf16 adamw_8bit; do
    for run in sft lora ppo reward; do
        case $kind-$run in adamw_torch-[slp]*) continue ;; esac # tested elsewhere
        line="${!run} --optim $kind"
        bad=
        # shellcheck disable=SC2086
        {
            quiet tenet $line --output-dir "$T/whole" || bad=$(last)
            "$TENET_BIN" $line --output-dir "$T/killed" >"$T/log" 2>&1 &
            pid=$!
            while [ ! -d "$T/killed/checkpoint-4" ] && kill -0 $pid 2>/dev/null; do sleep 0.01; done
            kill -9 $pid 2>/dev/null
            wait $pid 2>/dev/null
            rm -rf "$T"/killed/checkpoint-[68] # whatever came after
            quiet tenet $line --output-dir "$T/killed" --resume-from-checkpoint latest --threads 1 || bad="$bad $(last)"
            grep -q "continuing after step 4" "$T/log" || bad="$bad not resumed"
            bad="$bad$(same "$T/whole" "$T/killed")"
            for n in 1 2 4; do
                quiet tenet $line --output-dir "$T/ranks-$n" --grad-lanes 4 --ranks $n || bad="$bad $n ranks: $(last)"
                [ $n = 1 ] || bad="$bad$(same "$T/ranks-1" "$T/ranks-$n")"
            done
        }
        if [ -z "$bad" ]; then ok "optim_${kind}_${run}"; else fail "optim_${kind}_${run}: $bad"; fi
        [ $run = sft ] && mv "$T/whole" "$T/$kind"
        rm -rf "$T"/whole "$T"/killed "$T"/ranks-*
    done
done
# shellcheck disable=SC2086
{
    quiet tenet $sft --output-dir "$T/adamw_torch" || fail "optim_full: $(last)"
    quiet tenet $sft --output-dir "$T/synonym" --optim adamw_bnb_8bit && [ -z "$(same "$T/adamw_8bit" "$T/synonym")" ] &&
        ok optim_synonym || fail "optim_synonym: $(last)"
    fails optim_other_is_refused 1 "--optim adamw_8bit cannot continue it" tenet $sft --output-dir "$T/adamw_torch" \
        --resume-from-checkpoint "$T/adamw_torch/checkpoint-4" --optim adamw_8bit
    fails optim_back_is_refused 1 "was made with --optim adamw_8bit" tenet $sft --output-dir "$T/adamw_8bit" \
        --resume-from-checkpoint "$T/adamw_8bit/checkpoint-4"
    fails optim_unknown 2 "adamw_8bit" tenet $sft --output-dir "$T/none" --optim adafactor
}
full=$(bytes "$T/adamw_torch" 4) half=$(bytes "$T/adamw_bf16" 4) quarter=$(bytes "$T/adamw_8bit" 4)
if [ $((100 * half)) -lt $((55 * full)) ] && [ $((100 * quarter)) -lt $((32 * full)) ]; then
    ok "optim_bytes ($full, $half, $quarter)"
else
    fail "optim_bytes: $full, $half, $quarter"
fi
