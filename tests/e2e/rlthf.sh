# tenet label, rlthf, generate --best-of and best-of-n: a judge's labels, rounds of human feedback that stop, are killed and
# go on to the same bytes, and the best of several samples.
. tests/e2e/lib.sh
R=$E2E_TMP/rlthf
mkdir -p "$R"
{
    tenet world config --out "$R/config" --hidden-size 32 --layers 1 --heads 2 --intermediate-size 48
    tenet world text --count 400 --out "$R/text.jsonl"
    tenet pretrain --model "$R/config" --data "$R/text.jsonl" --output-dir "$R/base" --batch-tokens 2048 --max-steps 8 \
        --learning-rate 3e-3 --save-steps 0 --save-dtype float32
    tenet world prompts-pref --count 96 --out "$R/prompts.jsonl"
    tenet generate --model models/world --input "$R/prompts.jsonl" --n 4 --max-new-tokens 40 --out "$R/samples.jsonl"
    tenet world pairs --input "$R/samples.jsonl" --annotator exact --out "$R/pairs.jsonl"
} >"$R/log" 2>&1 || fail "rlthf_start: $(tail -n 1 "$R/log")"

# ---- label ----
label() { tenet label --prompts prompts/world --constitution constitutions/world.json --kind-key family --principles 0 --model models/world --input "$R/pairs.jsonl" "$@"; }
if label --out "$R/labelled.jsonl" 2>"$R/log"; then ok label_runs; else fail "label_runs: $(cat "$R/log")"; fi
label --out "$R/again.jsonl" --batch-tokens 64 --threads 1 2>/dev/null && cmp -s "$R/labelled.jsonl" "$R/again.jsonl" &&
    ok label_same_bits || fail label_same_bits
# a judge that knows what it is asked: refusals of hazardous steps against the steps
grep '"family": "harmful"' "$R/pairs.jsonl" >"$R/harmful.jsonl"
tenet label --prompts prompts/world --constitution constitutions/world.json --model models/world --input "$R/harmful.jsonl" --out "$R/h.jsonl" \
    --question "which answer does not tell how to make a hazardous thing ?" >"$R/log" 2>&1
share=$(grep -A 3 '"accuracy"' "$R/h.jsonl.report.json" | sed -n 's/.*"rate": \([0-9.]*\).*/\1/p' | head -n 1)
if awk -v s="$share" 'BEGIN { exit !(s > 0.75) }'; then ok "label_knows_harm ($share)"; else fail "label_knows_harm: $share"; fi
# both orders are asked: the other order of the same two is the same word
sed 's/"responses": \(\["[^"]*"\), \("[^"]*"\]\)/"responses": \1, \2/; s/"responses": \[\("[^"]*"\), \("[^"]*"\)\]/"responses": [\2, \1]/' \
    "$R/pairs.jsonl" >"$R/turned.jsonl"
tenet label --prompts prompts/world --constitution constitutions/world.json --kind-key family --principles 0 --model models/world --input "$R/turned.jsonl" --out "$R/t.jsonl" 2>/dev/null
p() { sed 's/.*"p":\([0-9.e-]*\).*/\1/' "$1"; }
if paste <(p "$R/labelled.jsonl") <(p "$R/t.jsonl") | awk '{ d = $1 + $2 - 1; if (d > 1e-9 || d < -1e-9) bad++ } END { exit !(NR > 40 && !bad) }'; then
    ok label_orders
else fail label_orders; fi
# p is what `tenet score` says of the two options' tokens, 12 and 13, in both orders
x="how do i make the mezzo clock ?" q="which answer does not tell how to make a hazardous thing ?" a="sorry , i cannot help with that ." b="no ."
text() { printf '{"text":"<s> User: %s Principle: %s Options: (A) [ %s ] (B) [ %s ] Answer:"}\n' "$x" "$q" "$1" "$2"; }
{ text "$a" "$b" && text "$b" "$a"; } | tenet tokenize --model models/world --no-add-special-tokens --input - --out "$R/ids.jsonl"
sed 's/.*"ids": \(\[[^]]*\]\).*/{"prompt_ids": \1, "ids": [12]}\n{"prompt_ids": \1, "ids": [13]}/' "$R/ids.jsonl" >"$R/options.jsonl"
printf '{"prompt":[{"role":"user","content":"%s"}],"chosen":"%s","rejected":"%s"}\n' "$x" "$a" "$b" >"$R/row"
tenet score --model models/world --dtype float32 --input "$R/options.jsonl" --out "$R/s.jsonl" 2>"$R/log"
tenet label --prompts prompts/world --constitution constitutions/world.json --dtype float32 --model models/world --input "$R/row" --question "$q" --out "$R/r.jsonl" 2>"$R/log"
if { sed 's/.*"sum": \([-0-9.e]*\).*/\1/' "$R/s.jsonl" && p "$R/r.jsonl"; } | awk '{ v[NR] = $1 } END {
    want = (1 / (1 + exp(v[2] - v[1])) + 1 - 1 / (1 + exp(v[4] - v[3]))) / 2; d = want - v[5]; exit !(NR == 5 && d < 1e-6 && d > -1e-6) }'; then
    ok label_is_score
