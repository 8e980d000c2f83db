# Every preference verb learns in the built-in world: from rankings of a noisy annotator its loss falls, and on held-out pairs
# it prefers what the oracle prefers, beyond the 95 % interval of the model that it starts from. And what is refused.
. tests/e2e/lib.sh
P=$E2E_TMP/preference
mkdir -p "$P"
quiet() { "$@" >"$P/log" 2>&1; }
sampled() { # SET COUNT ANNOTATOR: pairs of answers of the base model
    tenet world "$1" --count "$2" --out "$P/$1.jsonl"
    tenet generate --model models/world --input "$P/$1.jsonl" --n 4 --max-new-tokens 32 --dtype float32 --out "$P/$1-answers.jsonl"
    tenet world rank --input "$P/$1-answers.jsonl" --annotator "$3" --out "$P/$1-ranked.jsonl" --pairs-out "$P/$1-pairs.jsonl"
}
{ sampled prompts-pref 150 careful && sampled prompts-pref-heldout 80 exact; } 2>"$P/log" || fail "preference_rows: $(tail -n 1 "$P/log")"
pairs="--model models/world --data $P/prompts-pref-pairs.jsonl --learning-rate 7e-4 --warmup-steps 3 --per-device-train-batch-size 16
    --max-steps 24 --logging-steps 12 --save-steps 0 --dtype float32" # the same numbers on every machine
mixed="$pairs --train-sampling-strategy random"
runs="dpo aot trdpo mpo kto apo bco orpo cpo simpo alphapo"
dpo="dpo $pairs"
aot="dpo --loss-type aot_unpaired $pairs"
trdpo="dpo --sync-ref-model --ref-model-sync-steps 8 $pairs"
mpo="dpo --loss-type sigmoid bco_pair sft --loss-weights 0.8 0.2 1 $pairs"
kto="kto $mixed"
apo="kto --loss-type apo_zero_unpaired $mixed"
bco="kto --loss-type bco $mixed"
orpo="orpo --beta 0.5 $pairs"
cpo="cpo --cpo-alpha 0.1 $pairs" # the likelihood of short answers is noise from step to step
simpo="simpo $pairs"
alphapo="simpo --alpha 0.1 $pairs"
models=
for run in $runs; do
    # shellcheck disable=SC2086
    quiet tenet ${!run} --output-dir "$P/$run" || fail "preference_$run: $(tail -n 1 "$P/log")"
    models="$models $run=$P/$run"
done
# shellcheck disable=SC2086
quiet tenet eval --models base=models/world $models --input "$P/prompts-pref-heldout.jsonl" --count 1 --pairs "$P/prompts-pref-heldout-pairs.jsonl" \
    --out "$P/eval" || fail "preference_eval: $(tail -n 1 "$P/log")"
value() { # NAME MODEL: of a model's plain_accuracy
    awk -v model="\"$2\"," -v name="\"$1\":" '$1 == "\"name\":" { on = $2 == model } $1 == "\"plain_accuracy\":" { in_it = on }
        in_it && $1 == name { sub(",", "", $2); print $2; exit }' "$P/eval/eval.json"
}
base=$(value hi base)
for run in $runs; do
    accuracy=$(value rate "$run")
    if awk -v a="$accuracy" -v b="$base" 'BEGIN { exit !(b > 0 && a > b) }' &&
        sed -n 's/.*"loss": \([0-9.]*\),.*/\1/p' "$P/$run/metrics.jsonl" | awk 'NR == 1 { first = $1 } { last = $1 } END { exit !(NR > 1 && last < first) }'; then
        ok "preference_$run (held-out accuracy $accuracy, the base's at most $base)"
    else
        fail "preference_$run: held-out accuracy $accuracy, the base's at most $base; losses $(grep -o '"loss": [0-9.]*' "$P/$run/metrics.jsonl" | tr '\n' ' ')"
    fi
done

# what is printed before a run, and what cannot be
# shellcheck disable=SC2086
{
    quiet tenet $kto --dry-run --desirable-weight 3 && grep -q "labels: .* desirable" "$P/log" && grep -q "either --desirable-weight" "$P/log" &&
        ok preference_kto_balance || fail "preference_kto_balance: $(tail -n 1 "$P/log")"
    quiet tenet $kto --dry-run && ! grep -q "rows of one label" "$P/log" &&
        quiet tenet kto $pairs --dry-run && grep -q "rows of one label follow each other" "$P/log" && ok preference_kto_order ||
        fail "preference_kto_order: $(tail -n 1 "$P/log")"
    fails preference_sync_precomputed 2 "leave out --precompute-ref-log-probs" tenet $trdpo --precompute-ref-log-probs --output-dir "$P/none"
    fails preference_sync_adapter 1 "train all weights" tenet $trdpo --use-peft --output-dir "$P/none"
    fails preference_aot_mixed 2 "aot or aot_unpaired alone" tenet dpo --loss-type aot sigmoid $pairs --output-dir "$P/none"
    fails preference_kto_keep_end 2 "needs the prompt" tenet $kto --truncation-mode keep_end --output-dir "$P/none"
    fails preference_kto_batch_of_1 2 "its own mismatched pair" tenet $kto --per-device-train-batch-size 1 --output-dir "$P/none"
    fails preference_tpo_rows 1 'and a gold "reference"' tenet tpo $pairs --output-dir "$P/none-rows"
    fails preference_kto_rows 1 "must be true" tenet kto --model models/world --output-dir "$P/none-rows" --data <(echo '{"prompt": "a", "completion": "b", "label": 2}')
}
[ -z "${e2e_failed:-}" ]
