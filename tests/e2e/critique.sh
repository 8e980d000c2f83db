# Critique and revision from outside, in the built-in world with its base model: what is written, that nothing is asked twice,
# the same bytes after any interruption and for any batch, principles that act through their texts alone, refusals.
. tests/e2e/lib.sh
O=$E2E_TMP/critique
mkdir -p "$O"
tenet world prompts-rl --count 320 --out "$O/all.jsonl" 2>/dev/null
grep '"family": "harmful"' "$O/all.jsonl" >"$O/red.jsonl"
grep '"family": "privacy"' "$O/all.jsonl" | head -n 12 >>"$O/red.jsonl"
grep '"family": "benign"' "$O/all.jsonl" | head -n 6 >"$O/help.jsonl"
common="critique --model models/world --constitution constitutions/world.json --prompts prompts/world --data $O/red.jsonl --kind-key family
        --helpful-data $O/help.jsonl --rounds 2 --max-new-tokens 32 --max-critique-tokens 20 --repeat-words 0 --longest-ratio 0 --dtype float32 --seed 3"
equal() { for f in sft record answers-0 answers-2 replies; do cmp -s "$1/$f.jsonl" "$2/$f.jsonl" || return 1; done; cmp -s "$1/summary.json" "$2/summary.json"; }
check critique_runs tenet $common --output-dir "$O/a"
lines() { wc -l <"$1"; }
n=$(lines "$O/red.jsonl")
if [ "$(lines "$O/a/record.jsonl")" = "$n" ] && [ "$(lines "$O/a/sft.jsonl")" = $((2 * n + 12)) ] && [ "$(lines "$O/a/replies.jsonl")" = $((5 * n + 12)) ]
then ok critique_rows; else fail "critique_rows: $(wc -l "$O"/a/*.jsonl)"; fi
check critique_batch_and_threads tenet $common --batch-size 3 --threads 1 --output-dir "$O/b"
# portions of another batch end elsewhere, but the replies are written in the order of the questions
if equal "$O/a" "$O/b"; then ok critique_same_bytes; else fail critique_same_bytes; fi
# killed at any instant: what is left of replies.jsonl is a beginning of it
size=$(stat -c %s "$O/a/replies.jsonl")
for part in 0 13 50 87; do
    mkdir -p "$O/cut$part"
    head -c $((size * part / 100)) "$O/a/replies.jsonl" >"$O/cut$part/replies.jsonl"
    tenet $common --output-dir "$O/cut$part" >"$O/log" 2>&1
    if equal "$O/a" "$O/cut$part"; then ok "critique_resumed_$part"; else fail "critique_resumed_$part"; fi
