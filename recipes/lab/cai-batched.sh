# Critiques, revisions and labels asked together and one at a time: the same bytes, and how much faster? The first 150 red-team prompts, two
# rounds; seconds are of this machine as it was, so only their ratio means anything. With REAL_MODEL (a chat model's folder) and
# REAL_PROMPTS (rows {"prompt"}), also the first 64 of those, in turns (prompts/turns), one round of replies of the verb's default lengths.
. recipes/lab/cai.sh
title="Oversight in batches"
claim="Asking 64 questions together is at least five times as fast as asking one at a time, and changes no reply."
published="none; a target of this project"
against=batched
arms="batched single"
metric=tokens
columns=("tokens:critiques and revisions, tokens a second:0" "labels:comparisons a second:0" "same:same bytes:0"
         "real:real model, critiques and revisions, tokens a second:0")
ask() { # DIR BATCH BATCH-TOKENS
    local how="--prompts prompts/world --constitution constitutions/world.json --kind-key family --seed $seed --dtype ${DTYPE:-bfloat16} --threads 1" t
    mkdir -p "$1"
    head -n 150 "$cai/red-sl.jsonl" >"$1/red.jsonl"
    head -n 400 "$cai/pairs.jsonl" >"$1/pairs.jsonl"
    t=$(date +%s.%N)
    # shellcheck disable=SC2086
    $tenet critique --model "$cai/helpful-only" --critic models/world --data "$1/red.jsonl" --rounds 2 --max-new-tokens 40 \
        --max-critique-tokens 24 --repeat-words 0 --longest-ratio 0 --output-dir "$1/critique" --batch-size "$2" $how
    t="$t $(date +%s.%N)"
    # shellcheck disable=SC2086
    $tenet label --model models/world --input "$1/pairs.jsonl" --out "$1/labels.jsonl" --batch-tokens "$3" $how
    echo "$t $(date +%s.%N)" >"$1/times"
    [ -n "${REAL_MODEL:-}" ] || return 0
    head -n 64 "$REAL_PROMPTS" >"$1/real.jsonl"
    $tenet critique --model "$REAL_MODEL" --prompts prompts/turns --data "$1/real.jsonl" --rounds 1 --output-dir "$1/real" --batch-size "$2" \
        --seed "$seed" --threads 1 2>"$1/real.log"
}
arm_batched() { ask "$1" 64 2048; }
arm_single() { ask "$1" 1 1; }
measure() {
    local n k
    n=$(grep -o '"tokens":[0-9]*' "$2/critique/replies.jsonl" | awk -F: '{ s += $2 } END { print s }') k=$(wc -l <"$2/labels.jsonl.replies.jsonl")
    awk -v n="$n" -v k="$k" '{ print "tokens", n / ($2 - $1); print "labels", k / ($3 - $2) }' "$2/times"
    if [ -e "$2/real.log" ]; then # "critiques, round 1  64/64 replies (100%)  in 1m02s"
        n=$(grep -E '"stage":"(critique|revision)"' "$2/real/replies.jsonl" | grep -o '"tokens":[0-9]*' | awk -F: '{ s += $2 } END { print s }')
        grep -E '^(critiques|revisions).* in ' "$2/real.log" | sed 's/.* in //' | awk -v n="$n" '{ m = 0; if (split($1, a, "m") == 2) m = 60 * a[1]; t += m + a[length(a)] } END { print "real", n / t }'
    fi
    if cmp -s "$2/critique/record.jsonl" "$here/batched/critique/record.jsonl" && cmp -s "$2/labels.jsonl" "$here/batched/labels.jsonl"; then echo "same 1"; else echo "same 0"; fi
}
