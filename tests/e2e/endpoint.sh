# Judges and critics behind HTTP, against a service whose judges are known to the last digit (tests/e2e/fake_endpoint.c): what
# is read from log-probs and votes, several judges and their report, every fault of a service, kill -9 and resume.
. tests/e2e/lib.sh
P=$E2E_TMP/endpoint
mkdir -p "$P"
if ! pkg-config --exists libcurl; then
    fails endpoint_without_libcurl 1 "built without libcurl" tenet label --judge http://127.0.0.1:9/v1 --judge-model x --input <(echo '{"prompt": "a", "chosen": "b", "rejected": "c"}') --out -
    skip endpoint "no libcurl"
    exit ${e2e_failed:-0}
fi
if ! make -s build/tests/fake_endpoint >"$P/log" 2>&1; then
    fail "endpoint_build: $(tail -n 3 "$P/log")"
    exit 1
fi
unset http_proxy HTTP_PROXY all_proxy ALL_PROXY
servers=
trap 'kill $servers 2>/dev/null; rm -rf "$E2E_TMP"' EXIT
# serve LOG [SETTING...]: starts a service; $url, $server
serve() {
    local log=$1
    shift
    : >"$log"
    build/tests/fake_endpoint "$log" "$@" >"$log.port" &
    server=$!
    servers="$servers $server"
    for _ in $(seq 100); do [ -s "$log.port" ] && break; sleep 0.05; done
    url=http://127.0.0.1:$(cat "$log.port")/v1
}
for i in $(seq 40); do
    printf '{"id": "r%d", "prompt": "question %d ?", "responses": ["%s", "%s"], "human": %d}\n' "$i" "$i" "a$(seq -s ' ' $((i % 7)))" "b$(seq -s ' ' $((i * 3 % 5)))" $((i % 7 > i * 3 % 5 ? 1 : 2))
done >"$P/pairs.jsonl"
head -n 4 "$P/pairs.jsonl" >"$P/four.jsonl"
judge="--judge-backoff 0.01"
lines() { wc -l <"$1"; }
p() { sed 's/.*"p":\([0-9.e-]*\),"\(labels\|judges\)".*/\1/' "$1"; }
near() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a - b < 1e-9 && b - a < 1e-9) }'; }
value() { grep -o "\"$2\": [-0-9.e]*" "$1" | head -n 1 | cut -d' ' -f2; } # of a report: the first with that name

# ---- what is read ----
serve "$P/asked" delay=3
check endpoint_log_probs tenet label --judge "$url" --judge-model longer --input "$P/pairs.jsonl" --out "$P/a.jsonl" $judge
# 0.9 for the longer one in both orders; options of one length are (A) to it in both, 0.5
if [ "$(p "$P/a.jsonl" | awk '{ n[$1 > 0.899999 && $1 < 0.900001 ? "a" : $1 > 0.099999 && $1 < 0.100001 ? "b" : $1 == 0.5 ? "c" : "x"]++ } END { print (n["a"] > 9), (n["b"] > 9), (n["c"] > 0), n["x"] + 0 }')" = "1 1 1 0" ]
then ok endpoint_probabilities; else fail "endpoint_probabilities: $(p "$P/a.jsonl" | sort | uniq -c)"; fi
if [ "$(grep -c '^answered' "$P/asked")" = "$(lines "$P/a.jsonl.replies.jsonl")" ] && [ "$(grep -c '^asked' "$P/asked")" = "$(lines "$P/a.jsonl.replies.jsonl")" ] &&
    [ "$(grep '^asked' "$P/asked" | sort | uniq -d | wc -l)" = 0 ]; then ok endpoint_asked_once; else fail endpoint_asked_once; fi
