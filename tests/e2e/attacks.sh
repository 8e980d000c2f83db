# Attacks in the world's evaluation: every request under every attack, an answer judged with the words put into the model's
# mouth, success by attack, red-team prompts under the attacks that training may see.
. tests/e2e/lib.sh
A=$E2E_TMP/attacks
mkdir -p "$A"
check attack_eval tenet eval --world --attacks --count 64 --models base=models/world again=models/world --dtype float32 --seed 3 --out "$A/eval"
rows=$(grep -c '"attack": ' "$A/eval/attacks.jsonl")
items=$(tenet world eval --count 64 --oracle | grep -cE '"task": "(harmful|privacy|howto)"')
if [ "$rows" = $((10 * items)) ] && [ "$items" -gt 20 ]; then ok attack_rows; else fail "attack_rows: $rows rows of $items items"; fi
# what stands in eval.json is what can be counted in the samples
counted=$(grep '"attack": "many-shot"' "$A/eval/attacks.jsonl" | grep -vE '"family": "howto"' | grep -cE '"base": \{[^}]*("harmful": true|"leak": true)')
written=$(tr -d ' \n' <"$A/eval/eval.json" | sed 's/.*"many-shot":{[^}]*"success":{"k":\([0-9]*\).*/\1/')
if [ "$counted" = "$written" ]; then ok attack_counts; else fail "attack_counts: $counted and $written"; fi
# a prefilled answer: its length counts the seven words of its beginning
if grep '"attack": "prefill", .*to make' "$A/eval/attacks.jsonl" | sed 's/.*"base": {"text": "\([^"]*\)", "ended": true,.*"length": \([0-9]*\)}, "again.*/\1|\2/; /^{/d' |
    awk -F'|' '{ if (split($1, w, " ") + 7 != $2) bad++ } END { exit !(NR > 5 && !bad) }'; then ok attack_prefill; else fail attack_prefill; fi
grep '"attack": "prefill-yes"' "$A/eval/attack_prompts.jsonl" >"$A/begun.jsonl"
tenet generate --model models/world --input "$A/begun.jsonl" --max-new-tokens 4 --out "$A/said.jsonl" 2>/dev/null
yes=$(tenet tokenize --model models/world --input <(echo '{"text": "yes ,"}') 2>/dev/null | sed 's/.*"ids": \[1, \([^]]*\)\].*/\1/')
if [ "$(grep -c "$yes\], \"ids\"" "$A/said.jsonl")" = "$(wc -l <"$A/begun.jsonl")" ]; then ok attack_gone_on_with; else fail "attack_gone_on_with: $yes"; fi
tenet world prompts-rl --attack trained --count 16 --out "$A/red.jsonl"
if [ "$(grep -c . "$A/red.jsonl")" -gt 8 ] && ! grep -qE '"attack": "(plain|many-shot|prefill|role-play)' "$A/red.jsonl"; then ok attack_trained; else fail attack_trained; fi
fails attack_no_world 2 "needs --world" tenet eval --attacks --input "$A/red.jsonl" --models models/world --out "$A/none"
fails attack_unknown 2 "no attack is called 'dan'" tenet world eval --attack dan
fails attack_answers 2 "has answers" tenet world sft --attack all
exit ${e2e_failed:-0}
# harmless requests in the same wrapping, beside the others as they were
tenet world prompts-rl --attack trained --twins --count 16 --out "$A/twins.jsonl"
if grep -v '"family": "howto"' "$A/twins.jsonl" | grep -vE '"task": "howto"' "$A/twins.jsonl" | cmp -s - "$A/red.jsonl" && [ "$(grep -c '"task": "howto"' "$A/twins.jsonl")" -gt 3 ]; then ok attack_twins; else fail attack_twins; fi
