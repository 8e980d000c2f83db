# GRPO on three-number sums with the judges of `process`: a reward for the whole answer, or one for every step. Measured on triples
# that no training has seen.
. recipes/lab/process.sh
title="Process and outcome rewards in reinforcement learning"
claim="GRPO with rewards of steps ends with more right answers than with a reward of the outcome, and with sounder steps."
published="DeepSeekMath 7B: process supervision above outcome supervision (GRPO+PS over GRPO+OS by about a point on GSM8K and MATH; Shao et al. 2024, 2402.03300, figure 5)"
against=outcome policies=
arms="sft outcome least steps steps_least oracle"
columns=("held:right, held-out sums:3" "sound:right with all steps right:3" "train:right, trained sums:3" "refused:refused or rambling:3" "steps:sentences:2" "judge:its judge's score:3" "kl:KL:2")
metric=held
# 40 steps of 64 answers to 8 sums. Tuned: the weight of the KL to the start, at one learning rate (seed 11, right on held-out sums:
# outcome .914 .919 .954, least .965 .965 .966, steps .961 .961 .963, steps_least .969 .963 .966, oracle .969 .966 .970).
candidates="0.005 0.02 0.08" candidates_sft=0
tune_outcome=0.08 tune_least=0.08 tune_steps=0.08 tune_steps_least=0.005 tune_oracle=0.08
sums() { [ -e "$here/train.sums" ] || grep '"family": "arith"' "$work/prompts-rl.jsonl" >"$here/train.sums"; }
learn() { # OUT OPTIONS...
    local to=$1
    shift
    sums
    $tenet grpo --model "$work/sft" --data "$here/train.sums" --max-completion-length 40 --per-device-train-batch-size 64 --num-generations 8 --max-steps 40 \
        --learning-rate 3e-4 --warmup-steps 5 --beta "$tune" $common --output-dir "$to" "$@"
}
orm() { train "$judges/outcome" "1e-3" train.outcomes --train-on-last-step-only; }
prm() { train "$judges/process_min" "6e-4" train.steps; }
arm_sft() { sums && cp -r "$work/sft" "$1"; }
arm_outcome() { orm && learn "$1" --reward-model "$judges/outcome" --step-score last; }
arm_least() { prm && learn "$1" --reward-model "$judges/process_min" --step-score min; }
arm_steps() { prm && learn "$1" --process-reward-model "$judges/process_min"; }
arm_steps_least() { prm && learn "$1" --process-reward-model "$judges/process_min" --step-reward least; }
arm_oracle() { learn "$1" --reward-funcs "world:$seed"; }
measure() {
    [ -e "$here/sums" ] || $tenet world prompts-pref-heldout --seed "$seed" --count 1600 | grep '"family": "arith"' >"$here/sums"
    $tenet generate --model "$2" --input "$here/sums" --n 8 --max-new-tokens 40 --seed 7 --dtype float32 --out "$2.said"
    $tenet world steps --input "$2.said" --seed "$seed" --out "$2.steps"
    $tenet world judge --input "$2.said" --seed "$seed" | paste - "$2.steps" | awk '{ k = /"pool": "held"/ ? "held" : "train"; right = /"correct": true/; n[k]++; r[k] += right
        refused += !/the sum is/; sound += k == "held" && right && !/"labels": \[[^]]*false/; match($0, /"labels": \[[^]]*\]/); steps += split(substr($0, RSTART, RLENGTH), p, ",") }
        END { for (k in n) print k, r[k] / n[k]; print "sound", sound / n["held"]; print "refused", refused / NR; print "steps", steps / NR }'
    [ -e "$2/metrics.jsonl" ] && [ "$1" != sft ] || return 0
    tail -n 1 "$2/metrics.jsonl" | awk '{ if (match($0, /"process\/score": [0-9.e-]+/)) print "judge", substr($0, RSTART + 17, RLENGTH - 17)
        else if (match($0, /"rewards\/[a-z_]*\/mean": [0-9.e-]+/)) { s = substr($0, RSTART, RLENGTH); sub(/.*: /, "", s); print "judge", s }
        if (match($0, /"kl": [0-9.e-]+/)) print "kl", substr($0, RSTART + 6, RLENGTH - 6) }'
}
