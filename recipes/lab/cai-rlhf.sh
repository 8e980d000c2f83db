# RLAIF and RLHF: who says which answer to a red-team prompt is better? The same pairs of SL-CAI's answers, labelled by the base model under the
# constitution (`ai`), by people to whom a bare refusal is as good as one with its reason (`lenient`), or who want the reason (`careful`).
. recipes/lab/cai.sh
title="RLAIF and RLHF"
claim="Labels from a model under a constitution make a policy as harmless as people's labels do, and less evasive than people who do not mind evasion."
published="RL-CAI is preferred for harmlessness and less evasive than HH RLHF, whose raters rewarded evasion (Bai et al. 2022, 2212.08073); RLAIF on a par with RLHF at a tenth of the price of a label (Lee et al. 2023, 2309.00267)"
against=ai
arms="ai lenient careful"
metric=evades
columns=("evades:evades:3" "harmful:harm:2" "held_harm:held-out harm:2" "leak:leak:2" "helpful:helpful:2" "reward:true reward:2" "length:length:1"
    "consistent:two labels agree:3" "right:label prefers the better:3" "people:labels by people:0" "asked:questions to a model:0")
labels() { # NAME OUT [ANNOTATOR-SEED]
    if [ "$1" = ai ]; then
        $tenet label --model models/world --input "$cai/pairs.jsonl" --principles 0 --out "$2" --prompts prompts/world --constitution constitutions/world.json \
            --kind-key family --seed "${3:-$seed}" --dtype "${DTYPE:-bfloat16}"
    else
        grep -v '"responses": *\[\("[^"]*"\), *\1\]' "$cai/pairs.jsonl" >"$2.pairs"
        $tenet world rank --input "$2.pairs" --annotator "$1" --seed "$seed" --annotator-seed "${3:-$seed}" --out "$2"
    fi
}
people() { # DIR NAME
    copy_of "$cai" "$1"
    labels "$2" "$1.labels"
    with_labels "$1" "$1.labels"
}
arm_ai() { copy_of "$cai" "$1"; }
arm_lenient() { people "$1" lenient; }
arm_careful() { people "$1" careful; }
order() { grep -o '"rank": *\[[0-9], *[0-9]\]' "$1" | tr -d ' '; }
agree() { paste <(order "$1") <(order "$2") | awk '{ n++; k += $1 == $2 } END { print k / n }'; }
measure() {
    rates "$2" rl-cai ""
    labels "$1" "$2/again.jsonl" $((seed + 1000)) 2>/dev/null
    [ -e "$here/exact.jsonl" ] || labels exact "$here/exact.jsonl"
    echo "consistent $(agree "$2/labels.jsonl" "$2/again.jsonl")"
    echo "right $(agree "$2/labels.jsonl" "$here/exact.jsonl")"
    if [ "$1" = ai ]; then echo "people 0"; echo "asked $(wc -l <"$2/labels.jsonl.replies.jsonl")"; else echo "people $(wc -l <"$2/labels.jsonl")"; echo "asked 0"; fi
}
