# Reward models trained on some annotators' rankings, asked about others'. Ten persons with biases of their own (tenet world
# rank --annotator person-K); five folds hold two of them out; both arms are the same five models.
title="Annotators that a reward model has not seen"
claim="A reward model agrees nearly as well with annotators that it was not trained on: people share what they prefer."
published="72.4 % on the training annotators, 69.6 % on held-out ones, five folds (InstructGPT, Ouyang et al. 2022, 2203.02155)"
against=seen
arms="seen unseen"
policies=
metric=accuracy columns=("accuracy:accuracy on their labels:3" "ece:calibration error:3")
# Nothing is tuned: the world's pipeline (docs/design.md).
people() { # FOLD seen|unseen
    local k list=
    for k in 0 1 2 3 4 5 6 7 8 9; do
        if [ $((k / 2)) = "$1" ]; then [ "$2" = unseen ] || continue; else [ "$2" = seen ] || continue; fi
        list="$list,person-$k"
    done
    echo "${list#,}"
}
arm_seen() {
    mkdir -p "$1"
    for fold in 0 1 2 3 4; do
        $tenet world rank --input "$work/prompts-pref-answers.jsonl" --annotator "$(people $fold seen)" --seed "$seed" --out "$1/train-$fold.jsonl" || return
        for who in seen unseen; do
            $tenet world rank --input "$work/prompts-pref-heldout-answers.jsonl" --annotator "$(people $fold $who)" --seed "$seed" \
                --annotator-seed $((seed + 1000)) --out "$1/$who-$fold.jsonl" || return
        done
        $tenet reward --model "$work/sft" --data "$1/train-$fold.jsonl" --reward-l2 0.001 --head-init 0 --per-device-train-batch-size 32 \
            --num-train-epochs 2 --learning-rate 5e-4 --weight-decay 0.01 --min-lr-ratio 0.05 $common --output-dir "$1/$fold" || return
    done
}
arm_unseen() { mkdir -p "$1"; }
measure() {
    for fold in 0 1 2 3 4; do
        $tenet eval --input "$work/prompts-pref-heldout.jsonl" --count 1 --models "$work/sft" --reward-model "$here/seen/$fold" \
            --pairs "$here/seen/$1-$fold.jsonl" --dtype float32 --out "$2/$fold" >/dev/null || return
        reward_model "$2/$fold/eval.json"
    done | means
}
