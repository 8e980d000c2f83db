# tenet step-pairs in the built-in world: right steps against the policy's own wrong ones, as the oracle, labels and a process
# reward model find them; the same bytes for any batch and threads and after kill -9; what tenet dpo makes of the rows.
. tests/e2e/lib.sh
S=$E2E_TMP/steps
mkdir -p "$S"
must() { "$@" >"$S/log" 2>&1 || fail "steps: $* : $(tail -n 1 "$S/log")"; }
value() { sed -n "s|.*\"$1\": \([-0-9.e]*\).*|\1|p" "$2" | sed -n "${3:-1}p"; } # KEY FILE [NTH]
base=models/world
must tenet world prompts-rl --seed 3 --count 400 --out "$S/all.jsonl"
grep '"family": "arith"' "$S/all.jsonl" | head -n 40 >"$S/prompts.jsonl"
[ "$(tenet world steps --input /dev/null | wc -l)" = 0 ] || fail steps_world_empty
how="step-pairs --model $base --dtype float32 --max-new-tokens 40 --seed 5"
world="$how --input $S/prompts.jsonl --localise world:3"
separated() { tenet "$@" --step-separator " ."; }

# shellcheck disable=SC2086
{
    must separated $world --n 4 --max-pairs 2 --threads 1 --batch-size 1 --out "$S/one.jsonl"
    must separated $world --n 4 --max-pairs 2 --threads 2 --batch-size 64 --out "$S/two.jsonl"
}
pairs=$(wc -l <"$S/one.jsonl")
if [ "$pairs" -gt 10 ] && cmp -s "$S/one.jsonl" "$S/two.jsonl" && [ ! -e "$S/two.jsonl.part" ]; then ok "steps_any_batch ($pairs pairs)"; else fail "steps_any_batch: $pairs pairs"; fi
check steps_says_what_became grep -q "not used: .* without a wrong step found" "$S/log"

# every chosen step is right and every rejected one wrong behind its prefix, by the oracle: prefix + step, judged as an answer
judge() { # FIELD
    sed 's/.*"id": "\([^"]*\)".*"prefix": "\([^"]*\)".*"'"$1"'": "\([^"]*\)".*/{"id": "\1", "response": "\2 \3"}/' "$S/one.jsonl" >"$S/said.jsonl"
    tenet world steps --seed 3 --input "$S/said.jsonl"
}
good=$(judge chosen | grep -c '"labels": \[\(true, \)*true\]')
bad=$(judge rejected | grep -c '"labels": \[\(true, \)*false\]')
if [ "$good" = "$pairs" ] && [ "$bad" = "$pairs" ]; then ok "steps_oracle"; else fail "steps_oracle: of $pairs chosen $good right, rejected $bad wrong at their last step only"; fi

# kill -9 in the middle, and the same command again
killed=0
rm -f "$S/killed.jsonl"*
for _ in 1 2 3; do
    # shellcheck disable=SC2086
    "$TENET_BIN" $world --step-separator " ." --n 4 --max-pairs 2 --threads 1 --batch-size 1 --out "$S/killed.jsonl" >"$S/log" 2>&1 &
    pid=$!
    from=$(wc -l 2>/dev/null <"$S/killed.jsonl.part" || echo 0)
    while kill -0 $pid 2>/dev/null && [ "$(wc -l 2>/dev/null <"$S/killed.jsonl.part" || echo 0)" -lt $((from + 6)) ]; do sleep 0.01; done
    kill -9 $pid 2>/dev/null && killed=$((killed + 1))
    wait $pid 2>/dev/null
done
[ ! -e "$S/killed.jsonl.part" ] || printf '{"half a' >>"$S/killed.jsonl.part"
# shellcheck disable=SC2086
separated $world --n 4 --max-pairs 2 --threads 2 --batch-size 16 --out "$S/killed.jsonl" >"$S/log" 2>&1 || true
if [ $killed -gt 0 ] && cmp -s "$S/one.jsonl" "$S/killed.jsonl" && grep -q "going on after row" "$S/log"; then
    ok "steps_killed ($killed times)"
