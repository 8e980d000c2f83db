# tenet select: the same rows as grep's, bytes as they are, conditions on every kind of value, refusals.
. tests/e2e/lib.sh
S=$E2E_TMP/select
mkdir -p "$S"
tenet world prompts-rl --count 800 --out "$S/all.jsonl" 2>/dev/null
red='"family": "(harmful|privacy)"'
select_rows() { tenet select --data "$S/all.jsonl" --out "$S/out.jsonl" "$@" 2>"$S/log"; }
same() { if cmp -s "$S/out.jsonl" "$S/want.jsonl" && [ -s "$S/want.jsonl" ]; then ok "$1"; else fail "$1: $(cat "$S/log")"; fi; }
grep -E "$red" "$S/all.jsonl" >"$S/want.jsonl"
select_rows --where family=harmful,privacy
same select_where
grep -vE "$red" "$S/all.jsonl" | grep -v '"task": "harmful"' | head -n 90 >"$S/want.jsonl"
select_rows --where-not family=harmful,privacy task=harmful --first 90
same select_where_not_first
grep -vE "$red" "$S/all.jsonl" | grep -v '"task": "harmful"' | sed -n '11,30p' >"$S/want.jsonl"
select_rows --where-not family=harmful,privacy --where-not task=harmful --skip 10 --first 20
same select_skip
# spacing, numbers, absent keys, texts with commas and equals signs
printf '%s\n' '{"a":1,  "b": true}' '{"a": "1", "b": false}' '' '{"a": 1.5}' '{"b": null, "c": "x=y"}' '{"a": [1, 2]}' >"$S/mixed.jsonl"
mixed() { tenet select --data "$S/mixed.jsonl" "$@" 2>"$S/log" | tr '\n' ';'; }
expect() { if [ "$2" = "$3" ]; then ok "$1"; else fail "$1: $2"; fi; }
expect select_number "$(mixed --where a=1)" '{"a":1,  "b": true};{"a": "1", "b": false};'
expect select_real "$(mixed --where a=1.5)" '{"a": 1.5};'
expect select_true "$(mixed --where b=true)" '{"a":1,  "b": true};'
expect select_null "$(mixed --where b=null)" '{"b": null, "c": "x=y"};'
expect select_equals_sign "$(mixed --where c=x=y)" '{"b": null, "c": "x=y"};'
expect select_absent "$(mixed --where-not a=1)" '{"a": 1.5};{"b": null, "c": "x=y"};{"a": [1, 2]};'
expect select_files "$(tenet select --data "$S/mixed.jsonl" "$S/mixed.jsonl" --where a=1.5 2>/dev/null | wc -l | tr -d ' ')" 2
gzip -c "$S/all.jsonl" >"$S/all.jsonl.gz"
expect select_gzip "$(tenet select --data "$S/all.jsonl.gz" --where family=arith 2>/dev/null | cksum)" "$(grep '"family": "arith"' "$S/all.jsonl" | cksum)"
# closers: "bye ." closes 3 of the 8 answers of rows that differ, "it is b ." 1 (the last row is equal answers); a single sentence is none
cat >"$S/pairs.jsonl" <<'X'
{"id": 1, "responses": ["it is a . bye .", "it is a ."]}
{"id": 2, "responses": ["it is a .", "it is b ."]}
{"id": 3, "chosen": "it is a . Bye .", "rejected": [{"role": "assistant", "content": "it is b . bye ."}]}
{"id": 4, "responses": ["so . it is b .", "bye ."]}
{"id": 5, "responses": ["it is a . bye .", "it is a . bye ."]}
X
ids() { tenet select --data "$S/pairs.jsonl" "$@" 2>"$S/log" | sed 's/.*"id": \([0-9]*\).*/\1/' | tr '\n' ' '; }
expect select_same_closer "$(ids --same-closer 0.3)" "2 3 4 "
expect select_same_closer_rare "$(ids --same-closer 0.1)" "2 3 "
expect select_same_closer_all "$(ids --same-closer 1)" "1 2 3 4 "
expect select_same_closer_first "$(ids --same-closer 0.3 --where-not id=2 --skip 1 --first 1)" "4 "
fails select_closer_rows 1 "all.jsonl:1: --same-closer needs rows of two answers or more" tenet select --data "$S/all.jsonl" --same-closer 0.1
fails select_closer_stdin 2 "reads --data twice" tenet select --data - --same-closer 0.1
fails select_nothing 1 "none of 800 rows is selected" tenet select --data "$S/all.jsonl" --where family=none --out "$S/none.jsonl"
[ ! -e "$S/none.jsonl" ] || fail select_nothing_leaves_nothing
fails select_no_data 2 "--data is missing" tenet select --where a=b
fails select_no_value 2 "KEY=VALUE or KEY=VALUE,VALUE is expected" tenet select --data "$S/all.jsonl" --where family
echo '[1]' >"$S/bad.jsonl"
fails select_no_object 1 "bad.jsonl:1: every line must be a JSON object" tenet select --data "$S/bad.jsonl"
exit ${e2e_failed:-0}
