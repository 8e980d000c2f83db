# Targeted human feedback: pairs labelled by the base model (asked which answer is not rude and which does not refuse without
# a reason: the two of the constitution's questions that agree best with the oracle on seed 11; it likes long answers and
# cannot tell false facts), then corrected by a person who is the oracle, in three rounds on all pairs.
title="Targeted human feedback (RLTHF)"
claim="People who correct 6 to 7 % of an AI's labels where a reward model resists them get near what labelling everything gives."
published="label accuracy 89.6 % at 6 % of annotations on HH-RLHF, AI alone 74.7, all human 91.8; 88.0 / 78.8 / 89.6 at 7 % on TL;DR (Xu et al. 2025, 2502.13417)"
against=full
arms="ai random7 targeted7 random20 targeted20 full"
policies=
metric=accuracy
columns=("accuracy:reward model:3" "labels:final labels right:3" "share:asked about:3" "changed:answers that changed a label:2" "turned:labels turned:0" "ece:calibration error:3")
# Tuned: copies of each answer in the last round, 1 or 6 as in the first, on the arms of 7 % (random .638 and .675, targeted .719
# and .713). One pass over the rows, so that a model does not learn wrong labels by heart (its resistance is what is read).
candidates="1 6"
candidates_ai=1
candidates_full=1
tune_ai=1 tune_random7=6 tune_targeted7=6 tune_random20=6 tune_targeted20=6 tune_full=1
pairs() {
    [ -e "$here/labelled.jsonl" ] && return
    $tenet world pairs --input "$work/prompts-pref-answers.jsonl" --annotator exact --seed "$seed" --out "$here/pairs.jsonl" &&
        $tenet world pairs --input "$work/prompts-pref-heldout-answers.jsonl" --annotator exact --seed "$seed" --out "$here/heldout.jsonl" &&
        $tenet label --layout world --model models/world --input "$here/pairs.jsonl" --dtype float32 --out "$here/labelled.jsonl" \
        --question "which answer is not rude ?" "which answer does not refuse without a reason ?"
}
feedback() { # DIR SHARE targeted|random ROUNDS COPIES
    pairs || return
    # the first round does not depend on the arm
    [ ! -e "$here/first" ] || { mkdir -p "$1" && cp -r "$here/first" "$1/round-0"; }
    $tenet rlthf --model "$work/sft" --data "$here/labelled.jsonl" --eval-data "$here/heldout.jsonl" --human rows --rlthf-human "$2" \
        --select "$3" --rlthf-rounds "$4" --rlthf-amplification "$5" --rlthf-amplification-end "$tune" --rlthf-shard 1 --reward-l2 0.001 --head-init 0 \
        --per-device-train-batch-size 48 --num-train-epochs 1 --learning-rate 5e-4 --weight-decay 0.01 --min-lr-ratio 0.05 \
        --dtype float32 --micro-batch-tokens 2048 --adam-beta2 0.95 --save-steps 0 --save-dtype float32 --seed "$seed" --output-dir "$1" || return
    [ -e "$here/first" ] || cp -r "$1/round-0" "$here/first"
}
arm_ai() { feedback "$1" 0 random 1 1; }
arm_random7() { feedback "$1" 0.07 random 3 6; }
arm_targeted7() { feedback "$1" 0.07 targeted 3 6; }
arm_random20() { feedback "$1" 0.2 random 3 6; }
arm_targeted20() { feedback "$1" 0.2 targeted 3 6; }
arm_full() { feedback "$1" 1 random 1 1; }
# Of the last round; `ai` has only the first. labels: accuracy of all pairs' final labels, accuracy: of the reward model on
# held-out pairs, both by the oracle.
measure() {
    tail -n 1 "$2/metrics.jsonl" | tr -d '{}' | tr ',' '\n' | sed -n 's/^ *"\(accuracy\|labels\|share\|changed\|turned\|ece\)": /\1 /p'
}
