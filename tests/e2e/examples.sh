# The examples, built with pkg-config against an installed library, give the verbs' numbers.
. tests/e2e/lib.sh
X=$E2E_TMP/examples
mkdir -p "$X"
make -s install PREFIX="$X/usr" >"$X/log" 2>&1 || fail "examples_install: $(tail -3 "$X/log")"
export PKG_CONFIG_PATH=$X/usr/lib/pkgconfig
for name in score dpo; do
    # shellcheck disable=SC2046
    ${CC:-cc} -std=c17 -Wall -Wextra -Werror -o "$X/$name" examples/$name.c $(pkg-config --cflags --libs --static tenet) 2>"$X/log" ||
        fail "examples_build_$name: $(head -3 "$X/log")"
done
printf '{"prompt_ids": [1, 25, 313, 303], "ids": [26, 299, 7, 2]}\n' >"$X/row.jsonl"
tenet score --model models/world --input "$X/row.jsonl" --dtype float32 --out "$X/score.jsonl" 2>/dev/null
"$X/score" models/world 1,4,313,303 26,299,7,2 >/dev/null || fail examples_score_runs
"$X/score" models/world 1,25,313,303 26,299,7,2 | awk '!/sum/ { printf "%.7g ", $2 }' >"$X/a"
sed 's/.*"logprobs": *\[\([^]]*\)\].*/\1/; s/null, *//g; s/,//g' "$X/score.jsonl" | awk '{ for (i = 1; i <= NF; i++) printf "%.7g ", $i }' >"$X/b"
if [ -s "$X/a" ] && cmp -s "$X/a" "$X/b"; then ok examples_score; else fail "examples_score: $(cat "$X/a") against $(cat "$X/b")"; fi
tenet world prompts-pref --count 16 --out "$X/pref.jsonl"
tenet generate --model models/world --input "$X/pref.jsonl" --n 4 --max-new-tokens 20 --out "$X/answers.jsonl" 2>/dev/null
tenet world rank --input "$X/answers.jsonl" --out "$X/rankings.jsonl" --pairs-out "$X/pairs.jsonl"
"$X/dpo" models/world "$X/pairs.jsonl" "$X/lib" 4 >"$X/a" 2>/dev/null
tenet dpo --model models/world --data "$X/pairs.jsonl" --output-dir "$X/verb" --max-steps 4 --beta 0.1 --learning-rate 1e-4 \
    --dtype float32 --save-steps 0 2>/dev/null
if [ -s "$X/a" ] && cmp -s "$X/a" "$X/verb/metrics.jsonl" && cmp -s "$X/lib/model.safetensors" "$X/verb/model.safetensors"; then
    ok examples_dpo
else
    fail examples_dpo
fi