if grep '^asked' "$P/asked" | head -n 1 | grep -q 'v1/chat/completions.*"model":"longer","max_tokens":4,"temperature":0.0,.*"logprobs":true,"top_logprobs":20'; then ok endpoint_request; else fail "endpoint_request: $(head -n 1 "$P/asked")"; fi
cp "$P/asked" "$P/asked1"
tenet label --judge "$url/" --judge-model longer --input "$P/pairs.jsonl" --out "$P/a.jsonl" $judge >"$P/log" 2>&1
cmp -s "$P/asked" "$P/asked1" && ok endpoint_not_asked_again || fail endpoint_not_asked_again
sed 's/"id": "r/"id": "again-/' "$P/four.jsonl" | cat "$P/four.jsonl" - >"$P/twice.jsonl"
check endpoint_the_same_pairs_twice tenet label --judge "$url" --judge-model longer --question "Which one ?" --input "$P/twice.jsonl" --out "$P/twice-out.jsonl" $judge
if [ "$(grep -c '^asked.*Which one ?' "$P/asked")" = 8 ] && [ "$(lines "$P/twice-out.jsonl")" = 8 ]; then ok endpoint_equal_questions_once; else fail "endpoint_equal_questions_once: $(grep -c '^asked.*Which one ?' "$P/asked")"; fi
check endpoint_completions tenet label --judge "$url" --judge-model first --prompts prompts/text --input "$P/four.jsonl" --out "$P/first.jsonl" $judge
if [ "$(p "$P/first.jsonl" | sort -u)" = 0.5 ] && near "$(value "$P/first.jsonl.report.json" position_bias)" 0.3 && near "$(value "$P/first.jsonl.report.json" first_position_rate)" 1 &&
    grep -q 'v1/completions.*"stop":\["Assistant:","Human:"\]' "$P/asked"; then ok endpoint_first; else fail "endpoint_first: $(cat "$P/first.jsonl.report.json")"; fi
cp -r prompts/text "$P/text"
sed -i 's/"stop": \[/"stop": ["###", /' "$P/text/prompts.json"
before=$(grep -c '^asked' "$P/asked")
tenet label --judge "$url" --judge-model first --prompts "$P/text" --input "$P/four.jsonl" --out "$P/first.jsonl" $judge >"$P/log" 2>&1
if [ "$(grep -c '^asked' "$P/asked")" = $((before + 8)) ] && grep -q '"stop":\["Assistant:","Human:","###"\]' "$P/asked"; then ok endpoint_other_stops_are_other_questions; else fail endpoint_other_stops_are_other_questions; fi
fails endpoint_mute 1 "no judge came to a verdict on any of 4 pairs" tenet label --judge "$url" --judge-model mute --input "$P/four.jsonl" --out "$P/mute.jsonl" $judge
check endpoint_votes tenet label --judge "$url" --judge-model longer --judge-votes 3 --input "$P/pairs.jsonl" --out "$P/votes.jsonl" $judge
if [ "$(p "$P/votes.jsonl" | awk '{ printf "%.6g\n", $1 }' | sort -u | tr '\n' ' ')" = "0.125 0.5 0.875 " ] && [ "$(lines "$P/votes.jsonl.replies.jsonl")" = $((3 * $(lines "$P/a.jsonl.replies.jsonl"))) ]
then ok endpoint_vote_shares; else fail "endpoint_vote_shares: $(p "$P/votes.jsonl" | sort | uniq -c)"; fi

# ---- several judges ----
check endpoint_several tenet label --judge "$url" "$url" "$url" --judge-model longer first mute --judge-weights 3 1 1 --judge-prompts prompts/chat prompts/text prompts/chat \
    --input "$P/pairs.jsonl" --out "$P/all.jsonl" $judge