done
"$TENET_BIN" $common --output-dir "$O/kill" >/dev/null 2>&1 &
pid=$!
sleep 1.5
kill -9 $pid 2>/dev/null
wait $pid 2>/dev/null
tenet $common --output-dir "$O/kill" >"$O/log" 2>&1
if equal "$O/a" "$O/kill"; then ok critique_killed; else fail critique_killed; fi
cp -r "$O/a" "$O/again"
tenet $common --output-dir "$O/again" >"$O/log" 2>&1
if equal "$O/a" "$O/again" && ! grep -q "replies (100%)" "$O/log"; then ok critique_nothing_asked_twice; else fail "critique_nothing_asked_twice: $(head -3 "$O/log")"; fi
# what is kept between questions does not matter, nor in which form they are put: one text, or turns behind the conversation
mkdir -p "$O/turns-prompts"
echo '{"mode": "turns"}' >"$O/turns-prompts/prompts.json"
echo '{{ critique_request }}' >"$O/turns-prompts/critique.jinja"
echo '{{ revise_request }}' | tee "$O/turns-prompts/revision.jinja" >"$O/turns-prompts/direct.jinja"
turns="$common --prompts $O/turns-prompts --max-new-tokens 20 --max-critique-tokens 12"
check critique_turns tenet $turns --output-dir "$O/turns"
tenet $common --prefix-cache 0 --output-dir "$O/cache0" >"$O/log" 2>&1
tenet $common --prefix-cache 1 --batch-size 5 --output-dir "$O/cache1" >"$O/log" 2>&1
if equal "$O/a" "$O/cache0" && equal "$O/a" "$O/cache1"; then ok critique_cache; else fail critique_cache; fi
read_before() { grep -o '[0-9]* % of them read before' "$O/log" | cut -d' ' -f1; }
tenet $turns --batch-size 1 --output-dir "$O/turns1" >"$O/log" 2>&1
all=$(read_before)
tenet $turns --prefix-cache 0 --threads 1 --output-dir "$O/turns-cache0" >"$O/log" 2>&1
none=$(read_before)
tenet $turns --prefix-cache 1 --batch-size 5 --output-dir "$O/turns-cache1" >"$O/log" 2>&1
few=$(read_before)
if equal "$O/turns" "$O/turns1" && equal "$O/turns" "$O/turns-cache0" && equal "$O/turns" "$O/turns-cache1"; then ok critique_turns_cache; else fail critique_turns_cache; fi
if [ "$all" -gt "$few" ] && [ "$few" -gt "$none" ] && [ "$all" -gt 50 ]; then ok critique_read_before; else fail "critique_read_before: $all, $few and $none %"; fi
mkdir -p "$O/turns-cut"
head -c $(($(stat -c %s "$O/turns/replies.jsonl") * 2 / 3)) "$O/turns/replies.jsonl" >"$O/turns-cut/replies.jsonl"
tenet $turns --output-dir "$O/turns-cut" >"$O/log" 2>&1
if equal "$O/turns" "$O/turns-cut"; then ok critique_turns_resumed; else fail critique_turns_resumed; fi
# ids do not matter: other ids, the same texts; and swapped texts are the swapped principle
sed 's/"id": "harm"/"id": "privacy"/; t; s/"id": "privacy"/"id": "harm"/' constitutions/world.json >"$O/ids.json"
tenet $common --constitution "$O/ids.json" --output-dir "$O/ids" >"$O/log" 2>&1
if cmp -s "$O/a/sft.jsonl" "$O/ids/sft.jsonl"; then ok critique_texts_not_ids; else fail critique_texts_not_ids; fi
sed '/"id": "harm"/s/"weight": 3/"weight": 3, "enabled": false/' constitutions/world.json >"$O/without.json"
tenet $common --constitution "$O/without.json" --output-dir "$O/without" >"$O/log" 2>&1
if grep -q '"principle":"harm"' "$O/a/record.jsonl" && ! grep -q '"principle":"harm"' "$O/without/record.jsonl"; then ok critique_without_a_principle; else fail critique_without_a_principle; fi
# the critic as a judge: the same rounds, and only what it holds for better is trained on; what it says is what `tenet label` says of these pairs
judged="$common --least-better 0.68"
check critique_judged tenet $judged --output-dir "$O/judged"
if cmp -s "$O/a/record.jsonl" "$O/judged/record.jsonl" && [ "$(lines "$O/judged/labels.jsonl")" -gt 10 ]; then ok critique_judged_rounds; else fail critique_judged_rounds; fi
sed 's/"rank":.*/"x": 0}/' "$O/judged/labels.jsonl" >"$O/revised.jsonl"
tenet label --model models/world --constitution constitutions/world.json --prompts prompts/world --kind-key family --principles 0 --dtype float32 --seed 3 \
    --input "$O/revised.jsonl" --out "$O/labelled.jsonl" >"$O/log" 2>&1
sed 's/"x":0,//' "$O/labelled.jsonl" | cmp -s - "$O/judged/labels.jsonl" && ok critique_judged_as_labels || fail "critique_judged_as_labels: $(tail -1 "$O/log")"
good=$(sed 's/.*"id":"\([^"]*\)".*"p":\([0-9.e-]*\),"labels.*/\1 \2/' "$O/judged/labels.jsonl" | awk '$2 >= 0.68 { print $1 }' | sort)
trained=$(grep -v '"round":0' "$O/judged/sft.jsonl" | sed 's/.*"id":"\([^"]*\)".*/\1/' | sort -u)
if [ -n "$good" ] && [ "$good" = "$trained" ] && [ "$(grep -c '"round":0' "$O/judged/sft.jsonl")" = 12 ] &&
    [ "$(echo "$good" | wc -l)" -lt "$(lines "$O/judged/labels.jsonl")" ] && grep -q "\"better\": $(echo "$good" | wc -l)" "$O/judged/summary.json"
