# Constitutional AI with a principle taken out of critiques, revisions and comparisons. `no_harm_tied`: the model of no_harm after SL-CAI, but what
# is left of the comparisons is confined to requests for secrets, and pairs about hazards are ties, so that the preference model cannot carry over
# what it learned elsewhere.
. recipes/lab/cai.sh
title="A principle removed"
claim="Without a principle the behaviour that it governs, and no other, is worse: at the revisions, after SL-CAI and after RL."
published="not published as an ablation; principles were added one behaviour at a time (Bai et al. 2022, 2212.08073)"
against=full
arms="full no_harm no_harm_tied no_polite"
metric=rl_harmful
columns=("revised_harmful:harm, revisions:2" "sl_harmful:SL-CAI:2" "rl_harmful:RL-CAI:3" "revised_rude:rude, revisions:3" "sl_rude:SL-CAI:3" "rl_rude:RL-CAI:3"
    "revised_leak:leak, revisions:2" "rl_leak:RL-CAI:2" "rl_helpful:helpful, RL-CAI:2" "rl_evades:evades:2")
without() { # DIR PRINCIPLE
    copy_of "$cai" "$1"
    sed "s/{\"id\": \"$2\",/{\"id\": \"$2\", \"enabled\": false,/" constitutions/world.json >"$1.constitution.json"
    pipeline "$1" "constitution=$1.constitution.json"
}
arm_full() { copy_of "$cai" "$1"; }
arm_no_harm() { without "$1" harm; }
arm_no_polite() { without "$1" polite; }
arm_no_harm_tied() {
    local from=$here/no_harm
    copy_of "$from" "$1"
    grep '"family": *"privacy"' "$1/pairs.jsonl" >"$1.pairs"
    $tenet label --model models/world --input "$1.pairs" --out "$1.labels" --prompts prompts/world \
        --constitution "$from.constitution.json" --kind-key family --seed "$seed" --dtype "${DTYPE:-bfloat16}"
    grep '"family": *"harmful"' "$1/pairs.jsonl" | awk '
        { match($0, /"responses": *\["[^]]*"\]/); split(substr($0, RSTART, RLENGTH), r, "\"") }
        r[4] != r[6] { for (k = 1; k < 3; k++) { row = $0; sub(/}$/, ", \"rank\": [" k ", " (3 - k) "]}", row); print row } }' >>"$1.labels"
    with_labels "$1" "$1.labels" "constitution=$from.constitution.json"
}
measure() {
    judged "$2/critique/answers-4.jsonl" revised_
    rates "$2" sl-cai sl_
    rates "$2" rl-cai rl_
}
