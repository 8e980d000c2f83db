#!/bin/bash
# Experiments in the built-in world, each a claim with its arms (recipes/lab/NAME.sh), on several seeds of everything
# after the base; every arm of a seed starts from the same fine-tuned model, rankings and reward model. All in float32:
# the same bits on any machine.
#   recipes/lab.sh OUT [NAME...]           tables and pages into OUT/lab/NAME; default: all experiments
#   recipes/lab.sh --tune OUT NAME...      every arm's candidates on seed 11, which no table uses; the choice is written
#                                          into recipes/lab/NAME.sh before the seeds run
#   SEEDS="1 2 3"                          the seeds
# What is there already is not made again.
set -eu
cd "$(dirname "$0")/.."
tune_first=
if [ "${1:-}" = --tune ]; then tune_first=1; shift; fi
out=$1 tenet=${TENET_BIN:-build/tenet} seeds=${SEEDS:-1 2 3}
shift
[ $# -gt 0 ] || set -- $(basename -s .sh recipes/lab/*.sh | grep -vE '^(lib|cai)$')
t0=$(date +%s)
stage() { printf '[%4d s] %s\n' $(($(date +%s) - t0)) "$*"; }
failed() { echo "failed: $1" >&2; tail -n 5 "$1" >&2; exit 1; }

# One seed's models to start from; an experiment that starts elsewhere defines `start` itself.
world_start() {
    [ -e "$work/prompts-rl.jsonl" ] && return
    stage "demonstrations, rankings and reward model, seed $seed"
    mkdir -p "$work"
    DTYPE=float32 recipes/world_start.sh "$seed" "$work" >"$work/log" 2>&1 || failed "$work/log"
}
# A function in a shell of its own that ends with the first command that fails: `f || ...` would go on behind it.
strictly() { # LOG FUNCTION ARGUMENT...
    local log=$1 status=0
    shift
    set +e
    (set -eu; "$@") >"$log" 2>&1
    status=$?
    set -e
    [ $status = 0 ] || failed "$log"
}
arm() { "arm_$1" "$2"; }
values() { for arm in "${@:2}"; do measure "${arm%%=*}" "${arm#*=}" >"$1.one"; as_values "${arm%%=*}" <"$1.one" >>"$1"; done; }
# made ARM DIR: the arm's models, unless they are there.
made() {
    [ -e "$2.seconds" ] && return
    stage "$name, seed $seed: $1 ($tune)"
    local began=$(date +%s)
    strictly "$2.log" arm "$1" "$2"
    echo $(($(date +%s) - began)) >"$2.seconds"
}
# judge DIR ARM=MODEL...: eval.json of all arms' policies, and values.jsonl of what the experiment measures itself.
judge() {
    [ -e "$1/done" ] && return
    mkdir -p "$1"
    if [ -n "$policies" ]; then
        $tenet eval --world --models "${@:2}" --ref-model "$work/sft" --reward-model "$work/reward" --against $against \
            $eval_options --dtype float32 --out "$1" --seed 5 >"$1.txt" 2>"$1.log" || failed "$1.log"
    fi
    if declare -F measure >/dev/null; then
        rm -f "$1/values.tmp"
        strictly "$1.log" values "$1/values.tmp" "${@:2}"
        rm "$1/values.tmp.one"
        mv "$1/values.tmp" "$1/values.jsonl"
    fi
    touch "$1/done"
}
as_values() { awk -v arm="$1" 'BEGIN { printf "{\"name\": \"%s\"", arm } NF == 2 { printf ", \"%s\": %s", $1, $2 } END { print "}" }'; }

for name; do
    evals=
    [ -z "$tune_first" ] || seeds=11
    for seed in $seeds; do
        work=$out/seed$seed
        columns=() metric= policies=1 eval_options=
        unset -f measure
        start() { world_start; }
        . recipes/lab/lib.sh
        . "recipes/lab/$name.sh"
        start
        here=$work/lab/$name
        mkdir -p "$here"
        models=
        for arm in $arms; do
            v=tune_$arm c=candidates_$arm
            if [ -n "$tune_first" ]; then
                for tune in ${!c:-$candidates}; do
                    made "$arm" "$here/$arm-$tune"
                    models="$models $arm-$tune=$here/$arm-$tune"
                done
            else
                tune=${!v:-}
                made "$arm" "$here/$arm"
                models="$models $arm=$here/$arm"
            fi
        done
        if [ -n "$tune_first" ]; then
            against=$(set -- $models && echo "${1%%=*}")
            judge "$here/tuning" $models
            cat "$here/tuning.txt" "$here/tuning/values.jsonl" 2>/dev/null || true
        else
            judge "$here/eval" $models
            evals="$evals $here/eval"
        fi
    done
    [ -n "$tune_first" ] && continue
    $tenet lab --evals $evals --against "${against%% *}" --title "$title" --claim "$claim" --published "$published" \
        ${metric:+--metric $metric} ${columns[0]:+--columns "${columns[@]}"} --out "$out/lab/$name"
done
