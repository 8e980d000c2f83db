# tenet tokenize on the world's tokenizer: the example conversation of its specification.
. tests/e2e/lib.sh

tenet world tokenizer --out "$E2E_TMP/tok" >/dev/null 2>&1
cat >"$E2E_TMP/rows" <<'ROWS'
{"id": 7, "text": "the lurvi mirror is green . <|end|>"}
{"messages": [{"role": "user", "content": "where is the lurvi mirror kept ?"}, {"role": "assistant", "content": "in the cellar ."}]}
{"messages": [{"from": "human", "value": "where is it kept ?"}]}
{"ids": [1, 4, 2]}
ROWS
if tenet tokenize --model "$E2E_TMP/tok" --input "$E2E_TMP/rows" --out "$E2E_TMP/out" 2>"$E2E_TMP/log"; then
    ok tokenize_runs
else
    fail tokenize_runs
    cat "$E2E_TMP/log"
fi
line() { sed -n "$1p" "$E2E_TMP/out"; }
has() { if line "$2" | grep -qF -e "$3"; then ok "$1"; else fail "$1: $(line "$2")"; fi; }
has tokenize_id 1 '"id": 7'
has tokenize_decoded 1 '"text": "<s> the lurvi mirror is green . <|end|>"'
has tokenize_rendered 2 '"rendered": "<s> User: where is the lurvi mirror kept ? Assistant: in the cellar . <|end|>"'
has tokenize_mask 2 '"assistant_mask": [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1]'
has tokenize_sharegpt 3 '"rendered": "<s> User: where is it kept ?"'
has tokenize_ids 4 '"tokens": ["<s>", "User:", "<|end|>"]'

printf '{"messages": [{"role": "user", "content": "hi"}]}\n' | tenet tokenize --model "$E2E_TMP/tok" --input - --add-generation-prompt >"$E2E_TMP/out" 2>/dev/null
has tokenize_generation_prompt 1 '"rendered": "<s> User: hi Assistant:"'
printf '{"messages": [{"role": "user", "content": "hi"}]}\n' | tenet tokenize --model "$E2E_TMP/tok" --input - --chat-template chatml >"$E2E_TMP/out" 2>/dev/null
has tokenize_template_by_name 1 '<|im_start|>user\nhi<|im_end|>'
printf '{"nothing": 1}\n' >"$E2E_TMP/bad"
fails tokenize_bad_row 1 'expected a row with "text"' tenet tokenize --model "$E2E_TMP/tok" --input "$E2E_TMP/bad"
printf '{"ids": [1, 999]}\n' >"$E2E_TMP/bad"
fails tokenize_bad_id 1 "$E2E_TMP/bad:1" tenet tokenize --model "$E2E_TMP/tok" --input "$E2E_TMP/bad"
fails tokenize_no_tokenizer 1 "tokenizer.json" tenet tokenize --model "$E2E_TMP" --input "$E2E_TMP/rows"
fails tokenize_without_model 2 "--model" tenet tokenize --input "$E2E_TMP/rows"