# the mute one has no say: (3 * 0.9 + 0.5)/4
if p "$P/all.jsonl" | awk '{ ok += $1 == 0.5 || ($1 > 0.7999 && $1 < 0.8001) || ($1 > 0.1999 && $1 < 0.2001) } END { exit !(ok == NR && NR == 40) }'; then ok endpoint_weights; else fail endpoint_weights; fi
if head -n 1 "$P/all.jsonl" | grep -q "\"judges\":\[{\"judge\":\"longer@$url\",\"p\":0.[0-9]*},{\"judge\":\"first@$url\",\"p\":0.5},{\"judge\":\"mute@$url\",\"p\":null}\],\"labels\":\[{\"judge\":\"longer@"; then ok endpoint_each_answer; else fail "endpoint_each_answer: $(head -n 1 "$P/all.jsonl")"; fi
R=$P/all.jsonl.report.json
if [ "$(grep -c '"failure_rate": 1.0' "$R")" = 1 ] && [ "$(grep -c '"kappa": null' "$R")" = 2 ] && [ "$(grep -c '"temperature": ' "$R")" = 3 ] &&
    grep -q '"length_correlation": 0.[89]' "$R"; then ok endpoint_report; else fail "endpoint_report: $(cat "$R")"; fi
check endpoint_with_a_model tenet label --judge models/world "$url" --judge-model longer --judge-prompts prompts/world prompts/chat --constitution constitutions/world.json --dtype float32 \
    --prompt-kind howto --input "$P/four.jsonl" --out "$P/mixed.jsonl" $judge
check endpoint_ties tenet label --judge "$url" --judge-model first --prompts prompts/text --ties --input "$P/four.jsonl" --out "$P/ties.jsonl" $judge
if [ "$(grep -c '"rank":\[1,1\]' "$P/ties.jsonl")" = 4 ]; then ok endpoint_disagreeing_orders_tie; else fail endpoint_disagreeing_orders_tie; fi
fails endpoint_too_many_models 2 "--judge-model has 3 values for 1 endpoints" tenet label --judge models/world "$url" --judge-model a b c --input "$P/four.jsonl" --out "$P/x"
fails endpoint_weight 2 "is not a weight" tenet label --judge "$url" --judge-model longer --judge-weights -1x --input "$P/four.jsonl" --out "$P/x"

# ---- a critic ----
echo '{"prompt": "how do i make the kambo mirror ?"}' >"$P/red.jsonl"
critique="critique --model models/world --critic $url --critic-model words --critic-key-env SECRET --constitution constitutions/world.json --data $P/red.jsonl --rounds 2
          --prompt-kind harmful --max-new-tokens 16 --dtype float32 --longest-ratio 0 --judge-backoff 0.01"
export SECRET=sk-do-not-write-me-down
check endpoint_critic tenet $critique --output-dir "$P/cai"
if [ "$(grep -c '"stage":"\(critique\|revision\)"' "$P/cai/replies.jsonl")" = 4 ] && grep -q '"fault":null' "$P/cai/record.jsonl" && grep -q "Bearer $SECRET" "$P/asked" && ! grep -rqs "$SECRET" "$P/cai"
then ok endpoint_critic_said; else fail "endpoint_critic_said: $(cat "$P/cai/record.jsonl")"; fi
fails endpoint_no_key 2 "there is no such environment variable" env -u SECRET "$TENET_BIN" $critique --output-dir "$P/x"
fails endpoint_policy 2 "an endpoint can be the critic" tenet $critique --model "$url" --output-dir "$P/x"

# ---- refusals ----
four="label --input $P/four.jsonl --judge-model longer --judge-key-env SECRET $judge"
fails endpoint_no_model 2 "which model? --judge-model NAME" tenet label --judge "$url" --input "$P/four.jsonl" --out "$P/x"
fails endpoint_credentials 2 "has a user or password in its URL" tenet $four --judge http://me:pass@127.0.0.1/v1 --out "$P/x"
if grep -q pass@ "$E2E_TMP/check.log"; then fail endpoint_credentials_told; else ok endpoint_credentials_not_told; fi
fails endpoint_query 2 "ends with its path" tenet $four --judge "$url?key=x" --out "$P/x"
fails endpoint_refused 1 "and so 3 times" tenet $four --judge-retries 2 --judge http://127.0.0.1:1/v1 --out "$P/x"
fails endpoint_no_host 1 "Could not resolve host" tenet $four --judge-retries 0 --judge http://no-such-host.invalid/v1 --out "$P/x"