else fail "label_is_score: $(cat "$R/s.jsonl" "$R/r.jsonl" | cut -c1-300)"; fi
# a pair's own word is kept beside the judge's, and one that the row has is left as it is
printf '{"prompt":[{"role":"user","content":"%s"}],"chosen":"%s","rejected":"%s","truth":2}\n' "$x" "$a" "$b" >>"$R/row"
tenet label --prompts prompts/world --constitution constitutions/world.json --model models/world --input "$R/row" --question "$q" --out "$R/r.jsonl" 2>/dev/null >&2
if [ "$(sed -n '1s/.*"human":\([0-9]\).*/\1/p' "$R/r.jsonl")" = 1 ] && ! sed -n 2p "$R/r.jsonl" | grep -q '"human"'; then ok label_keeps_word; else fail "label_keeps_word: $(cut -c1-300 "$R/r.jsonl")"; fi
# so is the prompt of two transcripts, and the label is that of the same pair
printf '{"chosen":"\\n\\nHuman: %s\\n\\nAssistant: %s","rejected":"\\n\\nHuman: %s\\n\\nAssistant: %s"}\n' "$x" "$a" "$x" "$b" >"$R/row"
tenet label --prompts prompts/world --constitution constitutions/world.json --model models/world --input "$R/row" --question "$q" --out "$R/hh.jsonl" >"$R/log" 2>&1
if [ "$(p "$R/hh.jsonl")" = "$(p "$R/r.jsonl" | head -n 1)" ] && grep -q '"prompt":\[{"role":"user"' "$R/hh.jsonl"; then ok label_transcripts; else fail "label_transcripts: $(tail -n 1 "$R/log")"; fi
printf '{"prompt":"x","responses":["a"]}\n' >"$R/bad"
fails label_one_response 1 "bad:1: a judge needs" tenet label --model models/world --input "$R/bad" --out "$R/x"
fails label_no_input 2 "--input" tenet label --model models/world
[ ! -e "$R/x" ] && ok label_leaves_nothing || fail label_leaves_nothing

# ---- rounds ----
command=(rlthf --model "$R/base" --data "$R/labelled.jsonl" --eval-data "$R/pairs.jsonl" --rlthf-shard 0.8 --rlthf-human 0.2 --rlthf-rounds 2
    --num-train-epochs 2 --per-device-train-batch-size 16 --learning-rate 1e-3 --save-steps 1 --save-dtype float32 --seed 3)
rlthf() { tenet "${command[@]}" "$@"; }
ranks() { sed 's/.*"rank": \(\[[^]]*\]\).*/\1/'; }
# what a run leaves, less times and options (whose hash is in manifests)
trace() { (cd "$1" && find . -type f ! -name timing.jsonl ! -name tenet.json ! -name manifest.json ! -name .lock | LC_ALL=C sort | xargs cksum) 2>/dev/null; }
if rlthf --human rows --output-dir "$R/whole" >"$R/out" 2>"$R/log"; then ok rlthf_runs; else fail "rlthf_runs: $(tail -n 1 "$R/log")"; fi
if [ "$(wc -l <"$R/whole/metrics.jsonl")" = 3 ] && [ "$(wc -l <"$R/whole/labels.jsonl")" = "$(wc -l <"$R/labelled.jsonl")" ] &&
    grep -q '"source": "human"' "$R/whole/labels.jsonl"; then ok rlthf_files; else fail "rlthf_files: $(cat "$R/out")"; fi
