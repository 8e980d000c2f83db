# Self-distillation from the model's own context (SDPO, SDFT) against GRPO, on three-number sums, whose answers are checked: samples until
# so many answers to sums that no training has seen are right. The teacher reads what this world's base has read: an answer, a
# critique that finds no problem, and a request to write it again. The answer that it is shown is another sample of the model that was right
# (sdpo, sdpo_sampled; grpo and rft know as much) or the worked solution (sdpo_solution, sdft; sft learns it as it stands).
title="Self-distillation with feedback in the context"
claim="A model taught by itself with feedback in its context reaches the same share of right answers from fewer samples than GRPO."
published="LiveCodeBench v6, Qwen3-8B: SDPO 48.8 %, GRPO 41.2, reached with a quarter of the generations; below GRPO at 1.5B, whose contexts teach little (Huebotter et al. 2026, 2601.20802)"
against=grpo
arms="start grpo rft sdpo sdpo_sampled sdpo_solution sdft sft grpo_slow sdpo_slow"
columns=("samples:samples to .95:0" "held:right, held-out sums:3" "area:mean of the curve:3" "refused:refused:3" reward kl length "gflop:GFLOP to .95:0" "told:right when shown the answer:3")
metric=samples
# 40 steps of 64 answers; the self-distilled (but sdpo_sampled) learn from exact divergences. Tuned: the learning rate, by the samples that .95 takes
# (seed 11, of 1e-4 3e-4 1e-3 2e-3, - never: grpo - 1587 1280 -, rft - 1877 - -, sdpo - 957 853 -, sdpo_sampled - 2560 2304 -, sdpo_solution - 967 792 -,
# sdft - 828 536 499, sft - 761 454 411). The slow arms were added after the others had been seen: at 1e-3 GRPO is jumpy.
candidates="1e-4 3e-4 1e-3 2e-3" candidates_start=0
tune_start=0 tune_grpo=1e-3 tune_rft=3e-4 tune_sdpo=1e-3 tune_sdpo_sampled=1e-3 tune_sdpo_solution=1e-3 tune_sdft=2e-3 tune_sft=2e-3 tune_grpo_slow=3e-4 tune_sdpo_slow=3e-4
[ -z "$tune_first" ] || arms=${arms% grpo_slow*}
level=0.95 # the start has about .82
again=" <|end|> CritiqueRequest: say if the answer states something false . Critique: there is no problem . <|end|> RevisionRequest: write it again with the true fact . Revision:"

# Sums as texts, with what the checker expects and a worked solution.
sums() {
    [ ! -e "$here/sums.jsonl" ] || return 0
    grep '"family": "arith"' "$work/prompts-rl.jsonl" | sed 's/.*"what is \([0-9]*\) + \([0-9]*\) + \([0-9]*\) ?".*/\1 \2 \3/' | awk '{ s = $1 + $2; t = s + $3; q = $1 " + " $2
        printf "{\"prompt\": \"User: what is %s + %s ? Assistant:\", \"answer\": %d, \"completion\": \" %s = %d . %d + %s = %d . the sum is %d .\", \"privileged_context\": \"%s = %d . %d + %s = %d . the sum is %d .\"}\n",
            q, $3, t, q, s, s, $3, t, t, q, s, s, $3, t, t }' >"$here/sums.tmp"
    mv "$here/sums.tmp" "$here/sums.jsonl"
}
train() { # VERB OUT OPTIONS...
    local verb=$1 to=$2
    shift 2
    sums
    $tenet "$verb" --model "$work/sft" --data "$here/sums.jsonl" --per-device-train-batch-size "${batch:-64}" --max-steps 40 --learning-rate "$tune" \
        --warmup-steps 5 $common --save-steps 4 --save-total-limit 0 --output-dir "$to" "$@"
}
sampled="--reward-funcs number:answer --num-generations 8 --max-completion-length 40"
exact="--distillation-mode full_logits --distillation-alpha 0.5"
reprompt() { sdpo=(--reprompt-template "{prompt}{solution}{feedback}" --solution-template " {successful_previous_attempt}$again" --feedback-template " {feedback_raw}$again"); }
arm_start() { sums && cp -r "$work/sft" "$1"; }
arm_grpo() { train grpo "$1" $sampled; }
arm_rft() { batch=8 train rft "$1" $sampled; } # the best of the eight of each prompt
arm_sdpo() { reprompt && train sdpo "$1" $sampled $exact "${sdpo[@]}"; }
arm_sdpo_sampled() { reprompt && train sdpo "$1" $sampled "${sdpo[@]}"; }
arm_sdpo_solution() { reprompt && train sdpo "$1" $sampled $exact "${sdpo[@]}" --no-use-successful-as-teacher --include-environment-feedback; }
arm_grpo_slow() { arm_grpo "$1"; }
arm_sdpo_slow() { arm_sdpo "$1"; }
arm_sdft() { train sdft "$1" --max-completion-length 40 --distillation-alpha 0.5 --teacher-prompt-template "{prompt} {privileged_context}$again"; }
arm_sft() { train sft "$1"; }