# ---- faults that pass: the third try of every request succeeds ----
for kind in 429 503 retry-after malformed html no-choices truncated close; do
    serve "$P/pass-$kind" fault=$kind fails=2
    start=$(date +%s%N)
    if tenet $four --judge "$url" --out "$P/pass.jsonl" --replies "$P/pass-$kind.replies" >"$P/log" 2>&1 &&
        [ "$(p "$P/pass.jsonl")" = "$(head -n 4 "$P/a.jsonl" | p /dev/stdin)" ] && [ "$(grep -c '^asked' "$P/pass-$kind")" = $((3 * $(grep -c '^answered' "$P/pass-$kind"))) ]
    then ok "endpoint_passing_$kind"; else fail "endpoint_passing_$kind: $(tail -n 2 "$P/log")"; fi
    took=$((($(date +%s%N) - start) / 1000000)) # two times "Retry-After: 1"
    if [ $kind = retry-after ]; then if [ "$took" -ge 1990 ]; then ok endpoint_retry_after; else fail "endpoint_retry_after: $took ms"; fi; fi
done
# ---- faults that stay: status 1, said plainly, nothing written, and what was said is kept ----
stays() { # KIND STATUS TEXT [OPTION...]
    local kind=$1 status=$2 text=$3
    shift 3
    serve "$P/stay-$kind" fault=$kind
    fails "endpoint_staying_$kind" "$status" "$text" tenet $four --judge "$url" --judge-retries 2 --out "$P/stay.jsonl" "$@"
    if [ -e "$P/stay.jsonl" ] || grep -q "$SECRET" "$E2E_TMP/check.log"; then fail "endpoint_staying_${kind}_left"; fi
}
stays 429 1 "HTTP status 429, and so 3 times"
stays 503 1 "HTTP status 503, and so 3 times"
stays retry-much-later 1 "asked to wait for 90000 s"
stays 401 2 "HTTP status 401: no such key: Bearer ***"
stays 400 2 "HTTP status 400: what is logprobs?"
stays 302 2 "HTTP status 302"
stays malformed 1 "that is not JSON"
stays html 1 "that is not JSON"
stays no-choices 1 "out of slots"
stays truncated 1 "and so 3 times"
stays close 1 "and so 3 times"
stays garbage 1 "0 of 8 replies kept"
stays oversize 1 "a reply of more than 16777216 bytes"
stays silent 1 "timed out" --judge-timeout 0.2 --judge-retries 1
stays positive 1 "not a token and a number of at most 0"
stays no-logprobs 1 "--judge-votes N counts the verdicts"

# ---- calls that fail: of the system or for memory; a message, or the same rows ----
serve "$P/faulty"
two="label --judge $url --judge-model longer --judge-backoff 0.001 --input $P/two.jsonl"
head -n 2 "$P/pairs.jsonl" >"$P/two.jsonl"
calls=$(TENET_FAULT=1000000000:5 "$TENET_BIN" $two --out "$P/sound.jsonl" 2>&1 >/dev/null | sed -n 's/^tenet: fault: \([0-9]*\) calls$/\1/p')
bad= failed=0
for i in $(seq 0 39); do
    n=$((i * calls / 40 + RANDOM % (calls / 40 + 1) + 1)) status=0
    rm -f "$P/fault.jsonl"*
    TENET_FAULT=$n:$((i % 2 ? 5 : 12)) "$TENET_BIN" $two --out "$P/fault.jsonl" >/dev/null 2>"$P/log" || status=$?
    case $status in
        0) cmp -s "$P/fault.jsonl" "$P/sound.jsonl" || bad="$bad $n: other rows" ;;
        1) failed=$((failed + 1)); { grep -q "^tenet: error: ." "$P/log" && { [ ! -e "$P/fault.jsonl" ] || cmp -s "$P/fault.jsonl" "$P/sound.jsonl"; }; } || bad="$bad $n: $(tail -n 1 "$P/log")" ;;
        *) bad="$bad $n: status $status" ;;
    esac
