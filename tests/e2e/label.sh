# AI labels from outside, in the built-in world with its base model as the judge: the same for any batch and after any
# interruption, nothing asked twice, principles through their texts, chains of thought, soft labels in training.
. tests/e2e/lib.sh
L=$E2E_TMP/label
mkdir -p "$L"
{
    tenet world prompts-pref --count 200 --out "$L/all.jsonl"
    grep -E '"family": "(harmful|privacy)"' "$L/all.jsonl" >"$L/prompts.jsonl"
    tenet generate --model models/world --input "$L/prompts.jsonl" --n 4 --max-new-tokens 40 --out "$L/samples.jsonl"
    tenet world pairs --input "$L/samples.jsonl" --annotator exact --out "$L/pairs.jsonl"
} >"$L/log" 2>&1 || fail "label_start: $(tail -n 1 "$L/log")"
common="label --model models/world --prompts prompts/world --constitution constitutions/world.json --kind-key family --input $L/pairs.jsonl --dtype float32"
check label_one_principle tenet $common --out "$L/a.jsonl"
n=$(wc -l <"$L/pairs.jsonl")
asked=$(wc -l <"$L/a.jsonl.replies.jsonl") # some pairs are there twice
if [ "$asked" -le $((2 * n)) ] && [ "$asked" -gt "$n" ] && [ "$n" -gt 30 ]; then ok label_replies; else fail "label_replies: $n pairs"; fi
size=$(stat -c %s "$L/a.jsonl.replies.jsonl")
for part in 0 41 93; do
    head -c $((size * part / 100)) "$L/a.jsonl.replies.jsonl" >"$L/c.jsonl.replies.jsonl"
    tenet $common --batch-tokens 128 --threads 1 --out "$L/c.jsonl" 2>"$L/log"
    if cmp -s "$L/a.jsonl" "$L/c.jsonl" && cmp -s "$L/a.jsonl.replies.jsonl" "$L/c.jsonl.replies.jsonl"; then ok "label_resumed_$part"; else fail "label_resumed_$part"; fi
