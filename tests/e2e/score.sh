# tenet score: the same rows in any batch, thread count and kernel; its files; its refusals.
. tests/e2e/lib.sh
DIR=$E2E_TMP/score
GOLD=tests/golden/model
mkdir -p "$DIR"

# rows of many lengths, a prompt with an answer, a single token
awk 'BEGIN {
    for (i = 1; i < 40; i++) {
        printf "{\"ids\":["
        for (k = 0; k < i * 3; k++) printf "%s%d", k ? "," : "", (i * 7 + k * k * 5) % 37 + 1
        print "]}"
    }
    print "{\"prompt_ids\":[3,4,5],\"ids\":[6,7,8,9]}"; print "{\"ids\":[2]}"
}' >"$DIR/rows.jsonl"
score() { tenet score --input "$DIR/rows.jsonl" "$@"; }
same() { # NAME: $DIR/got equals $DIR/want, which has all rows
    if [ "$(wc -l <"$DIR/want")" = 41 ] && cmp -s "$DIR/want" "$DIR/got"; then ok "$1"; else fail "$1: other numbers"; fi
}

for model in qwen3-longrope mistral-window llama-llama3; do
    for dtype in float32 bfloat16; do
        score --model $GOLD/$model --dtype $dtype --batch-size 1 --threads 1 --out "$DIR/want"
        : >"$DIR/got"
        for how in "--batch-size 64 --threads 2" "--batch-size 7 --threads 3" "--max-batch-tokens 1 --threads 2" \
                   "--batch-size 5 --max-batch-tokens 300"; do
            # shellcheck disable=SC2086
            score --model $GOLD/$model --dtype $dtype $how --out "$DIR/got"
            same "score_batches_$model $dtype $how"
        done
    done
    score --model $GOLD/$model --dtype float32 --backend ref --out "$DIR/want"
    for kernels in scalar avx2 avx512; do
        if score --model $GOLD/$model --dtype float32 --kernels $kernels --out "$DIR/got" 2>"$DIR/e"; then
            same "score_kernels_$model $kernels"
        else
            skip "score_kernels_$model $(cat "$DIR/e")"
        fi
    done
done
check score_one_token grep -qxF '{"ids": [2], "logprobs": [null], "sum": 0}' "$DIR/want"
check score_prompt_ids grep -q '"ids": \[3, 4, 5, 6, 7, 8, 9\], "logprobs": \[null, null, null, -' "$DIR/want"

# reward models, files of tensors, standard input
score --model $GOLD/llama-score --dtype float32 --out "$DIR/s"
if [ "$(grep -c '"score": ' "$DIR/s")" = 41 ] && ! grep -q logprobs "$DIR/s"; then ok score_reward; else fail score_reward; fi
tenet score --model $GOLD/llama-llama3 --input - --dtype float32 --logits "$DIR/z.safetensors" \
    --hidden 1 "$DIR/h.safetensors" --grads "$DIR/g.safetensors" <"$DIR/rows.jsonl" >"$DIR/got"
score --model $GOLD/llama-llama3 --dtype float32 >"$DIR/want"
same score_standard_input
has() { head -c 6000 "$DIR/$1.safetensors" | grep -aqF "$2"; }
check score_logits has z '"row.1":{"dtype":"F32","shape":[6,53]'
check score_hidden has h '"row.1":{"dtype":"F32","shape":[6,20]'
check score_grads has g '"model.layers.1.self_attn.k_proj.weight":{"dtype":"F32","shape":[20,20]'

M=$GOLD/llama-llama3
R="$DIR/rows.jsonl"
fails score_without_model 2 "needs --model" tenet score --input "$R"
fails score_without_input 2 "needs --input" tenet score --model $M
fails score_no_folder 1 "no such folder" tenet score --model "$DIR/none" --input "$R"
fails score_no_rows_file 1 "none.jsonl" tenet score --model $M --input "$DIR/none.jsonl"
fails score_no_layer 2 "hidden states 0 to 2" tenet score --model $M --input "$R" --hidden 3 "$DIR/h"
fails score_hidden_wants_two 2 "layer number" tenet score --model $M --input "$R" --hidden 4
fails score_grads_of_reward 2 "reward model" tenet score --model $GOLD/llama-score --input "$R" --grads "$DIR/g"
n=0
for bad in '{"ids":[1,53]}' '{"ids":[]}' '{"ids":[1' '[1]' '{"id":[1]}' '{"ids":[1.5]}'; do
    n=$((n + 1))
    printf '{"ids":[1,2]}\n%s\n' "$bad" >"$DIR/bad.jsonl"
    fails "score_bad_row_$n" 1 "bad.jsonl:2" tenet score --model $M --input "$DIR/bad.jsonl"
done
printf '{"text":"hello"}\n' >"$DIR/bad.jsonl"
fails score_no_tokenizer 2 "tokenizer.json" tenet score --model $M --input "$DIR/bad.jsonl"
: >"$DIR/bad.jsonl"
fails score_empty 1 "no rows" tenet score --model $M --input "$DIR/bad.jsonl"
printf '{"ids":[1]}\n' >"$DIR/bad.jsonl"
fails score_no_loss 2 "no token" tenet score --model $M --input "$DIR/bad.jsonl" --grads "$DIR/g"
fails score_unwritable 1 "x.jsonl" tenet score --model $M --input "$R" --out "$DIR/none/x.jsonl"
