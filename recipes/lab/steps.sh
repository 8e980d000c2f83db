# Step-DPO: the policy's own next steps, right against wrong, and whole answers, right against wrong, from about the same
# number of samples of three-number sums (`fewer`: whole answers, but only as many pairs as there are of steps). Measured on
# triples that no training has seen.
title="Step-DPO and DPO on whole answers"
claim="From the same number of samples, pairs of steps raise the share of right answers where pairs of whole answers hardly do."
published="about +3 points on MATH above 70B parameters from 10,000 pairs, DPO on whole answers far less (Lai et al. 2024, 2406.18629)"
against=answers policies=
arms="sft answers fewer steps"
columns=("held:right, held-out sums:3" "train:right, trained sums:3" "refused:refused:3" "samples:samples:0" "pairs:pairs:0")
metric=held
# 560 prompts; two epochs of pairs, 16 a step. Tuned: beta, at one learning rate (seed 11, held-out sums: answers .959 .960 .976
# .973, steps .926 .943 .968 .970; the start .824).
candidates="0.05 0.2 0.8 3" candidates_sft=0 candidates_fewer=0.8
tune_sft=0 tune_answers=0.8 tune_fewer=0.8 tune_steps=3
# pairs KIND OPTIONS...: of a seed's sums, once for all its arms
pairs() {
    local to=$here/$1
    shift
    [ ! -e "$to.jsonl" ] || return 0
    grep '"family": "arith"' "$work/prompts-rl.jsonl" | head -n 560 >"$to.prompts"
    $tenet step-pairs --model "$work/sft" --input "$to.prompts" --localise "world:$seed" --step-separator " ." --max-new-tokens 40 \
        --max-pairs 8 --dtype float32 --seed "$seed" --out "$to.jsonl" "$@" 2>&1 | tee "$to.counts"
}
optimise() { # KIND OUT OPTIONS...
    local kind=$1 to=$2
    shift 2
    $tenet dpo --model "$work/sft" --data "$here/$kind.jsonl" --beta "$tune" --per-device-train-batch-size 16 --num-train-epochs 2 \
        --learning-rate 3e-4 --warmup-steps 10 --min-lr-ratio 0.05 $common --output-dir "$to" "$@"
}
arm_sft() { cp -r "$work/sft" "$1"; }
arm_answers() { pairs of-answers --n 5 --pairs answer && optimise of-answers "$1"; }
arm_fewer() { pairs of-answers --n 5 --pairs answer && pairs of-steps --n 4 && optimise of-answers "$1" --max-rows "$(wc -l <"$here/of-steps.jsonl")"; }
arm_steps() { pairs of-steps --n 4 && optimise of-steps "$1"; }
measure() {
    [ -e "$here/sums" ] || $tenet world prompts-pref-heldout --seed "$seed" --count 1600 | grep '"family": "arith"' >"$here/sums"
    $tenet generate --model "$2" --input "$here/sums" --n 8 --max-new-tokens 40 --seed 7 --dtype float32 --out "$2.said"
    $tenet world judge --input "$2.said" --seed "$seed" | awk '{ k = /"pool": "held"/ ? "held" : "train"; n[k]++; right[k] += /"correct": true/; refused += /"refusal": true/ }
        END { for (k in n) print k, right[k] / n[k]; print "refused", refused / NR }'
    case $1 in
    sft) return ;;
    steps*) sed -n 's/^tenet: \([0-9]*\) pairs, from \([0-9]*\) samples.*/pairs \1\nsamples \2/p' "$here/of-steps.counts" ;;
    *) sed -n 's/^tenet: .* pairs, from \([0-9]*\) samples.*/samples \1/p' "$here/of-answers.counts"
       wc -l <"$here/of-$([ "$1" = fewer ] && echo steps || echo answers).jsonl" | sed 's/^ */pairs /' ;;
    esac
}
