#!/bin/sh
# tenet score from outside: the same rows in any batch, thread count and kernel; its files; its refusals.
set -eu
cd "$(dirname "$0")/../.."
TENET=${TENET_BIN:-build/tenet}
DIR=$(mktemp -d)
trap 'rm -rf "$DIR"' EXIT
GOLD=tests/golden/model
fail() { echo "score.sh: $*" >&2; exit 1; }
score() { "$TENET" score --input "$DIR/rows.jsonl" "$@"; }
# refused CODE TEXT arguments...
refused() {
    want=$1 text=$2; shift 2
    if "$TENET" score "$@" >"$DIR/o" 2>"$DIR/e"; then fail "not refused: $*"; else code=$?; fi
    [ $code -eq "$want" ] || fail "exit $code, not $want: $*: $(cat "$DIR/e")"
    grep -q -- "$text" "$DIR/e" || fail "message lacks '$text': $(cat "$DIR/e")"
}

# rows of many lengths, a prompt with an answer, a single token
awk 'BEGIN { for (i = 1; i < 40; i++) { printf "{\"ids\":["; for (k = 0; k < i * 3; k++) printf "%s%d", k ? "," : "", (i * 7 + k * k * 5) % 37 + 1; print "]}" }
             print "{\"prompt_ids\":[3,4,5],\"ids\":[6,7,8,9]}"; print "{\"ids\":[2]}" }' >"$DIR/rows.jsonl"

for model in qwen3-longrope mistral-window llama-llama3; do
    for dtype in float32 bfloat16; do
        score --model $GOLD/$model --dtype $dtype --batch-size 1 --threads 1 --out "$DIR/want"
        [ "$(wc -l <"$DIR/want")" -eq 41 ] || fail "rows are missing"
        for how in "--batch-size 64 --threads 2" "--batch-size 7 --threads 3" "--max-batch-tokens 1 --threads 2" \
                   "--batch-size 5 --max-batch-tokens 300"; do
            score --model $GOLD/$model --dtype $dtype $how --out "$DIR/got"
            cmp -s "$DIR/want" "$DIR/got" || fail "$model $dtype: other numbers with $how"
        done
    done
    score --model $GOLD/$model --dtype float32 --backend ref --out "$DIR/want"
    for kernels in scalar avx2 avx512; do
        score --model $GOLD/$model --dtype float32 --kernels $kernels --out "$DIR/got" 2>/dev/null || continue
        cmp -s "$DIR/want" "$DIR/got" || fail "$model: $kernels differs from ref"
    done
done
tail -1 "$DIR/want" | grep -q '^{"ids": \[2\], "logprobs": \[null\], "sum": 0}$' || fail "a single token: $(tail -1 "$DIR/want")"
tail -2 "$DIR/want" | head -1 | grep -q '"ids": \[3, 4, 5, 6, 7, 8, 9\], "logprobs": \[null, null, null, -' || fail "prompt_ids"

# reward models, files of tensors, standard input
score --model $GOLD/llama-score --dtype float32 --out "$DIR/s"
grep -q '"score": ' "$DIR/s" || fail "no score"
! grep -q logprobs "$DIR/s" || fail "log-probs of a reward model"
"$TENET" score --model $GOLD/llama-llama3 --input - --dtype float32 --logits "$DIR/z.safetensors" --hidden 1 "$DIR/h.safetensors" \
    --grads "$DIR/g.safetensors" <"$DIR/rows.jsonl" >"$DIR/got"
score --model $GOLD/llama-llama3 --dtype float32 | cmp -s - "$DIR/got" || fail "standard input"
head -c 4000 "$DIR/z.safetensors" | grep -aq '"row.1":{"dtype":"F32","shape":\[6,53\]' || fail "logits"
head -c 4000 "$DIR/h.safetensors" | grep -aq '"row.1":{"dtype":"F32","shape":\[6,20\]' || fail "hidden states"
head -c 4000 "$DIR/g.safetensors" | grep -aq '"model.layers.1.self_attn.k_proj.weight":{"dtype":"F32","shape":\[20,20\]' || fail "gradients"

# refusals
M=$GOLD/llama-llama3
refused 2 "needs --model" --input "$DIR/rows.jsonl"
refused 2 "needs --input" --model $M
refused 1 "no such folder" --model "$DIR/none" --input "$DIR/rows.jsonl"
refused 1 "none.jsonl" --model $M --input "$DIR/none.jsonl"
refused 2 "hidden states 0 to 3" --model $M --input "$DIR/rows.jsonl" --hidden 4 "$DIR/h"
refused 2 "layer number" --model $M --input "$DIR/rows.jsonl" --hidden 4
refused 2 "reward model" --model $GOLD/llama-score --input "$DIR/rows.jsonl" --grads "$DIR/g"
for bad in '{"ids":[1,53]}' '{"ids":[]}' '{"ids":[1' '[1]' '{"id":[1]}' '{"ids":[1.5]}'; do
    printf '{"ids":[1,2]}\n%s\n' "$bad" >"$DIR/bad.jsonl"
    refused 1 "bad.jsonl:2" --model $M --input "$DIR/bad.jsonl"
done
printf '{"text":"hello"}\n' >"$DIR/bad.jsonl"
refused 2 "tokenizer.json" --model $M --input "$DIR/bad.jsonl"
: >"$DIR/bad.jsonl"
refused 1 "no rows" --model $M --input "$DIR/bad.jsonl"
printf '{"ids":[1]}\n' >"$DIR/bad.jsonl"
refused 2 "no token" --model $M --input "$DIR/bad.jsonl" --grads "$DIR/g"
refused 1 "" --model $M --input "$DIR/rows.jsonl" --out /proc/none/x
echo "score.sh: ok"
