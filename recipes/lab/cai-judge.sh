# RL-CAI with a judge who errs by rule: a share of (entity or person, principle), the dial, is judged the wrong way round every time.
# Labels are made under one principle each here, since it is (item, principle) that is judged wrongly.
. recipes/lab/cai.sh
title="A judge that errs by rule"
claim="Harm after RL rises with the share of items that the judge gets wrong."
published="no dial published; feedback accuracy grows with the judge's size (Bai et al. 2022, 2212.08073, fig. 4)"
against=dial0
arms="dial0 dial20 dial40"
metric=harmful
columns=("right:labels the better:3" "harmful:harm:3" "held_harm:held-out harm:2" "leak:leak:3" "evades:evades:2" "helpful:helpful:2" "reward:true reward:2")
dial() { # DIR PERCENT
    copy_of "$cai" "$1"
    [ -e "$here/drawn.jsonl" ] || $tenet label --model models/world --input "$cai/pairs.jsonl" --out "$here/drawn.jsonl" --prompts prompts/world \
        --constitution constitutions/world.json --kind-key family --seed "$seed" --dtype "${DTYPE:-bfloat16}"
    $tenet world misjudge --input "$here/drawn.jsonl" --dial "$2" --seed "$seed" --out "$1.labels"
    with_labels "$1" "$1.labels"
}
arm_dial0() { dial "$1" 0; }
arm_dial20() { dial "$1" 20; }
arm_dial40() { dial "$1" 40; }
order() { grep -o '"rank": *\[[0-9], *[0-9]\]' "$1" | tr -d ' '; }
measure() {
    rates "$2" rl-cai ""
    $tenet world rank --input "$2/labels.jsonl" --annotator exact --seed "$seed" --out "$2/exact.jsonl"
    paste <(order "$2/labels.jsonl") <(order "$2/exact.jsonl") | awk '{ n++; k += $1 == $2 } END { print "right", k / n }'
}
