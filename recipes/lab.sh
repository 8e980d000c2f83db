#!/bin/bash
# Experiments in the built-in world, each a claim with its arms (recipes/lab/NAME.sh), on several seeds of everything
# after the base; every arm of a seed starts from the same fine-tuned model, rankings and reward model.
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
[ $# -gt 0 ] || set -- $(basename -s .sh recipes/lab/*.sh | grep -v '^lib$')
t0=$(date +%s)
stage() { printf '[%4d s] %s\n' $(($(date +%s) - t0)) "$*"; }

# One seed's models to start from.
start() {
    work=$out/seed$seed
    [ -e "$work/report.html" ] && return
    stage "the world's pipeline, seed $seed"
    mkdir -p "$work"
    recipes/world_pipeline.sh "$seed" "$work" >"$work/log" 2>&1 || { tail -n 3 "$work/log"; exit 1; }
}
# made ARM DIR: the arm's model, unless it is there.
made() {
    [ -e "$2/config.json" ] && return
    stage "$name, seed $seed: $1 ($tune)"
    local began=$(date +%s)
    "arm_$1" "$2" >"$2.log" 2>&1 || { tail -n 3 "$2.log"; exit 1; }
    echo $(($(date +%s) - began)) >"$2.seconds"
}
judge() { # DIR MODEL...
    [ -e "$1/eval.json" ] || $tenet eval --world --models "${@:2}" --ref-model "$work/sft" --reward-model "$work/reward" --against "$against" \
        --out "$1" --seed 5 >"$1.txt" 2>"$1.log" || { tail -n 3 "$1.log"; exit 1; }
}

for name; do
    evals=
    [ -z "$tune_first" ] || seeds=11
    for seed in $seeds; do
        start
        . recipes/lab/lib.sh
        . "recipes/lab/$name.sh"
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
                tune=${!v}
                made "$arm" "$here/$arm"
                models="$models $arm=$here/$arm"
            fi
        done
        if [ -n "$tune_first" ]; then
            against=$(set -- $models && echo "${1%%=*}")
            judge "$here/tuning" $models
            cat "$here/tuning.txt"
        else
            judge "$here/eval" $models
            evals="$evals $here/eval"
        fi
    done
    [ -n "$tune_first" ] && continue
    $tenet lab --evals $evals --against "$against" --title "$title" --claim "$claim" --published "$published" --out "$out/lab/$name"
done
