# Process and outcome reward models of three-number sums, trained on the same samples of the policy: which picks the right one
# of N answers? Answers to triples that no training has seen, judged by the oracle.
title="Process and outcome rewards: best of N"
claim="A process reward model picks right answers more often than an outcome reward model trained on the same samples."
published="MATH, best of 1,860: 78.2 by process, 72.4 by outcome, 69.6 by majority (Lightman et al. 2023, 2305.20050)"
against=outcome policies=
arms="first majority outcome process_min process_product"
columns=("n1:right at N 1:3" "n4:N 4:3" "n16:N 16:3" "n64:N 64:3" "sound64:all steps right, N 64:3")
metric=n64
# 280 prompts with 8 answers each; both models: two epochs of 32 answers a step, nothing tuned.
candidates=0
common_rm="--model $work/sft --per-device-train-batch-size 32 --num-train-epochs 2 --learning-rate 1e-3 --warmup-steps 10 --min-lr-ratio 0.05"
# What all arms share, once a seed.
answers() {
    [ ! -e "$here/held.steps" ] || return 0
    grep '"family": "arith"' "$work/prompts-rl.jsonl" | head -n 280 >"$here/train.prompts"
    $tenet world prompts-pref-heldout --seed "$seed" --count 800 | grep '"family": "arith".*"pool": "held"' >"$here/held.prompts"
    $tenet generate --model "$work/sft" --input "$here/train.prompts" --n 8 --max-new-tokens 40 --seed 1 --dtype float32 --out "$here/train.said"
    $tenet generate --model "$work/sft" --input "$here/held.prompts" --n 64 --max-new-tokens 40 --seed 2 --dtype float32 --out "$here/held.said"
    $tenet world steps --input "$here/train.said" --seed "$seed" --out "$here/train.steps"
    $tenet world steps --input "$here/train.said" --seed "$seed" --outcome --out "$here/train.outcomes"
    $tenet world steps --input "$here/held.said" --seed "$seed" --out "$here/held.steps"
}
train() { # MODEL DATA OPTIONS...
    local to=$1 data=$2
    shift 2
    [ -e "$to.scores" ] || { $tenet prm $common_rm --step-separator " ." --data "$data" $common --output-dir "$to" "$@" &&
        $tenet score --model "$to" --dtype float32 --input "$here/held.steps" --out "$to.scores"; }
}
arm_first() { answers; }
arm_majority() { answers; }
arm_outcome() { answers && train "$here/orm" "$here/train.outcomes" --train-on-last-step-only; }
arm_process_min() { answers && train "$here/prm" "$here/train.steps"; }
arm_process_product() { arm_process_min; }
# Best of the first N, the next N, ... of the 64 answers to every prompt, by the arm's score; ties go to the first.
measure() {
    local scores=/dev/null
    case $1 in outcome*) scores=$here/orm.scores ;; process*) scores=$here/prm.scores ;; esac
    paste "$here/held.steps" "$scores" | awk -v how="${1%%-*}" '
        function field(name, s) { match(s, "\"" name "\": [-0-9.e]+"); return substr(s, RSTART + length(name) + 4, RLENGTH - length(name) - 4) + 0 }
        { match($0, /"id": "[^"]*"/); id = substr($0, RSTART, RLENGTH); k = count[id]++; if (k == 0) order[++n] = id
          right[id, k] = /"correct": true/; sound[id, k] = !/"labels": \[[^]]*false/ && right[id, k]
          answer[id, k] = match($0, /the sum is [0-9]+/) ? substr($0, RSTART + 11, RLENGTH - 11) : "none"
          if (how == "process_min") score[id, k] = field("min", $0)
          else if (how == "process_product") score[id, k] = field("product", $0)
          else if (how == "outcome") { match($0, /"steps": \[[^]]*\]/); m = split(substr($0, RSTART + 10, RLENGTH - 11), p, ", "); score[id, k] = p[m] + 0 } }
        END { for (N = 1; N <= 64; N *= 4) { hit = all = whole = 0
            for (i = 1; i <= n; i++) for (from = 0; from + N <= 64 && from + N <= count[order[i]]; from += N) {
                id = order[i]; best = from; delete votes
                for (k = from; k < from + N; k++) votes[answer[id, k]]++
                for (k = from; k < from + N; k++) if (how == "majority" ? votes[answer[id, k]] > votes[answer[id, best]] : score[id, k] > score[id, best]) best = k
                all++; hit += right[id, best]; whole += sound[id, best] }
            print "n" N, hit / all; if (N == 64) print "sound64", whole / all } }'
}
