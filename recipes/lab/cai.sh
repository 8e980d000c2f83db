# For experiments with Constitutional AI in the world (cai-*.sh): they start from what recipes/constitutional_world.sh made of a
# seed, and an arm is that recipe again in a folder of its own, where all that its change does not touch is there already.
# In the recipe's dtype (DTYPE=float32: the same bits on any machine, in half as much time again).
policies=
cai=$work/cai
start() {
    [ -e "$cai/table.txt" ] && return
    stage "Constitutional AI, seed $seed"
    mkdir -p "$cai"
    recipes/constitutional_world.sh "$seed" "$cai" >"$cai/log" 2>&1 || failed "$cai/log"
}
# arm_folder DIR WHAT...: DIR with these of the recipe's folders and files.
arm_folder() {
    mkdir -p "$1"
    for part in "${@:2}"; do cp -r "$cai/$part" "$1/"; done
}
# What every arm after SL-CAI has.
sl_cai="helpful-only sl-cai critique pairs.jsonl helpful-answers.jsonl rankings.jsonl"
again() { recipes/constitutional_world.sh "$seed" "$1"; } # DIR
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
