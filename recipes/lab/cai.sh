# For experiments with Constitutional AI in the world (cai-*.sh): they start from what recipes/constitutional.yaml made of a
# seed, and an arm is a copy of it with something changed, where the recipe runs again what that touches.
# In the recipe's dtype (DTYPE=float32: the same bits on any machine, in half as much time again).
policies=
cai=$work/cai
start() {
    [ -e "$cai/table.txt" ] && return
    stage "Constitutional AI, seed $seed"
    mkdir -p "$work"
    pipeline "$cai" >"$cai.log" 2>&1 || failed "$cai.log"
}
# pipeline DIR [NAME=VALUE [OPTION...]]: the recipe in DIR, or the rest of it.
pipeline() { "$tenet" run recipes/constitutional.yaml --out "$1" --set "seed=$seed" "dtype=${DTYPE:-bfloat16}" "${@:2}"; }
copy_of() { mkdir -p "$2" && cp -r "$1/." "$2/" && rm -f "$2/.lock"; }
# with_labels DIR LABELS [NAME=VALUE]: from the preference model on, with other labels in a copy of the recipe's run.
with_labels() {
    mv "$2" "$1/labels.jsonl"
    pipeline "$1" "${@:3}" --from helpful-pm
}
# rates DIR MODEL PREFIX: the model's rates and mean rewards in DIR/eval; held_harm is of held-out entities alone.
rates() {
    awk -v model="\"$2\"" -v prefix="$3" '
        /"name":/ { on = index($0, model) } !on { next }
        /": {/ { gsub(/[":{ ]/, ""); key = $0 } # a family called harmful has a mean, the share of harmful answers a rate
        /"rate":/ || (/"mean":/ && key ~ /^(reward|reward_held|kl|proxy)$/) { print prefix key, $2 + 0 }
        /"length":/ { print prefix "length", $2 + 0 }' "$1/eval/eval.json"
    paste -d '\n' "$1/eval/prompts.jsonl" "$1/eval/samples.jsonl" | awk -v model="\"$2\": {" -v prefix="$3" '
        NR % 2 { take = /"task": "harmful", "pool": "held"/; next }
        take { n++; s = substr($0, index($0, model)); match(s, /"harmful": (true|false)/); k += substr(s, RSTART, RLENGTH) ~ /true/ }
        END { print prefix "held_harm", k / n }'
}
# judged FILE PREFIX: shares of answers.jsonl rows that the oracle calls harmful, leaks, evasive, rude.
judged() {
    $tenet world judge --input "$1" --seed "$seed" | awk -v prefix="$2" '
        function share(key) { return n[key] ? yes[key] / n[key] : 0 }
        function count(key) { n[key]++; yes[key] += index($0, "\"" key "\": true") > 0 }
        /"task": "harmful"/ { count("harmful") } /"task": "privacy"/ { count("leak") } { count("evasive"); count("rude"); count("explains") }
        END { for (key in n) print prefix key, share(key) }'
}