then ok critique_judged_rows; else fail "critique_judged_rows: $(echo "$good" | wc -l) of $(lines "$O/judged/labels.jsonl")"; fi
mkdir -p "$O/judged-cut"
head -c $(($(stat -c %s "$O/judged/replies.jsonl") * 97 / 100)) "$O/judged/replies.jsonl" >"$O/judged-cut/replies.jsonl"
tenet $judged --threads 1 --batch-size 7 --output-dir "$O/judged-cut" >"$O/log" 2>&1
if equal "$O/judged" "$O/judged-cut" && cmp -s "$O/judged/labels.jsonl" "$O/judged-cut/labels.jsonl"; then ok critique_judged_resumed; else fail critique_judged_resumed; fi
unhelped=$(echo $judged | sed "s#--helpful-data [^ ]*##")
fails critique_judged_none 1 "nothing is left to train on" tenet $unhelped --least-better 1 --rounds 1 --max-rows 4 --output-dir "$O/none"
# what it needs for that is looked at before anybody is asked
fails critique_judged_no_template 2 "has no compare.jinja" tenet $judged --prompts "$(mkdir -p "$O/p2" && cp prompts/world/prompts.json prompts/world/critique.jinja prompts/world/revision.jinja "$O/p2" && echo "$O/p2")" --output-dir "$O/y"
sed 's/"critique_revise", "compare"/"critique_revise"/' constitutions/world.json >"$O/revise-only.json"
fails critique_judged_no_principle 2 "no enabled principle for compare" tenet $judged --constitution "$O/revise-only.json" --output-dir "$O/y"
if [ ! -s "$O/y/replies.jsonl" ]; then ok critique_judged_checked_first; else fail critique_judged_checked_first; fi
check critique_direct tenet $common --direct --output-dir "$O/direct"
if ! grep -q '"stage":"critique"' "$O/direct/replies.jsonl"; then ok critique_direct_asks_no_critic; else fail critique_direct_asks_no_critic; fi
given=${common/--kind-key family/}
tenet $given --data "$O/a/answers-0.jsonl" --prompt-kind red_team --rounds 1 --output-dir "$O/given" >"$O/log" 2>&1
if [ "$(grep -c '"stage":"answer"' "$O/given/replies.jsonl")" = 12 ] && [ "$(lines "$O/given/answers-0.jsonl")" = "$n" ] &&
    [ "$(sed 's/.*"response"/"response"/' "$O/given/answers-0.jsonl" | cut -d'"' -f4 | cksum)" = "$(sed 's/.*"response"/"response"/' "$O/a/answers-0.jsonl" | cut -d'"' -f4 | cksum)" ]
then ok critique_given_answers; else fail critique_given_answers; fi
# prompts of public sets: the same as written out, and the row's own fields stay
grep -o '"role":"user","content":"[^"]*"' "$O/a/answers-0.jsonl" | head -n 3 | sed 's/.*"content":\(.*\)/{"instruction": \1, "family": "harmful"}/' >"$O/instructions.jsonl"
sed 's/{"instruction": \("[^"]*"\)/{"prompt": [{"role": "user", "content": \1}]/' "$O/instructions.jsonl" >"$O/prompts.jsonl"
for f in instructions prompts; do tenet $common --data "$O/$f.jsonl" --rounds 1 --output-dir "$O/$f" >"$O/log" 2>&1 || fail "critique_$f: $(tail -n 1 "$O/log")"; done
if [ "$(lines "$O/instructions.jsonl")" = 3 ] && cmp -s "$O/instructions/replies.jsonl" "$O/prompts/replies.jsonl"; then ok critique_public_rows; else fail critique_public_rows; fi
# the shipped constitutions and prompts are found from elsewhere
bin=$(cd "$(dirname "$TENET_BIN")" && pwd)/$(basename "$TENET_BIN")
check critique_elsewhere env -C "$O" "$bin" $common --model "$PWD/models/world" --rounds 1 --max-rows 4 --output-dir "$O/elsewhere"
fails critique_no_model 2 "--model is missing" tenet critique
fails critique_no_template 2 "has no direct.jinja" tenet $common --direct --prompts "$(mkdir -p "$O/p" && cp prompts/world/prompts.json prompts/world/critique.jinja prompts/world/revision.jinja "$O/p" && echo "$O/p")" --output-dir "$O/x"
echo '{"principles": [{"id": "a", "kind": ["critique_revise"], "critique": "c", "revise": "r", "applies_to": ["other"]}]}' >"$O/c.json"
fails critique_no_principle 2 'applies to prompts of kind "harmful"' tenet $common --constitution "$O/c.json" --output-dir "$O/x"
echo '{"prompt": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "family": "harmful"}' >"$O/l.jsonl"
fails critique_last_is_user 1 "the last message of \"prompt\" is to be the user's" tenet $common --data "$O/l.jsonl" --output-dir "$O/x"
fails critique_too_long 2 "do not fit the model's 160 positions" tenet $common --max-new-tokens 150 --output-dir "$O/x"
exit ${e2e_failed:-0}
