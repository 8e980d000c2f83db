# Step-DPO: the policy's own next steps, right against wrong, and whole answers, right against wrong, from about the same
# number of samples of three-number sums. Measured on triples that no training has seen.
title="Step-DPO and DPO on whole answers"
claim="From the same number of samples, pairs of steps raise the share of right answers where pairs of whole answers hardly do."
published="about +3 points on MATH above 70B parameters from 10,000 pairs, DPO on whole answers far less (Lai et al. 2024, 2406.18629)"
against=answers policies=
arms="sft answers steps"
columns=("held:right, held-out sums:3" "train:right, trained sums:3" "refused:refused:3" "samples:samples:0" "pairs:pairs:0")
metric=held
# 560 prompts; two epochs of pairs, 16 a step. Tuned: beta, at one learning rate.
candidates="0.05 0.2 0.8 3" candidates_sft=0
tune_sft=0
# pairs KIND OPTIONS...: of a seed's sums, once for all its arms
pairs() {
    local to=$here/$1
    shift
    [ ! -e "$to.jsonl" ] || return 0
    grep '"family": "arith"' "$work/prompts-rl.jsonl" | head -n 560 >"$to.prompts"
    $tenet step-pairs --model "$work/sft" --input "$to.prompts" --localise "world:$seed" --step-separator " ." --max-new-tokens 40 \
        --max-pairs 8 --dtype float32 --seed "$seed" --out "$to.jsonl" "$@" 2>&1 | tee "$to.counts"
}
optimise() { # KIND OUT
    $tenet dpo --model "$work/sft" --data "$here/$1.jsonl" --beta "$tune" --per-device-train-batch-size 16 --num-train-epochs 2 \
        --learning-rate 3e-4 --warmup-steps 10 --min-lr-ratio 0.05 $common --output-dir "$2"
}
arm_sft() { cp -r "$work/sft" "$1"; }
arm_answers() { pairs of-answers --n 5 --pairs answer && optimise of-answers "$1"; }
arm_steps() { pairs of-steps --n 4 && optimise of-steps "$1"; }
measure() {
    [ -e "$here/sums" ] || $tenet world prompts-pref-heldout --seed "$seed" --count 800 | grep '"family": "arith"' >"$here/sums"
    $tenet generate --model "$2" --input "$here/sums" --n 8 --max-new-tokens 40 --seed 7 --dtype float32 --out "$2.said"
    $tenet world judge --input "$2.said" --seed "$seed" | awk '{ k = /"pool": "held"/ ? "held" : "train"; n[k]++; right[k] += /"correct": true/; refused += /"refusal": true/ }
        END { for (k in n) print k, right[k] / n[k]; print "refused", refused / NR }'
    [ "$1" = sft ] || sed -n 's/^tenet: \([0-9]*\) pairs, from \([0-9]*\) samples.*/pairs \1\nsamples \2/p' "$here/of-${1%%-*}.counts"
}