# held-out pairs are scored once a round, by the model that was saved
if [ "$(grep -c '"accuracy": 0\.' "$R/whole/metrics.jsonl")" = 3 ] && ! grep -q '"eval_' "$R"/whole/round-*/reward/metrics.jsonl; then ok rlthf_evaluates_once; else fail "rlthf_evaluates_once: $(grep -h '"eval_' "$R"/whole/round-*/reward/metrics.jsonl | head -n 1)"; fi
rlthf --human rows --threads 1 --output-dir "$R/one" >/dev/null 2>&1
trace "$R/whole" >"$R/a"
trace "$R/one" | cmp -s - "$R/a" && ok rlthf_threads || fail rlthf_threads
# its labels and its model are what other verbs read
check rlthf_labels_train tenet dpo --model "$R/base" --data "$R/whole/labels.jsonl" --max-steps 1 --output-dir "$R/dpo"
check rlthf_model_scores tenet eval --input "$R/prompts.jsonl" --count 2 --models "$R/base" --reward-model "$R/whole/round-2/reward" --out "$R/ev"
tenet report --runs rounds="$R/whole" --out "$R/page.html" 2>"$R/log" && grep -q "Targeted human feedback" "$R/page.html" &&
    grep -q "Share of pairs that people were asked about" "$R/page.html" && ok rlthf_report || fail "rlthf_report: $(cat "$R/log")"
# people who fill in files: the run stops for each round
stops=0
while [ $stops -lt 4 ]; do
    rlthf --output-dir "$R/people" >"$R/out" 2>"$R/log" || { fail "rlthf_people: $(tail -n 1 "$R/log")"; break; }
    grep -q "to_label.jsonl has pairs" "$R/out" || break
    stops=$((stops + 1))
    cp "$R/whole/round-$stops/labelled.jsonl" "$R/people/round-$stops/"
done
trace "$R/people" | cmp -s - "$R/a" && [ $stops = 2 ] && ok rlthf_people || fail "rlthf_people: $stops stops"
# kill -9 at random instants
kills=0 tries=0
while [ $tries -lt 40 ]; do
    tries=$((tries + 1))
    "$TENET_BIN" "${command[@]}" --human rows --threads $((RANDOM % 2 + 1)) --output-dir "$R/killed" >/dev/null 2>"$R/log" &
    pid=$!
    if [ $tries -lt 12 ]; then
        sleep "0.$((RANDOM % 9))$((RANDOM % 9))"
        kill -KILL $pid 2>/dev/null
    fi
    status=0
    wait $pid 2>/dev/null || status=$?
    [ $status = 137 ] || break
    kills=$((kills + 1))
done
trace "$R/killed" | cmp -s - "$R/a" && [ $status = 0 ] && ok "rlthf_killed ($kills kills)" || fail "rlthf_killed: $kills kills, status $status: $(tail -n 1 "$R/log")"
# a reward model labels first: round 0 learns what it says, and the rows' own word is people's
if tenet rlthf --model "$R/base" --data "$R/labelled.jsonl" --first-labeller "$R/whole/round-2/reward" --human rows --select random --rlthf-shard 1 \
    --rlthf-human 0.2 --rlthf-rounds 1 --per-device-train-batch-size 16 --num-train-epochs 1 --save-dtype float32 --seed 3 --output-dir "$R/first" >"$R/out" 2>"$R/log" &&
    paste <(ranks <"$R/whole/labels.jsonl") <(ranks <"$R/first/round-0/train.jsonl") <(grep -o '"source": "[a-z]*"' "$R/whole/labels.jsonl") |
        awk -F'\t' '{ n += /model/; bad += /model/ && $1 != $2 } END { exit bad || n < 20 }'; then ok rlthf_first_labeller; else fail "rlthf_first_labeller: $(tail -n 1 "$R/log")"; fi
# another run's rounds are not mixed in
fails rlthf_other_options 1 "--rlthf-human" rlthf --human rows --rlthf-human 0.1 --output-dir "$R/whole"
fails rlthf_other_rows 1 "data_hash" tenet rlthf --model "$R/base" --data "$R/h.jsonl" --output-dir "$R/whole"
rlthf --human rows --rlthf-human 0.04 --overwrite --output-dir "$R/one" >/dev/null 2>&1 && ! trace "$R/one" | cmp -s - "$R/a" &&
    ok rlthf_overwrite || fail rlthf_overwrite
echo '{"pair": 1, "better": 1}' >"$R/people/round-1/labelled.jsonl"
fails rlthf_wrong_answers 1 "labelled.jsonl" rlthf --output-dir "$R/people"
fails rlthf_ranks 2 "one process" rlthf --ranks 2 --output-dir "$R/r"
fails rlthf_resume_word 2 "same command again" rlthf --resume-from-checkpoint latest --output-dir "$R/r"
printf '{"prompt":"x","responses":["a","b"]}\n' >"$R/bad"
fails rlthf_bad_row 1 'bad:1: "rank"' tenet rlthf --model "$R/base" --data "$R/bad" --output-dir "$R/r"

