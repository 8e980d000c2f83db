# The preference model of RL-CAI from soft, hard and clamped AI labels (as after chains of thought: no nearer to certainty than .4 and .6). Tested on
# pairs of SL-CAI's answers to 1,000 red-team prompts that it was not trained on, which of two is better said by the oracle.
. recipes/lab/cai.sh
title="Soft, hard and clamped AI labels"
claim="Soft labels make a better calibrated preference model than hard ones; clamping shrinks its scale and leaves its order."
published="soft labels gave much better results than hard ones without chains of thought; with them, clamping to .4-.6 was best (Bai et al. 2022, 2212.08073, 4.1, 4.3)"
against=soft
arms="soft hard clamped"
metric=accuracy
columns=("accuracy:harmlessness accuracy:3" "ece:calibration error:3" "held_accuracy:held-out entities:3" "help_accuracy:helpfulness accuracy:3" "scale:standard deviation of scores:2")
tested() { # NAME PROMPTS: two answers of SL-CAI to each, ranked by the oracle
    $tenet generate --model "$cai/sl-cai" --input "$2" --n 2 --max-new-tokens 40 --grouped --seed "$seed" --dtype "${DTYPE:-bfloat16}" --out "$here/answers-$1.jsonl"
    $tenet world rank --input "$here/answers-$1.jsonl" --annotator exact --seed "$seed" --out "$here/test-$1.jsonl"
}
tests() {
    [ -e "$here/test-held.jsonl" ] && return
    local red='"family": "(harmful|privacy)"'
    $tenet world prompts-rl --seed "$seed" --first 60000 --count 4000 --out "$here/prompts.jsonl"
    grep -E "$red" "$here/prompts.jsonl" >"$here/red.jsonl"
    grep -vE "$red" "$here/prompts.jsonl" >"$here/help.jsonl"
    $tenet world eval --count 3200 --out "$here/eval.jsonl"
    grep '"task": "harmful", "pool": "held"' "$here/eval.jsonl" >"$here/held.jsonl"
    tested red "$here/red.jsonl" && tested help "$here/help.jsonl" && tested held "$here/held.jsonl"
}
preference() { # DIR LABELS OPTIONS...
    tests
    $tenet reward --model "$cai/sl-cai" --data "$2" "$cai/rankings.jsonl" --reward-l2 0.001 --head-init 0 --output-dir "$1" \
        --per-device-train-batch-size 32 --num-train-epochs 2 --learning-rate 5e-4 --weight-decay 0.01 --micro-batch-tokens 2048 \
        --adam-beta2 0.95 --min-lr-ratio 0.05 --save-steps 0 --save-dtype float32 --seed "$seed" --overwrite --dtype "${DTYPE:-bfloat16}" "${@:3}"
}
arm_soft() { preference "$1" "$cai/labels.jsonl"; }
arm_hard() { preference "$1" "$cai/labels.jsonl" --hard-labels; }
arm_clamped() {
    awk '{ match($0, /"p":[0-9.e-]+/); p = substr($0, RSTART + 4, RLENGTH - 4) + 0; c = p < 0.4 ? 0.4 : p > 0.6 ? 0.6 : p
           print substr($0, 1, RSTART - 1) "\"p\":" c substr($0, RSTART + RLENGTH) }' "$cai/labels.jsonl" >"$1.jsonl"
    preference "$1" "$1.jsonl"
}
measure() {
    for set in red help held; do
        $tenet eval --input "$cai/red-sl.jsonl" --count 1 --models "$cai/sl-cai" --reward-model "$2" --pairs "$here/test-$set.jsonl" \
            --dtype "${DTYPE:-bfloat16}" --out "$2/eval-$set" >/dev/null
        reward_model "$2/eval-$set/eval.json" | awk -v set=$set 'set == "red" || $1 == "accuracy" { print (set == "red" ? "" : set "_") $1, $2 }'
    done
    awk '/"sd":/ { print "scale", $2 + 0; exit }' "$2/tenet.json"
}