# right MODEL PROMPTS OUT N: "right X" and "refused X" of N answers to each prompt, which stay in OUT.
right() {
    $tenet generate --model "$1" --input "$2" --n "$4" --max-new-tokens 40 --seed 7 --dtype float32 --out "$3"
    $tenet world judge --input "$3" --seed "$seed" | awk '{ right += /"correct": true/; refused += /"refusal": true/ } END { print "right", right / NR; print "refused", refused / NR }'
}
measure() {
    local c at
    [ -e "$here/held" ] || $tenet world prompts-pref-heldout --seed "$seed" --count 1600 | grep '"family": "arith".*"pool": "held"' >"$here/held"
    right "$2" "$here/held" "$2.said" 8 >"$2.right"
    sed 's/^right/held/' "$2.right"
    case $1 in start*) told "$2"; return ;; esac
    if [ ! -e "$2/curve.jsonl" ]; then
        right "$work/sft" "$here/held" "$2.said" 4 | awk '/right/ { print "{\"step\": 0, \"true_reward\": " $2 ", }" }' >"$2/curve.tmp"
        for c in $(ls -d "$2"/checkpoint-* | sed 's/.*-//' | sort -n); do
            right "$2/checkpoint-$c" "$here/held" "$2.said" 4 | awk -v c="$c" '/right/ { print "{\"step\": " c ", \"true_reward\": " $2 ", }" }' >>"$2/curve.tmp"
        done
        rm -r "$2"/checkpoint-*
        mv "$2/curve.tmp" "$2/curve.jsonl"
    fi
    at=$(reached "$2" $level)
    [ -z "$at" ] || echo "$at $(flop "$2" "$at")" | awk '{ print "samples", 64 * $1; print "gflop", $2 }'
    sed 's/.*"true_reward": \([^,]*\).*/\1/' "$2/curve.jsonl" | awk '{ s += $1 } END { print "area", s / NR }'
}
# The start itself as a teacher: right answers of it behind a right answer to the same held-out sum.
told() {
    sed 's/.*"id": "\([^"]*\)".*"what is \([0-9]*\) + \([0-9]*\) + \([0-9]*\) ?".*/\1 \2 \3 \4/' "$here/held" | awk -v again="$again" '{ s = $2 + $3; t = s + $4; q = $2 " + " $3
        printf "{\"id\": \"%s\", \"prompt\": \"User: what is %s + %s ? Assistant: %s = %d . %d + %s = %d . the sum is %d .%s\"}\n", $1, q, $4, q, s, s, $4, t, t, again }' >"$here/told"
    $tenet generate --model "$1" --input "$here/told" --n 8 --max-new-tokens 40 --seed 7 --dtype float32 --out "$1.told"
    sed 's/"prompt_ids": [^]]*\], //' "$1.told" | $tenet world judge --input - --seed "$seed" | awk '{ right += /"correct": true/ } END { print "told", right / NR }'
}
