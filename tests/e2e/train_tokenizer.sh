# tenet train-tokenizer: the files it leaves, texts and rows alike, any threads; refusals.
. tests/e2e/lib.sh
K=$E2E_TMP/tok
mkdir -p "$K"
tenet world text --count 400 --out "$K/text.jsonl"
sed 's/^.*"text": "\(.*\)"}$/\1/' "$K/text.jsonl" >"$K/lines.txt"
train() { tenet train-tokenizer --vocab-size 420 "$@"; }

check tokenizer_runs train --data "$K/text.jsonl" --output-dir "$K/a" --threads 1
train --data - --output-dir "$K/b" --threads 3 <"$K/text.jsonl" >/dev/null 2>&1 # as plain text: other words
train --data "$K/text.jsonl" --output-dir "$K/c" --threads 3 >/dev/null 2>&1
if cmp -s "$K/a/tokenizer.json" "$K/c/tokenizer.json" && ! cmp -s "$K/a/tokenizer.json" "$K/b/tokenizer.json"; then ok tokenizer_threads; else fail tokenizer_threads; fi
gzip -k "$K/lines.txt" # lines with their ends, gzip or not
train --data "$K/lines.txt" --output-dir "$K/d" >/dev/null 2>&1
train --data - --output-dir "$K/e" <"$K/lines.txt.gz" >/dev/null 2>&1
if [ -s "$K/d/tokenizer.json" ] && cmp -s "$K/d/tokenizer.json" "$K/e/tokenizer.json"; then ok tokenizer_text_gzip; else fail tokenizer_text_gzip; fi
check tokenizer_line_ends grep -qi '"\\u010a": ' "$K/d/tokenizer.json"

# messages, prompts and answers of every kind of row are texts
printf '{"messages": [{"role": "user", "content": "qqq"}]}\n{"conversations": [{"from": "human", "value": "www"}]}\n{"prompt": "eee", "completion": "rrr"}\n{"prompt": [{"role": "user", "content": "ttt"}], "responses": ["yyy"]}\n' >"$K/rows.jsonl"
tenet train-tokenizer --data "$K/rows.jsonl" --output-dir "$K/rows" --vocab-size 300 >"$K/log" 2>&1
bad=
for word in qqq www eee rrr ttt yyy; do grep -q "\"$word\": " "$K/rows/tokenizer.json" || bad="$bad $word"; done
if [ -z "$bad" ]; then ok tokenizer_rows; else fail "tokenizer_rows: not learnt:$bad"; fi
check tokenizer_small_text grep -q "the vocabulary has 269 of 300 tokens" "$K/log"

# a chat tokenizer, used
train --data "$K/text.jsonl" --output-dir "$K/chat" --pre-tokenizer qwen2 --chat-template chatml --special-tokens '<|endoftext|>' '<|im_start|>' \
    --eos-token '<|im_end|>' >"$K/log" 2>&1 || fail "tokenizer_chat: $(tail -1 "$K/log")"
printf '{"messages": [{"role": "user", "content": "the mirror \\u00fc"}, {"role": "assistant", "content": "yes"}]}\n' |
    tenet tokenize --model "$K/chat" --input - >"$K/out" 2>"$K/log"
if grep -q '"ids": \[1, ' "$K/out" && grep -q '"rendered": "<|im_start|>user\\nthe mirror .*ü<|im_end|>' "$K/out" &&
    grep -q '"assistant_mask": .*1, 1, 0]}' "$K/out" && grep -q '"text": "<|im_start|>user\\nthe mirror ü<|im_end|>' "$K/out"; then
    ok tokenizer_chat
else
    fail "tokenizer_chat: $(cat "$K/out" "$K/log")"
fi
# and a model trained with it
sed 's/"vocab_size": [0-9]*/"vocab_size": 420/' <(tenet world config --out "$K/config" --hidden-size 32 --layers 1 --heads 2 --intermediate-size 48 2>/dev/null; cat "$K/config/config.json") >"$K/chat/config.json"
check tokenizer_pretrain tenet pretrain --model "$K/chat" --data "$K/text.jsonl" --output-dir "$K/model" --max-steps 2 --save-steps 0

T="--data $K/lines.txt --output-dir $K/none"
# shellcheck disable=SC2086
{
    fails tokenizer_no_data 2 "--data is missing" tenet train-tokenizer --output-dir "$K/none"
    fails tokenizer_no_output 2 "--output-dir is missing" tenet train-tokenizer --data "$K/lines.txt"
    fails tokenizer_there 1 "has a tokenizer already" train --data "$K/lines.txt" --output-dir "$K/a"
    fails tokenizer_too_small 2 "is too small: the 256 bytes and the special tokens are 257" tenet train-tokenizer $T --vocab-size 100
    fails tokenizer_pre_name 2 "did you mean 'gpt2'?" tenet train-tokenizer $T --pre-tokenizer gtp2
    fails tokenizer_pre_pattern 1 "--pre-tokenizer" tenet train-tokenizer $T --pre-tokenizer '(a'
    fails tokenizer_empty_special 2 "a special token is empty" tenet train-tokenizer $T --special-tokens ''
    fails tokenizer_template 2 "no template of that name" tenet train-tokenizer $T --chat-template chatmll
    fails tokenizer_no_file 1 "none.txt" tenet train-tokenizer --data "$K/none.txt" --output-dir "$K/none"
}
printf 'fine\nbad \377\n' >"$K/bad.txt"
fails tokenizer_not_utf8 1 "bad.txt:2: not valid UTF-8" tenet train-tokenizer --data "$K/bad.txt" --output-dir "$K/none"
printf '{"text": "fine"}\n{"label": 1}\n' >"$K/bad.jsonl"
fails tokenizer_row_without_text 1 "bad.jsonl:2: a row without text" tenet train-tokenizer --data "$K/bad.jsonl" --output-dir "$K/none"
printf '{"text": "fi' >"$K/bad.jsonl"
fails tokenizer_bad_json 1 "bad.jsonl:1" tenet train-tokenizer --data "$K/bad.jsonl" --output-dir "$K/none"
: >"$K/empty.txt"
fails tokenizer_empty 1 "there is no text" tenet train-tokenizer --data "$K/empty.txt" --output-dir "$K/none"
if [ -e "$K/none" ]; then fail tokenizer_refusals_write_nothing; else ok tokenizer_refusals_write_nothing; fi
