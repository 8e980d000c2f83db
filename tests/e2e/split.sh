# tenet split: rows of one first prompt stay together, in every format; sizes, order, refusals.
. tests/e2e/lib.sh
S=$E2E_TMP/split
mkdir -p "$S"
# 60 prompts, two rows each in different formats and files
awk -v a="$S/a.jsonl" -v b="$S/b.jsonl" 'BEGIN {
    for (i = 0; i < 60; i++) {
        q = "question " i
        if (i % 5 == 0) printf "{\"prompt\":\"%s\",\"chosen\":\"x\",\"rejected\":\"y\",\"k\":%d}\n", q, i >a
        if (i % 5 == 1) printf "{\"prompt\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":\"%s\"}],\"k\":%d}\n", q, i >a
        if (i % 5 == 2) printf "{\"chosen\":\"\\n\\nHuman: %s\\n\\nAssistant: a\\n\\nHuman: b\\n\\nAssistant: c\",\"rejected\":\"\\n\\nHuman: %s\\n\\nAssistant: d\",\"k\":%d}\n", q, q, i >a
        if (i % 5 == 3) printf "{\"text\":[\"\\n\\nHuman: %s\\n\\nAssistant: a\",\"\\n\\nHuman: %s\\n\\nAssistant: b\"],\"score\":[1,0],\"k\":%d}\n", q, q, i >a
        if (i % 5 == 4) printf "{\"conversations\":[{\"from\":\"human\",\"value\":\"%s\"},{\"from\":\"gpt\",\"value\":\"a\"}],\"k\":%d}\n", q, i >a
        printf "{\"messages\":[{\"role\":\"user\",\"content\":\"%s\"},{\"role\":\"assistant\",\"content\":\"z\"}],\"k\":%d}\n", q, i >b
    }
}'
split() { tenet split --data "$S/a.jsonl" "$S/b.jsonl" --train-out "$S/train" --held-out "$S/held" "$@"; }
keys() { sed 's/.*"k":\([0-9]*\).*/\1/' "$1" | sort -n; }

if split --held-out-rows 31 --seed 3 2>"$S/log"; then ok split_runs; else fail "split_runs: $(cat "$S/log")"; fi
if [ "$(wc -l <"$S/held")" = 32 ] && [ "$(wc -l <"$S/train")" = 88 ]; then ok split_sizes; else fail "split_sizes: $(wc -l "$S/held" "$S/train")"; fi
# no prompt on both sides, every row on one
keys "$S/held" | uniq >"$S/hk"
keys "$S/train" | uniq >"$S/tk"
if [ -z "$(comm -12 <(sort "$S/hk") <(sort "$S/tk"))" ] && [ "$(cat "$S/hk" "$S/tk" | sort -n | uniq | wc -l)" = 60 ] &&
    ! keys "$S/held" | uniq -c | grep -qv '^ *2 '; then ok split_keeps_prompts_together; else fail split_keeps_prompts_together; fi
if sed 's/.*"k":\([0-9]*\).*/\1/' "$S/train" | head -44 | sort -n -c 2>/dev/null; then ok split_keeps_order; else fail split_keeps_order; fi
cp "$S/held" "$S/first"
split --held-out-rows 31 --seed 3 2>/dev/null && cmp -s "$S/held" "$S/first" && ok split_again_same || fail split_again_same
split --held-out-rows 31 --seed 4 2>/dev/null && ! cmp -s "$S/held" "$S/first" && ok split_seed || fail split_seed
split --held-out-rows 0.25 2>/dev/null && [ "$(wc -l <"$S/held")" = 30 ] && ok split_share || fail split_share
fails split_all_held 2 "leaves no row to train on" split --held-out-rows 500
fails split_no_output 2 "--train-out" tenet split --data "$S/a.jsonl"
printf '{"x":1}\n' >"$S/bad"
fails split_bad_row 1 "bad:1: no prompt" tenet split --data "$S/bad" --train-out "$S/t" --held-out "$S/h"
