# Process and outcome reward models of three-number sums, trained on the same 8,000 labelled samples of the policy: which picks
# the right one of N answers? Answers to triples that no training has seen, judged by the oracle.
title="Process and outcome rewards: best of N"
claim="A process reward model picks right answers more often than an outcome reward model trained on the same samples."
published="MATH, best of 1,860: 78.2 by process, 72.4 by outcome, 69.6 by majority (Lightman et al. 2023, 2305.20050)"
against=outcome policies=
arms="first majority outcome process_min process_product"
columns=("auc:right scored above wrong:3" "n1:right at N 1:3" "n4:N 4:3" "n16:N 16:3" "n64:N 64:3" "sound16:all steps right, N 16:3")
metric=n16
# Both models: 1,000 prompts with 8 answers each at temperature 1.5 (half of them wrong; at 1 a sixth is, and from 6,400 of those
# both models hardly learn: right above wrong .89 and .76), 8 epochs of 32 answers a step, 80 s. Tuned: the learning rate (seed 11,
# right at N 16 of the first 100 prompts: outcome .828 .877 .713, process by the least step .953 .897 .695).
candidates="6e-4 1e-3 2e-3" candidates_first=0 candidates_majority=0
tune_outcome=1e-3 tune_process_min=6e-4 tune_process_product=6e-4
judges=$work/lab/process
# What all arms share, once a seed.
answers() {
    [ ! -e "$judges/held.steps" ] || return 0
    mkdir -p "$judges"
    grep '"family": "arith"' "$work/prompts-rl.jsonl" | head -n 1000 >"$judges/train.prompts"
    $tenet world prompts-pref-heldout --seed "$seed" --count 3200 | grep '"family": "arith".*"pool": "held"' >"$judges/held.prompts"
    $tenet generate --model "$work/sft" --input "$judges/train.prompts" --n 8 --temperature 1.5 --max-new-tokens 40 --seed 1 --dtype float32 --out "$judges/train.said"
    $tenet generate --model "$work/sft" --input "$judges/held.prompts" --n 64 --max-new-tokens 40 --seed 2 --dtype float32 --out "$judges/held.said"
    $tenet world steps --input "$judges/train.said" --seed "$seed" --out "$judges/train.steps"
    $tenet world steps --input "$judges/train.said" --seed "$seed" --outcome --out "$judges/train.outcomes"
    $tenet world steps --input "$judges/held.said" --seed "$seed" --out "$judges/held.steps"
}
train() { # MODEL RATE DATA OPTIONS...
    local to=$1 rate=$2 data=$3
    shift 3
    answers
    [ -e "$to/config.json" ] || $tenet prm --model "$work/sft" --per-device-train-batch-size 32 --num-train-epochs 8 --learning-rate "$rate" --warmup-steps 40 \
        --min-lr-ratio 0.05 --step-separator " ." --data "$judges/$data" $common --output-dir "$to" "$@"
    [ -e "$to.scores" ] || $tenet score --model "$to" --dtype float32 --input "$judges/held.steps" --out "$to.scores"
}
arm_first() { answers; }
arm_majority() { answers; }
arm_outcome() { train "$1" "$tune" train.outcomes --train-on-last-step-only; }
arm_process_min() { train "$1" "$tune" train.steps; }
arm_process_product() { train "${1/process_product/process_min}" "$tune" train.steps; } # the same model
# Best of the first N, the next N, ... of the 64 answers to every prompt, by the arm's score; ties go to the first. auc: how often
# a right answer has a higher score than a wrong one, every seventh right one asked.
measure() {
    local scores=/dev/null
    case $1 in outcome* | process*) scores=${2/process_product/process_min}.scores ;; esac
    paste "$judges/held.steps" "$scores" | awk -v how="${1%%-*}" '
        function field(name, s) { match(s, "\"" name "\": [-0-9.e]+"); return substr(s, RSTART + length(name) + 4, RLENGTH - length(name) - 4) + 0 }
        { match($0, /"id": "[^"]*"/); id = substr($0, RSTART, RLENGTH); k = count[id]++; if (k == 0) order[++n] = id
          right[id, k] = /"correct": true/; sound[id, k] = !/"labels": \[[^]]*false/ && right[id, k]
          answer[id, k] = match($0, /the sum is [0-9]+/) ? substr($0, RSTART + 11, RLENGTH - 11) : "none"
          if (how == "process_min") score[id, k] = field("min", $0)
          else if (how == "process_product") score[id, k] = field("product", $0)
          else if (how == "outcome") { match($0, /"steps": \[[^]]*\]/); m = split(substr($0, RSTART + 10, RLENGTH - 11), p, ", "); score[id, k] = p[m] + 0 }
          if (right[id, k]) good[++goods] = score[id, k]; else bad[++bads] = score[id, k] }
        END { for (N = 1; N <= 64; N *= 4) { hit = all = whole = 0
            for (i = 1; i <= n; i++) for (from = 0; from + N <= 64 && from + N <= count[order[i]]; from += N) {
                id = order[i]; best = from; delete votes
                for (k = from; k < from + N; k++) votes[answer[id, k]]++
                for (k = from; k < from + N; k++) if (how == "majority" ? votes[answer[id, k]] > votes[answer[id, best]] : score[id, k] > score[id, best]) best = k
                all++; hit += right[id, best]; whole += sound[id, best] }
            print "n" N, hit / all; if (N == 16) print "sound16", whole / all }
          if (how == "first" || how == "majority") exit
          for (i = 1; i <= bads; i++) for (j = 1 + i % 7; j <= goods; j += 7) { pairs++; above += good[j] > bad[i] ? 1 : good[j] == bad[i] ? 0.5 : 0 }
          print "auc", above / pairs }'
}
