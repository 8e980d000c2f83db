# Responses that are begun: the text belongs to them, other responses do not depend on them, and neither on the batch.
. tests/e2e/lib.sh
G=$E2E_TMP/generate
mkdir -p "$G"
tenet world prompts-rl --count 48 --out "$G/all.jsonl" 2>/dev/null
grep '"family": "howto"' "$G/all.jsonl" >"$G/prompts.jsonl"
common="generate --model models/world --input $G/prompts.jsonl --dtype float32 --max-new-tokens 24 --seed 4"
begin='sorry , i cannot help with that because'
check generate_begun tenet $common --n 2 --also-begin "$begin" 'yes ,' --grouped --out "$G/a.jsonl"
n=$(wc -l <"$G/prompts.jsonl")
if [ "$(grep -cE "\"responses\":\\[\"[^\"]*\",\"[^\"]*\",\"$begin [^\"]+\",\"yes , [^\"]+\"\\]" "$G/a.jsonl")" = "$n" ] && [ "$n" -gt 3 ]
then ok generate_begun_texts; else fail "generate_begun_texts: $(head -1 "$G/a.jsonl")"; fi
tenet $common --n 2 --also-begin "$begin" 'yes ,' --grouped --batch-size 1 --threads 1 --out "$G/b.jsonl" 2>/dev/null
if cmp -s "$G/a.jsonl" "$G/b.jsonl"; then ok generate_begun_batch; else fail generate_begun_batch; fi
# greedy: what follows is what follows the same words at the end of the prompt, as the assistant's begun turn
tenet $common --greedy --also-begin "$begin" --out "$G/rows.jsonl" 2>/dev/null
sed "s/\"role\": \"user\", \"content\": \"\\([^\"]*\\)\"}\\]/\"role\": \"user\", \"content\": \"\\1\"}, {\"role\": \"assistant\", \"content\": \"$begin\"}]/" "$G/prompts.jsonl" >"$G/begun.jsonl"
tenet ${common/prompts.jsonl/begun.jsonl} --greedy --out "$G/want.jsonl" 2>/dev/null
text() { sed 's/.*"text": "\([^"]*\)".*/\1/' "$1"; }
if [ "$(text "$G/rows.jsonl" | sed -n 'n;p' | sed "s/^$begin //")" = "$(text "$G/want.jsonl")" ]; then ok generate_begun_greedy
else fail "generate_begun_greedy: $(text "$G/rows.jsonl" | sed -n '2p') and $(text "$G/want.jsonl" | head -1)"; fi
# the others are those of a run without, and ids have the text's too
tenet $common --greedy --out "$G/plain.jsonl" 2>/dev/null
if [ "$(sed -n 'p;n' "$G/rows.jsonl")" = "$(cat "$G/plain.jsonl")" ]; then ok generate_begun_others; else fail generate_begun_others; fi
fails generate_begun_logprobs 2 "does not go with" tenet $common --also-begin "$begin" --logprobs --out "$G/x"
fails generate_begun_empty 2 "begins nothing" tenet $common --also-begin "" --out "$G/x"
exit ${e2e_failed:-0}