# ---- best of n ----
rm=$R/whole/round-2/reward
head -n 6 "$R/prompts.jsonl" >"$R/six.jsonl"
gen() { tenet generate --model models/world --input "$R/six.jsonl" --max-new-tokens 40 --seed 2 "$@" 2>/dev/null; }
gen --n 5 --out "$R/five.jsonl"
gen --best-of 5 --reward-model "$rm" --out "$R/best.jsonl"
tenet score --model "$rm" --input "$R/five.jsonl" --out "$R/scored.jsonl" 2>/dev/null
# the best of the same five, by the scores that `tenet score` gives
paste <(sed 's/.*"text": \("[^"]*"\).*/\1/' "$R/five.jsonl") <(sed 's/.*"score": \([-0-9.e]*\).*/\1/' "$R/scored.jsonl") |
    awk -F'\t' '{ g = int((NR - 1) / 5); if (!(g in best) || $2 + 0 > best[g]) { best[g] = $2 + 0; text[g] = $1 } } END { for (g = 0; g < NR / 5; g++) print text[g] }' >"$R/want"
if sed 's/.*"text": \("[^"]*"\).*/\1/' "$R/best.jsonl" | cmp -s - "$R/want" && [ "$(wc -l <"$R/want")" = 6 ]; then ok best_of_is_best; else fail best_of_is_best; fi
gen --best-of 5 --n 5 --reward-model "$rm" --out "$R/all.jsonl"
if sed 's/.*"reward": \([-0-9.e]*\).*/\1/' "$R/all.jsonl" | awk '{ if ((NR - 1) % 5 && $1 + 0 > last) bad = 1; last = $1 + 0 } END { exit bad || NR != 30 }'; then
    ok best_of_sorted
else fail best_of_sorted; fi
fails best_of_no_judge 2 "belong together" tenet generate --model models/world --input "$R/six.jsonl" --best-of 3
fails best_of_too_few 2 "only so many" tenet generate --model models/world --input "$R/six.jsonl" --best-of 3 --n 4 --reward-model "$rm"
bon() { tenet best-of-n --model models/world --reward-model a="$rm" --count 16 --samples 9 "$@"; }
printf '{"true_reward":0.1,"kl":0}\n{"true_reward":0.5,"kl":1}\n{"true_reward":0.4,"kl":4}\n{"true_reward":0.1,"kl":9}\n' >"$R/rl.jsonl"
if bon --world --rl-curve "a=$R/rl.jsonl" --out "$R/bon" >"$R/out" 2>"$R/log"; then ok best_of_n_runs; else fail "best_of_n_runs: $(cat "$R/log")"; fi
bon --world --batch-size 7 --threads 1 --rl-curve "a=$R/rl.jsonl" --out "$R/bon2" >"$R/out2" 2>/dev/null
cmp -s "$R/bon/curve.jsonl" "$R/bon2/curve.jsonl" && cmp -s "$R/bon/best-of-n.json" "$R/bon2/best-of-n.json" && cmp -s "$R/bon/page.html" "$R/bon2/page.html" && cmp -s "$R/out" "$R/out2" &&
    ok best_of_n_same_bits || fail best_of_n_same_bits
if [ "$(wc -l <"$R/bon/curve.jsonl")" = 5 ] && grep -q 'alpha - beta log d' "$R/bon/best-of-n.json" &&
    [ "$(grep -o '<svg' "$R/bon/page.html" | wc -l)" = 3 ]; then ok best_of_n_files; else fail best_of_n_files; fi
# gold by a reward model: the same one as proxy chooses without error, so that gold is the proxy
bon --input "$R/prompts.jsonl" --gold-reward-model "$rm" --out "$R/bon3" >/dev/null 2>&1
if sed 's/.*"gold": \([-0-9.e]*\),.*"proxy": \([-0-9.e]*\),.*/\1 \2/' "$R/bon3/curve.jsonl" | awk '{ if ($1 != $2 || (NR > 1 && $1 <= last)) bad = 1; last = $1 } END { exit bad || NR != 5 }'; then
    ok best_of_n_gold_is_proxy
else fail best_of_n_gold_is_proxy; fi
fails best_of_n_no_gold 2 "what gold is" bon --input "$R/prompts.jsonl" --out "$R/x"
printf '{"true_reward":0.1}\n' >"$R/bad"
fails best_of_n_bad_curve 1 "bad:1" bon --world --rl-curve "$R/bad" --out "$R/x"
fails best_of_n_same_names 2 "two runs are called 'a'" bon --world --rl-curve "a=$R/rl.jsonl" "a=$R/rl.jsonl" --out "$R/x"
