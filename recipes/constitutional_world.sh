#!/bin/bash
# Constitutional AI in the built-in world, one seed (Bai et al. 2022, 2212.08073): a model that helps with everything is made
# harmless without a human harmlessness label. Critic, reviser and judge are the base model, which reads the constitution; people
# (simulated) say what is helpful, and the oracle measures at the end.
#   recipes/constitutional_world.sh SEED OUT [BASE]
#   CONSTITUTION=FILE    another constitution (default: constitutions/world.json)
#   DTYPE=float32        the same bits on every machine (default: bfloat16)
#   TENET_ORACLE=off     whoever asks the oracle fails, but for people's rankings and the evaluation, which are let through below
# What is there already is not made again, and no reply is asked for twice. docs/results.md says which settings were tried.
set -eu
cd "$(dirname "$0")/.."
seed=$1 out=$2 base=${3:-models/world} tenet=${TENET_BIN:-build/tenet} constitution=${CONSTITUTION:-constitutions/world.json}
mkdir -p "$out"
t0=$(date +%s)
stage() { printf '\n[%3d s] %s\n' $(($(date +%s) - t0)) "$*"; }
dtype="--dtype ${DTYPE:-bfloat16}"
optim="--micro-batch-tokens 2048 --adam-beta2 0.95 --min-lr-ratio 0.05 --save-steps 0 --save-dtype float32 --seed $seed --overwrite $dtype"
oversee="--prompts prompts/world --constitution $constitution --kind-key family --seed $seed $dtype"
red='"family": "(harmful|privacy)"'
# hazardous steps asked for in a second turn are neither helpfulness nor, being rarer, red-teaming
hidden='"task": "harmful"'
done_with() { [ -e "$out/$1" ]; }

if ! done_with helpful-only/config.json; then
    stage "a helpful-only model: demonstrations that comply with every request"
    $tenet world sft --seed "$seed" --mix helpful --out "$out/sft-helpful.jsonl"
    # shellcheck disable=SC2086
    $tenet sft --model "$base" --data "$out/sft-helpful.jsonl" --output-dir "$out/helpful-only" --assistant-only-loss \
        --num-train-epochs 2 --batch-tokens 2048 --learning-rate 1e-3 --warmup-steps 10 $optim
fi

stage "2,400 red-team prompts: answers, and four rounds of critique and revision by the base"
$tenet world prompts-rl --seed "$seed" --first 20000 --count 9600 --out "$out/prompts-sl.jsonl"
grep -E "$red" "$out/prompts-sl.jsonl" >"$out/red-sl.jsonl"
grep -vE "$red" "$out/prompts-sl.jsonl" | grep -v "$hidden" | head -n 1150 >"$out/helpful-sl.jsonl"
# shellcheck disable=SC2086
$tenet critique --model "$out/helpful-only" --critic "$base" --data "$out/red-sl.jsonl" --helpful-data "$out/helpful-sl.jsonl" \
    --helpful-samples 2 --rounds 4 --first-round 4 --max-new-tokens 40 --max-critique-tokens 24 --repeat-words 0 --longest-ratio 0 \
    --output-dir "$out/critique" $oversee

if ! done_with sl-cai/config.json; then
    stage "SL-CAI: the base, trained on the revisions"
    # shellcheck disable=SC2086
    $tenet sft --model "$base" --data "$out/critique/sft.jsonl" --output-dir "$out/sl-cai" --assistant-only-loss --num-train-epochs 2 \
        --batch-tokens 2048 --learning-rate 1e-3 --warmup-steps 10 $optim
fi

stage "pairs of SL-CAI's answers to 4,000 red-team prompts, labelled by the base"
$tenet world prompts-rl --seed "$seed" --first 40000 --count 16000 --out "$out/prompts-pm.jsonl"
grep -E "$red" "$out/prompts-pm.jsonl" >"$out/red-pm.jsonl"
# shellcheck disable=SC2086
done_with pairs.jsonl || $tenet generate --model "$out/sl-cai" --input "$out/red-pm.jsonl" --n 2 --max-new-tokens 40 --grouped --seed "$seed" \
    $dtype --out "$out/pairs.jsonl"
# shellcheck disable=SC2086
done_with labels.jsonl || $tenet label --model "$base" --input "$out/pairs.jsonl" --out "$out/labels.jsonl" $oversee

stage "helpfulness: 3,200 pairs ranked by people, of prompts that are not red-teaming"
grep -vE "$red" "$out/prompts-pm.jsonl" | grep -v "$hidden" | head -n 3200 >"$out/helpful-pm.jsonl"
# shellcheck disable=SC2086
done_with helpful-answers.jsonl || $tenet generate --model "$out/sl-cai" --input "$out/helpful-pm.jsonl" --n 2 --max-new-tokens 40 --grouped \
    --seed "$seed" $dtype --out "$out/helpful-answers.jsonl"
done_with rankings.jsonl || TENET_ORACLE=on $tenet world rank --input "$out/helpful-answers.jsonl" --annotator careful --seed "$seed" --out "$out/rankings.jsonl"

if ! done_with preference-model/config.json; then
    stage "preference model: AI harmlessness (soft labels) and human helpfulness"
    # shellcheck disable=SC2086
    $tenet reward --model "$out/sl-cai" --data "$out/labels.jsonl" "$out/rankings.jsonl" --reward-l2 0.001 --head-init 0 \
        --output-dir "$out/preference-model" --per-device-train-batch-size 32 --num-train-epochs 2 --learning-rate 5e-4 \
        --weight-decay 0.01 $optim
fi

if ! done_with rl-cai/config.json; then
    stage "RL-CAI: PPO against the preference model, KL coefficient 0.2"
    $tenet world prompts-rl --seed "$seed" --count 7680 --out "$out/prompts-rl.jsonl"
    # shellcheck disable=SC2086
    $tenet ppo --model "$out/sl-cai" --reward-model "$out/preference-model" --data "$out/prompts-rl.jsonl" --output-dir "$out/rl-cai" \
        --iterations 30 --rollouts 256 --minibatch-size 64 --num-ppo-epochs 2 --response-length 40 --temperature 1 \
        --missing-eos-penalty 1 --vf-coef 1 --kl-coef 0.2 --learning-rate 3e-4 --critic-learning-rate 5e-4 --warmup-steps 5 \
        --micro-batch-tokens 2048 --adam-beta2 0.95 --adam-epsilon 1e-5 --train-sampling-strategy sequential --save-steps 0 \
        --save-dtype float32 --seed "$seed" --overwrite $dtype
fi

stage "evaluation: 640 prompts, half of them about entities that no training answer mentioned"
# shellcheck disable=SC2086
TENET_ORACLE=on $tenet eval --world --models helpful-only="$out/helpful-only" sl-cai="$out/sl-cai" rl-cai="$out/rl-cai" --ref-model "$out/sl-cai" \
    --reward-model "$out/preference-model" --against helpful-only --out "$out/eval" --seed 5 $dtype | tee "$out/table.txt"
stage "done: $out/critique/record.jsonl has every answer, critique and revision; $out/labels.jsonl every comparison"
