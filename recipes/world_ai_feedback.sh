#!/bin/bash
# AI feedback in the built-in world without a preference model, beside the preference model that it replaces: one seed. All arms start from
# SL-CAI (tenet run recipes/constitutional.yaml --out OUT --set seed=SEED --until sl-cai) and, but for `self`, may ask the judge, the base
# model, as often: 4,000 judgements in both orders. No human label is used.
#   recipes/world_ai_feedback.sh SEED OUT [BASE]
# Arms: offline (DPO on the judged pairs of SL-CAI), pm (the same pairs make a preference model, RLOO against it), online (online DPO, the
# judge's word as a soft label), direct (RLOO, the probability of being better than an answer of SL-CAI), self-1, 2, 3 (self-rewarding).
set -eu
cd "$(dirname "$0")/.."
seed=$1 out=$2 base=${3:-models/world} tenet=${TENET_BIN:-build/tenet}
work=$out/ai-feedback start=$out/sl-cai
mkdir -p "$work"
[ -e "$start/config.json" ] || { echo "$start is missing; first: tenet run recipes/constitutional.yaml --out $out --set seed=$seed --until sl-cai" >&2; exit 2; }
t0=$(date +%s)
stage() { printf '\n[%3d s] %s\n' $(($(date +%s) - t0)) "$*"; }
dtype="--dtype ${DTYPE:-bfloat16}"
judge="--constitution constitutions/world.json --prompts prompts/world --kind-key family"
train="--micro-batch-tokens 2048 --adam-beta2 0.95 --min-lr-ratio 0.05 --save-steps 0 --save-dtype float32 --seed $seed --overwrite $dtype"
policy="--model $start --learning-rate 3e-4 --warmup-steps 10 $train"
done_with() { [ -e "$work/$1" ]; }

done_with prompts.jsonl || $tenet world prompts-rl --seed "$seed" --first 60000 --count 4000 --out "$work/prompts.jsonl"
done_with prompts-pm.jsonl || $tenet world prompts-rl --seed "$seed" --first 70000 --count 4000 --out "$work/prompts-pm.jsonl"
if ! done_with labels.jsonl; then
    stage "pairs of SL-CAI's answers to 4,000 prompts of all families, judged by the base"
    # shellcheck disable=SC2086
    $tenet generate --model "$start" --input "$work/prompts-pm.jsonl" --n 2 --max-new-tokens 40 --grouped --seed "$seed" $dtype --out "$work/pairs.jsonl"
    # shellcheck disable=SC2086
    $tenet label --judge "$base" --input "$work/pairs.jsonl" --out "$work/labels.jsonl" --seed "$seed" $judge $dtype
fi
if ! done_with offline/config.json; then
    stage "offline: DPO on those pairs, soft labels"
    # shellcheck disable=SC2086
    $tenet dpo --data "$work/labels.jsonl" --beta 0.3 --per-device-train-batch-size 32 --output-dir "$work/offline" $policy
fi
if ! done_with preference-model/config.json; then
    stage "a preference model of those pairs"
    # shellcheck disable=SC2086
    $tenet reward --model "$start" --data "$work/labels.jsonl" --reward-l2 0.001 --head-init 0 --per-device-train-batch-size 32 --num-train-epochs 2 \
        --learning-rate 5e-4 --weight-decay 0.01 --output-dir "$work/preference-model" $train
fi
rloo="--num-generations 2 --max-completion-length 40 --temperature 1 --per-device-train-batch-size 64"
if ! done_with pm/config.json; then
    stage "pm: RLOO against it, on other prompts"
    # shellcheck disable=SC2086
    $tenet rloo --data "$work/prompts.jsonl" --reward-model "$work/preference-model" --beta 0.2 --max-steps 62 --output-dir "$work/pm" $rloo $policy
fi
if ! done_with online/config.json; then
    stage "online: online DPO, one comparison a prompt"
    # shellcheck disable=SC2086
    $tenet online-dpo --data "$work/prompts.jsonl" --judge "$base" $judge --judge-reward logit --soft-labels --beta 0.3 --max-new-tokens 40 \
        --temperature 1 --per-device-train-batch-size 32 --output-dir "$work/online" $policy
fi
if ! done_with direct/config.json; then
    stage "direct: RLOO, every answer compared with one of SL-CAI's"
    # shellcheck disable=SC2086
    done_with references.jsonl || $tenet generate --model "$start" --input "$work/prompts.jsonl" --n 1 --max-new-tokens 40 --grouped --seed 9 $dtype \
        --out "$work/references.jsonl"
    # shellcheck disable=SC2086
    $tenet rloo --data "$work/references.jsonl" --reward-judge "$base" --judge-asks reference $judge --beta 0.05 --max-steps 62 \
        --output-dir "$work/direct" $rloo $policy
fi
if ! done_with self/round-3/trained.json; then
    stage "self: SL-CAI judges its own answers, three rounds (six comparisons a prompt, under all principles)"
    # shellcheck disable=SC2086
    $tenet self-reward --data "$work/prompts.jsonl" $judge --principles 0 --rounds 3 --num-generations 4 --max-new-tokens 40 --temperature 1 --top-p 1 \
        --min-reward-gap 0.1 --length-control 0.9 --beta 0.3 --per-device-train-batch-size 32 --num-train-epochs 1 --truth "world:$seed" \
        --output-dir "$work/self" --model "$start" --learning-rate 3e-4 --warmup-steps 4 $train | tee "$work/self.txt"
fi

stage "evaluation: 640 prompts"
models="sl-cai=$start"
for arm in offline pm online direct; do models="$models $arm=$work/$arm"; done
for round in 1 2 3; do models="$models self-$round=$work/self/round-$round/model"; done
# shellcheck disable=SC2086
$tenet eval --world --models $models --ref-model "$start" --against sl-cai --out "$work/eval" --seed 5 $dtype | tee "$work/table.txt"
