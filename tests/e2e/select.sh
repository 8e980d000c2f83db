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
fails select_nothing 1 "none of 800 rows is selected" tenet select --data "$S/all.jsonl" --where family=none --out "$S/none.jsonl"
[ ! -e "$S/none.jsonl" ] || fail select_nothing_leaves_nothing
fails select_no_data 2 "--data is missing" tenet select --where a=b
fails select_no_value 2 "KEY=VALUE or KEY=VALUE,VALUE is expected" tenet select --data "$S/all.jsonl" --where family
echo '[1]' >"$S/bad.jsonl"
fails select_no_object 1 "bad.jsonl:1: every line must be a JSON object" tenet select --data "$S/bad.jsonl"
exit ${e2e_failed:-0}