else
    fail "steps_killed: $killed kills; $(tail -n 1 "$S/log")"
fi
# shellcheck disable=SC2086
{
    head -n 7 <(sed 's/^/# /' "$S/one.jsonl") >"$S/other.jsonl.part"
    fails steps_other_run 1 "begun with other options" separated $world --out "$S/other.jsonl"
    fails steps_there_already 1 "--overwrite" separated $world --out "$S/one.jsonl"
    fails steps_no_judge 2 "--localise is missing" tenet $how --input "$S/prompts.jsonl" --out "$S/none"
    fails steps_no_separator 2 "--step-separator is empty" tenet $world --step-separator "" --out "$S/none"
    fails steps_other_seed 2 "pass the seed" tenet $how --input "$S/prompts.jsonl" --localise world:4 --out "$S/seed"
    fails steps_labels_of_answers 2 "samples none" tenet $how --input "$S/prompts.jsonl" --localise labels --verify world:3 --pairs answer --out "$S/none"
    fails steps_no_labels 1 'needs "completions"' tenet $how --input "$S/prompts.jsonl" --localise labels --verify world:3 --out "$S/none"
}

# whole answers of the same samples
# shellcheck disable=SC2086
must separated $world --n 4 --max-pairs 2 --pairs answer --out "$S/answers.jsonl"
if grep -q '(0 continuations)' "$S/log" && [ "$(wc -l <"$S/answers.jsonl")" -gt 5 ] && ! grep -qv '"prefix": ""' "$S/answers.jsonl"; then
    ok "steps_answers ($(wc -l <"$S/answers.jsonl") pairs)"
else
    fail "steps_answers: $(tail -n 1 "$S/log")"
fi

# dpo: rows of ids and the same rows as text are one; the loss is the step's alone, log 2 at the start
sed 's/, "prompt_ids".*/}/' "$S/one.jsonl" >"$S/text.jsonl"
dpo="dpo --model $base --dtype float32 --per-device-train-batch-size 8 --max-steps 4 --learning-rate 1e-4 --save-steps 0 --logging-steps 1"
# shellcheck disable=SC2086
{
    must tenet $dpo --data "$S/one.jsonl" --output-dir "$S/ids"
    must tenet $dpo --data "$S/text.jsonl" --output-dir "$S/text"
    tenet $dpo --data "$S/one.jsonl" --dry-run --output-dir "$S/dry" >"$S/dry.log" 2>&1
}
# a last step ends with the end of the turn, which text does not say: those rows differ, where there are some
if grep -q '_ids": \[[^]]* 2\]' "$S/one.jsonl"; then
    grep -v '_ids": \[[^]]* 2\]' "$S/one.jsonl" >"$S/inner.jsonl"
    sed 's/, "prompt_ids".*/}/' "$S/inner.jsonl" >"$S/inner-text.jsonl"
    # shellcheck disable=SC2086
    { must tenet $dpo --data "$S/inner.jsonl" --overwrite --output-dir "$S/ids"; must tenet $dpo --data "$S/inner-text.jsonl" --overwrite --output-dir "$S/text"; }
fi
check steps_text_is_ids cmp "$S/ids/metrics.jsonl" "$S/text/metrics.jsonl"
if [ "$(value loss "$S/ids/metrics.jsonl" | cut -c1-7)" = 0.69314 ]; then ok steps_dpo_start; else fail "steps_dpo_start: $(head -n 1 "$S/ids/metrics.jsonl")"; fi
tokens=$(sed 's/.*"chosen_ids": \[\([^]]*\)\].*"rejected_ids": \[\([^]]*\)\].*/\1, \2/' "$S/one.jsonl" | tr ',' '\n' | grep -c '[0-9]')
if grep -q "[^0-9]$tokens trained\|trained[^0-9]*$tokens[^0-9]" <(tr -d , <"$S/dry.log"); then ok "steps_loss_on_steps ($tokens tokens)"; else fail "steps_loss_on_steps: expected $tokens trained tokens: $(head -n 5 "$S/dry.log")"; fi

