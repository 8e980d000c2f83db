# Training under a constitution does not depend on the world's oracle: with TENET_ORACLE=off whoever asks it fails, the pipeline ends all
# the same (only people's rankings are let through), and every artefact is the same to the bit as with the oracle within reach.
. tests/e2e/lib.sh
O=$E2E_TMP/oracle
mkdir -p "$O"
base=models/world
oversee="--prompts prompts/world --constitution constitutions/world.json --kind-key family --seed 3 --dtype float32"
small="--micro-batch-tokens 2048 --save-steps 0 --seed 3 --dtype float32"
pipeline() ( # DIR: stages of recipes/constitutional.yaml, a few rows each
    set -e
    mkdir -p "$1"
    tenet world prompts-rl --seed 3 --count 240 --out "$1/prompts.jsonl"
    grep -E '"family": "(harmful|privacy)"' "$1/prompts.jsonl" >"$1/red.jsonl"
    grep -vE '"family": "(harmful|privacy)"' "$1/prompts.jsonl" >"$1/helpful.jsonl"
    tenet critique --model $base --data "$1/red.jsonl" --helpful-data "$1/helpful.jsonl" --helpful-samples 1 --rounds 2 --max-new-tokens 40 \
        --max-critique-tokens 24 --output-dir "$1/critique" $oversee
    tenet sft --model $base --data "$1/critique/sft.jsonl" --output-dir "$1/sl-cai" --assistant-only-loss --max-steps 3 $small
    for kind in red helpful; do
        tenet generate --model "$1/sl-cai" --input "$1/$kind.jsonl" --n 2 --max-new-tokens 40 --grouped --seed 3 --dtype float32 --out "$1/$kind-pairs.jsonl"
    done
    tenet label --model $base --input "$1/red-pairs.jsonl" --out "$1/labels.jsonl" --principles 0 $oversee
    tenet select --data "$1/helpful-pairs.jsonl" --same-closer 0.02 --out "$1/comparable.jsonl"
    TENET_ORACLE=on tenet world rank --input "$1/comparable.jsonl" --seed 3 --out "$1/rankings.jsonl"
    tenet reward --model "$1/sl-cai" --data "$1/labels.jsonl" "$1/rankings.jsonl" --hard-labels --head-init 0 --output-dir "$1/reward" \
        --per-device-train-batch-size 8 --max-steps 3 $small
    tenet ppo --model "$1/sl-cai" --reward-model "$1/reward" --data "$1/prompts.jsonl" --output-dir "$1/rl-cai" --iterations 2 --rollouts 16 \
        --minibatch-size 8 --response-length 40 $small
)
check oracle_on pipeline "$O/on"
TENET_ORACLE=off check oracle_off pipeline "$O/off"
same=0 other=
for f in critique/record.jsonl critique/sft.jsonl labels.jsonl rankings.jsonl sl-cai/model.safetensors reward/model.safetensors rl-cai/model.safetensors rl-cai/metrics.jsonl; do
    if cmp -s "$O/on/$f" "$O/off/$f"; then same=$((same + 1)); else other="$other $f"; fi
done
if [ $same = 8 ]; then ok oracle_same_bytes; else fail "oracle_same_bytes: $other"; fi

export TENET_ORACLE=off
a=$O/on/red-pairs.jsonl r=$O/on/helpful.jsonl m=$O/on/sl-cai
forbidden() { name=$1; shift; fails "oracle_off_$name" 2 "TENET_ORACLE=off forbids it here" tenet "$@"; }
forbidden judge world judge --input "$a" --seed 3 --out "$O/x.jsonl"
forbidden steps world steps --input "$a" --seed 3 --out "$O/x.jsonl"
forbidden rank world rank --input "$a" --seed 3 --out "$O/x.jsonl"
forbidden pairs world pairs --input "$a" --seed 3 --out "$O/x.jsonl"
forbidden eval eval --world --count 8 --models "$m" --out "$O/x"
forbidden best_of_n best-of-n --world --count 8 --model "$m" --reward-model "$O/on/reward" --samples 2 --out "$O/x"
forbidden reward_funcs grpo --model "$m" --reward-funcs world:3 --data "$r" --output-dir "$O/x" --max-steps 1
forbidden localise step-pairs --model "$m" --input "$r" --localise world:3 --verify number:answer --out "$O/x.jsonl"
[ -e "$O/x.jsonl" ] && fail oracle_left_nothing || ok oracle_left_nothing
TENET_ORACLE=maybe fails oracle_maybe 2 "expected on or off" tenet world judge --input "$a" --seed 3 --out "$O/x.jsonl"
unset TENET_ORACLE

# a judge who errs by rule: nothing at dial 0, everything at 100, and at 40 all that is wrong at 20
tenet label --model $base --input "$O/on/red-pairs.jsonl" --out "$O/drawn.jsonl" $oversee 2>>"$O/log"
for dial in 0 20 40 100; do tenet world misjudge --input "$O/drawn.jsonl" --seed 3 --dial $dial --out "$O/poor-$dial.jsonl" 2>>"$O/log"; done
p() { sed 's/.*"p":\([0-9.e-]*\),"labels.*/\1/' "$1"; }
turned() { paste <(p "$O/drawn.jsonl") <(p "$O/poor-$1.jsonl") | awk '{ same = ($1 - $2) ^ 2 < 1e-18; rest = ($1 + $2 - 1) ^ 2 < 1e-18; print same ? 0 : rest ? 1 : "bad" }'; }
n=$(wc -l <"$O/drawn.jsonl")
if [ "$n" -gt 15 ] && [ "$(turned 0 | sort -u)" = 0 ] && [ "$(turned 100 | sort -u)" = 1 ]; then ok misjudge_ends; else fail "misjudge_ends: $n labels"; fi
if paste <(turned 20) <(turned 40) | awk '$1 > $2 { bad++ } { a += $1; b += $2 } END { exit !(!bad && a > 0 && b > a && b < NR) }'; then ok misjudge_nested; else fail misjudge_nested; fi
fails misjudge_rows 1 "expected a row of" tenet world misjudge --input "$a" --seed 3 --out "$O/x.jsonl"
exit ${e2e_failed:-0}