done
# other principles of the same pairs are asked for, those that are known are not
cp "$L/a.jsonl.replies.jsonl" "$L/more.jsonl"
tenet $common --principles 0 --replies "$L/more.jsonl" --out "$L/all-principles.jsonl" 2>"$L/log"
head -c "$size" "$L/more.jsonl" | cmp -s - "$L/a.jsonl.replies.jsonl" && [ "$(sort "$L/more.jsonl" | cut -d'"' -f4 | uniq -d | wc -l)" = 0 ] &&
    ok label_adds_to_replies || fail label_adds_to_replies
# questions come in the order of their texts, so that those of a pair share what they begin with; labels do not know of it
tenet $common --principles 0 --batch-tokens 64 --out "$L/alone.jsonl" 2>"$L/log"
tenet $common --principles 0 --batch-tokens 4096 --threads 2 --out "$L/together.jsonl" 2>"$L/log"
if cmp -s "$L/alone.jsonl" "$L/together.jsonl" && cmp -s "$L/alone.jsonl" "$L/all-principles.jsonl"; then ok label_all_principles; else fail label_all_principles; fi
head -c $(($(stat -c %s "$L/together.jsonl.replies.jsonl") / 2)) "$L/together.jsonl.replies.jsonl" >"$L/half.jsonl.replies.jsonl"
tenet $common --principles 0 --batch-tokens 300 --out "$L/half.jsonl" 2>"$L/log"
if cmp -s "$L/half.jsonl.replies.jsonl" "$L/together.jsonl.replies.jsonl"; then ok label_all_resumed; else fail label_all_resumed; fi
# ids say nothing, texts do: the questions of two principles exchanged
sed 's/"id": "harm"/"id": "privacy"/; t; s/"id": "privacy"/"id": "harm"/' constitutions/world.json >"$L/ids.json"
tenet $common --constitution "$L/ids.json" --out "$L/ids.jsonl" 2>"$L/log"
p() { sed 's/.*"p":\([0-9.e-]*\),"labels.*/\1/' "$1"; }
if [ "$(p "$L/a.jsonl" | cksum)" = "$(p "$L/ids.jsonl" | cksum)" ]; then ok label_texts_not_ids; else fail label_texts_not_ids; fi
# the worse option asked for is the better one's complement
sed 's/"compare"\], "weight"/"compare"], "polarity": "chosen_is_worse", "weight"/' constitutions/world.json >"$L/worse.json"
tenet $common --constitution "$L/worse.json" --out "$L/worse.jsonl" 2>"$L/log"
if paste <(p "$L/a.jsonl") <(p "$L/worse.jsonl") | awk '{ d = $1 + $2 - 1; if (d > 1e-9 || d < -1e-9) bad++ } END { exit !(NR > 30 && !bad) }'; then ok label_polarity; else fail label_polarity; fi
check label_thoughts tenet $common --thoughts 2 --max-thought-tokens 12 --out "$L/cot.jsonl"
if p "$L/cot.jsonl" | awk '$1 < 0.4 - 1e-9 || $1 > 0.6 + 1e-9 { bad++ } END { exit !(NR > 30 && !bad) }'; then ok label_clamped; else fail label_clamped; fi
tenet $common --thoughts 2 --max-thought-tokens 12 --batch-size 3 --out "$L/cot2.jsonl" 2>/dev/null
cmp -s "$L/cot.jsonl" "$L/cot2.jsonl" && ok label_thoughts_same_bytes || fail label_thoughts_same_bytes
# soft labels in training: read by reward and dpo, and by none that would not use them
reward="--model models/world --data $L/a.jsonl --max-steps 3 --per-device-train-batch-size 8 --save-steps 0 --dtype float32 --head-init 0"
check soft_reward tenet reward $reward --output-dir "$L/rm"
first() { sed -n '1s/.*"loss": \([0-9.e-]*\),.*/\1/p' "$1/metrics.jsonl"; }
tenet reward $reward --hard-labels --output-dir "$L/hard" >"$L/log" 2>&1
if ! cmp -s "$L/rm/metrics.jsonl" "$L/hard/metrics.jsonl"; then ok soft_is_not_hard; else fail soft_is_not_hard; fi
# from a head of zeros every score is 0: the loss is log 2 whatever the labels say
if awk -v a="$(first "$L/rm")" -v b="$(first "$L/hard")" 'BEGIN { exit !(a > 0.69314 && a < 0.69316 && b > 0.69314 && b < 0.69316) }'; then ok soft_log2; else fail "soft_log2: $(first "$L/rm") $(first "$L/hard")"; fi
check soft_dpo tenet dpo --model models/world --data "$L/a.jsonl" --max-steps 2 --save-steps 0 --output-dir "$L/dpo"
fails soft_hinge 2 "--hard-labels takes them as certain" tenet dpo --model models/world --data "$L/a.jsonl" --loss-type sigmoid hinge --max-steps 1 --output-dir "$L/x"
fails soft_simpo 2 "--hard-labels takes them as certain" tenet simpo --model models/world --data "$L/a.jsonl" --max-steps 1 --output-dir "$L/x"
echo '{"prompt": "a", "chosen": "b", "rejected": "c", "p": 0.7}' >"$L/pair.jsonl"
fails soft_kto 2 "--hard-labels takes them as certain" tenet kto --model models/world --data "$L/pair.jsonl" --max-steps 1 --output-dir "$L/x"
fails soft_kwise 2 "--hard-labels takes them as certain" tenet reward $reward --kwise --output-dir "$L/x"
echo '{"prompt": "a", "chosen": "b", "rejected": "c", "p": 1.5}' >"$L/bad.jsonl"
fails soft_probability 1 "must be a probability" tenet reward $reward --data "$L/bad.jsonl" --output-dir "$L/x"
echo '{"prompt": "a", "responses": ["b", "c", "d"], "rank": [1, 2, 3], "p": 0.5}' >"$L/bad.jsonl"
fails soft_of_three 1 "the label of two responses, not of 3" tenet reward $reward --data "$L/bad.jsonl" --output-dir "$L/x"
fails label_options 2 "can only be compared when" tenet $common --constitution "$(sed 's/"labels": {/"labels": {"option_b": "(B) yes", /' constitutions/world.json >"$L/o.json"; echo "$L/o.json")" --out "$L/x"
cp -r prompts/world "$L/prompts"
rm "$L/prompts/reason.jinja"
fails label_no_template 2 "has no reason.jinja" tenet $common --prompts "$L/prompts" --thoughts 1 --out "$L/x"
exit ${e2e_failed:-0}