# equations that do not hold, without the oracle: every rejected step has a false one, every chosen step is true
must separated $how --input "$S/prompts.jsonl" --localise equations --n 4 --max-pairs 2 --out "$S/equations.jsonl"
true_sums() { # FIELD: of steps "A + B = C .", how many hold, and how many there are
    sed -n 's/.*"'"$1"'": "\([^"]*\)".*/\1/p' "$S/equations.jsonl" | awk '{ for (i = 1; i <= NF; i++) if ($i == "=") { n++; right += $(i - 3) + $(i - 1) == $(i + 1) } } END { print right + 0, n + 0 }'
}
read -r good sums <<<"$(true_sums chosen)"
read -r bad wrong <<<"$(true_sums rejected)"
if [ "$(wc -l <"$S/equations.jsonl")" -gt 10 ] && [ "$good" = "$sums" ] && [ "$bad" = 0 ] && [ "$wrong" = "$(wc -l <"$S/equations.jsonl")" ]; then
    ok "steps_equations ($wrong pairs)"
else
    fail "steps_equations: of chosen $good of $sums hold, of rejected $bad of $wrong"
fi
# shellcheck disable=SC2086
fails steps_equations_argument 2 "takes no argument" separated $how --input "$S/prompts.jsonl" --localise equations:x --verify regex:. --out "$S/none"

# labelled steps: the same mistakes from a file, with the oracle as the judge of continuations
must tenet generate --model $base --dtype float32 --input "$S/prompts.jsonl" --n 12 --max-new-tokens 40 --seed 9 --out "$S/samples.jsonl"
tenet world steps --seed 3 --input "$S/samples.jsonl" --out "$S/labelled.jsonl"
wrong=$(grep -c false "$S/labelled.jsonl")
# shellcheck disable=SC2086
must separated $how --input "$S/labelled.jsonl" --localise labels --verify world:3 --out "$S/from-labels.jsonl"
made=$(wc -l <"$S/from-labels.jsonl")
if [ "$made" -gt 10 ] && [ "$made" -le "$wrong" ] && grep -q "solutions, $(grep -vc 'false\]' "$S/labelled.jsonl") right, $(grep -c 'false\]' "$S/labelled.jsonl") wrong" "$S/log"; then
    ok "steps_labels ($made pairs from $wrong wrong solutions)"
else
    fail "steps_labels: $made pairs from $wrong wrong solutions: $(tail -n 3 "$S/log")"
fi

# a process reward model as the judge, the oracle's word on the answer
must tenet prm --model $base --dtype float32 --data "$S/labelled.jsonl" --step-separator " ." --per-device-train-batch-size 32 --num-train-epochs 6 \
    --learning-rate 1e-3 --save-steps 0 --output-dir "$S/prm"
# shellcheck disable=SC2086
{
    must separated $how --input "$S/prompts.jsonl" --localise prm --reward-model "$S/prm" --verify world:3 --n 4 --threads 1 --batch-size 1 --score-tokens 64 --out "$S/prm-one.jsonl"
    must separated $how --input "$S/prompts.jsonl" --localise prm --reward-model "$S/prm" --verify world:3 --n 4 --threads 2 --out "$S/prm-two.jsonl"
    fails steps_prm_separator 2 "another --step-separator" tenet $how --input "$S/prompts.jsonl" --localise prm --reward-model "$S/prm" --out "$S/none"
}
if cmp -s "$S/prm-one.jsonl" "$S/prm-two.jsonl" && [ "$(wc -l <"$S/prm-one.jsonl")" -gt 3 ]; then ok "steps_prm ($(wc -l <"$S/prm-one.jsonl") pairs)"; else fail "steps_prm: $(tail -n 2 "$S/log")"; fi
[ -z "${e2e_failed:-}" ]