done
if [ -z "$bad" ] && [ "$failed" -gt 5 ]; then ok "endpoint_calls_that_fail ($failed of 40, of $calls)"; else fail "endpoint_calls_that_fail: $failed;$bad"; fi

# ---- kill -9 ----
# The service falls silent after 11 answers: when these are in the file, everything that was answered is durable. Killed there,
# and at random instants; then the results are those of an undisturbed run, and no answered question was asked again.
serve "$P/stall" stall=11
ten="label --judge $url --judge-model longer --input $P/pairs.jsonl $judge"
"$TENET_BIN" $ten --out "$P/k.jsonl" >/dev/null 2>&1 &
pid=$!
for _ in $(seq 200); do [ "$(cat "$P/k.jsonl.replies.jsonl" 2>/dev/null | wc -l)" = 11 ] && break; sleep 0.05; done
kill -9 $pid
wait $pid 2>/dev/null
kill -USR1 "$server"
check endpoint_killed tenet $ten --out "$P/k.jsonl"
if cmp -s <(sed "s,$url,,g" "$P/k.jsonl") <(sed 's,http://127.0.0.1:[0-9]*/v1,,g' "$P/a.jsonl") && [ "$(grep '^answered' "$P/stall" | sort | uniq -d | wc -l)" = 0 ] &&
    [ "$(grep -c '^answered' "$P/stall")" = "$(lines "$P/a.jsonl.replies.jsonl")" ]; then ok endpoint_killed_same_bytes; else fail endpoint_killed_same_bytes; fi
serve "$P/random" delay=60
ten="label --judge $url --judge-model longer --input $P/pairs.jsonl --judge-concurrency 4 $judge"
tenet $ten --out "$P/whole.jsonl" >/dev/null 2>&1
: >"$P/random"
kills=0
for i in $(seq 6); do
    "$TENET_BIN" $ten --out "$P/r.jsonl" >/dev/null 2>&1 &
    pid=$!
    sleep "0.0$((RANDOM % 10))$((RANDOM % 10))"
    kill -9 $pid 2>/dev/null && kills=$((kills + 1))
    wait $pid 2>/dev/null
done
check endpoint_killed_often tenet $ten --out "$P/r.jsonl"
twice=$(($(grep -c '^answered' "$P/random") - $(lines "$P/r.jsonl.replies.jsonl"))) # answered while nobody was left to write it down
if cmp -s "$P/r.jsonl" "$P/whole.jsonl" && cmp -s "$P/r.jsonl.report.json" "$P/whole.jsonl.report.json" && [ "$twice" -le $((4 * kills)) ] &&
    cmp -s <(sort "$P/r.jsonl.replies.jsonl") <(sort "$P/whole.jsonl.replies.jsonl"); then ok endpoint_killed_often_same_bytes; else fail "endpoint_killed_often_same_bytes: $twice twice"; fi
# stopped: what is under way is waited for and kept
"$TENET_BIN" $ten --out "$P/int.jsonl" >/dev/null 2>"$P/log" &
pid=$!
before=$(grep -c '^answered' "$P/random")
sleep 0.15
kill -TERM $pid
status=0
wait $pid || status=$?
if [ "$status" != 0 ] && [ $(($(grep -c '^answered' "$P/random") - before)) = "$(lines "$P/int.jsonl.replies.jsonl")" ] && [ "$(lines "$P/int.jsonl.replies.jsonl")" -gt 0 ]; then ok endpoint_interrupted; else fail "endpoint_interrupted: $status $(tail -n 1 "$P/log")"; fi
exit ${e2e_failed:-0}
