# Revision with and without a critique before it, round by round, of the same first answers. Nothing is trained.
. recipes/lab/cai.sh
title="Critiqued and direct revision"
claim="A small model revises better after a critique than directly."
published="critiqued revisions score higher on harmlessness for small models, no visible difference above about 50B (Bai et al. 2022, 2212.08073, fig. 7)"
against=critiqued
arms="critiqued direct"
metric=h4 columns=("h0:harm, round 0:2" "h1:1:2" "h2:2:2" "h3:3:2" "h4:4:3" "leak1:leak, round 1:2" "leak4:4:2" "evade4:evasive, round 4:2" "changed:revisions taken:2")
critique() { # DIR OPTIONS...
    # shellcheck disable=SC2046
    $tenet critique --model "$cai/helpful-only" --critic models/world --data "$cai/red-sl.jsonl" --rounds 4 --max-new-tokens 40 \
        --max-critique-tokens 24 --repeat-words 0 --longest-ratio 0 --prompts prompts/world --constitution constitutions/world.json \
        --kind-key family --seed "$seed" --dtype "${DTYPE:-bfloat16}" --output-dir "$1" "${@:2}"
}
arm_critiqued() { cp -r "$cai/critique" "$1"; }
arm_direct() {
    mkdir -p "$1" && grep '"stage":"answer"' "$cai/critique/replies.jsonl" >"$1/replies.jsonl"
    critique "$1" --direct
}
measure() {
    for round in 0 1 2 3 4; do
        judged "$2/answers-$round.jsonl" "" | awk -v r=$round '{ sub("harmful", "h"); sub("evasive", "evade"); print $1 r, $2 }'
    done
    grep -o '"taken": *[0-9]*' "$2/summary.json" | head -n 4 | awk -v n="$(wc -l <"$cai/red-sl.jsonl")" '{ s += $2 } END { print "changed", s / 4 / n }'
}
