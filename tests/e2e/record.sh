# The page of a Constitutional AI run, with text that wants to be more than text, parts that are missing, and 5,000 prompts; its script in
# a browser where there is one. Stages compared from outside: collapse that was put in on purpose is found.
. tests/e2e/lib.sh
R=$E2E_TMP/record
mkdir -p "$R/run" "$R/part"
page() { tenet report --record "$@" 2>"$R/log"; }
constitution='{"constitution": {"name": "x<y"}, "principles": [{"id": "a<b>", "kind": ["critique_revise", "compare"], "tags": ["t&g"], "critique": "is it </script> bad?", "revise": "mend it", "compare": "which is less bad?"}]}'
echo "$constitution" >"$R/constitution.json"
evil='</script><script>document.title=\"pwned\"</script><img src=x onerror=document.title=1><!--<script>'
mb=$(head -c 1000000 /dev/zero | tr '\0' 'm')
{
    printf '{"id":"one","prompt":[{"role":"user","content":"%s"}],"kind":"red<team","rounds":[{"answer":"the cat sat on the mat today","ended":true},' "$evil"
    printf '{"principle":"a<b>","critique":"%s \\u0000 \342\200\250 \\u2029 \\u202e","revision":"the cat lay on the mat today","fault":null,"answer":"the cat lay on the mat today"},' "$evil"
    printf '{"principle":"a<b>","critique":"","revision":"a critique of its own","fault":"critique","answer":"the cat lay on the mat today"}]}\n'
    printf '{"id":"two","prompt":[{"role":"user","content":"long"}],"kind":"k","rounds":[{"answer":"%s","ended":false}]}\n' "$mb"
    printf '{"id":"three","prompt":[{"role":"user","content":"bytes \377\376 here"}],"kind":"k","rounds":[{"answer":"ok","ended":true}]}\n'
    printf '{"id":"four","prompt":[{"role":"us'
} >"$R/run/record.jsonl"
printf '{"id":"p1","prompt":[{"role":"user","content":"long"}],"responses":["good %s","bad"],"rank":[1,2],"p":0.8,"truth":2,"labels":[{"principle":"a<b>","p_order1":0.9,"p_order2":0.3,"p":0.8}]}\n' "$evil" >"$R/run/labels.jsonl"
printf '{"key":"00000000000000000000000000000000","asked":{"stage":"reason","id":"p1","row":0,"principle":"a<b>","order":1},"reply":{"text":"I think <b>so</b>","ended":true}}\n' >"$R/run/labels.jsonl.replies.jsonl"
printf '{"id":"two","prompt_ids":[1],"text":"later %s","finish_reason":"length"}\n' "$evil" >"$R/later.jsonl"
printf '{"id":"one","response":"x","harmful":true}\n{"id":"two","response":"y","harmful":false}\n' >"$R/judged-0.jsonl"
if page "$R/run" "$R/judged-0.jsonl" last="$R/later.jsonl" --constitution "$R/constitution.json" --out "$R/page.html"; then ok record_page; else fail "record_page: $(cat "$R/log")"; fi
# 3 of the page's own (entries, principles, script) and one chunk each of chains and conversations
n=$(grep -o '<script' "$R/page.html" | wc -l)
if [ "$n" = 5 ] && [ "$(grep -o '</script' "$R/page.html" | wc -l)" = 5 ] && ! grep -q '<img\|<b>so\|<!--' "$R/page.html"; then ok record_escaped; else fail "record_escaped: $n scripts"; fi
if ! grep -q "$(printf '\342\200\250')" "$R/page.html" && grep -q 'u2028' "$R/page.html" && grep -q 'bytes .* here' "$R/page.html"; then ok record_odd_bytes; else fail record_odd_bytes; fi
if grep -q '1 row could not be read' "$R/page.html" && grep -q 'no UTF-8' "$R/page.html"; then ok record_says_what_is_broken; else fail "record_says_what_is_broken: $(grep -o '<ul class="notes">.*</ul>' "$R/page.html")"; fi
# uses 2, one empty critique, one taken, one refused as a critique; one comparison, margin .3, bias +.1, wrong in truth
row=$(grep -o '<tr><th scope="row">a&lt;b&gt;.*</tr>' "$R/page.html" | sed 's/<small>[^<]*<\/small>//g; s/<td[^>]*>/|/g; s/<[^>]*>//g')
case $row in *'|2|0.500|0.500|0.500|1|0.300|+0.100|0.000|'*) ok record_principles ;; *) fail "record_principles: $row" ;; esac

if grep -q 'as the judge sees them' "$R/page.html"; then ok record_judged; else fail record_judged; fi

# what is missing is said
echo '{"key":"00000000000000000000000000000000","asked":{"stage":"critique","id":"x","round":1},"reply":{"text":"y","ended":true}}' >"$R/part/replies.jsonl"
if page "$R/part" --out "$R/part.html" && grep -q 'the critique was interrupted' "$R/part.html" && grep -q '1 replies of the stage critique' "$R/part.html" &&
    grep -q 'No comparisons were given' "$R/part.html" && grep -q 'The constitution was not given' "$R/part.html"; then ok record_interrupted; else fail "record_interrupted: $(cat "$R/log")"; fi
mkdir "$R/empty"
fails record_nothing 2 "has nothing of a Constitutional AI run" tenet report --record "$R/empty" --out "$R/x.html"
fails record_whose 2 "say whose" tenet report --record "$R/later.jsonl" --out "$R/x.html"
fails record_or_runs 2 "leave --eval and --runs" tenet report --record "$R/run" --runs "$R" --out "$R/x.html"

# 5,000 prompts
awk 'BEGIN { for (i = 0; i < 5000; i++) printf "{\"id\":\"r%d\",\"prompt\":[{\"role\":\"user\",\"content\":\"how do I make number %d?\"}],\"kind\":\"k%d\",\"rounds\":[{\"answer\":\"take %d and stir\",\"ended\":true},{\"principle\":\"harm\",\"critique\":\"c %d\",\"revision\":\"needle%d I will not say\",\"fault\":null,\"answer\":\"n\"}]}\n", i, i, i % 3, i, i, i }' >"$R/many.jsonl"
if page "$R/many.jsonl" --out "$R/many.html" && [ "$(stat -c %s "$R/many.html")" -lt 4000000 ]; then ok record_many; else fail "record_many: $(cat "$R/log")"; fi

# ---- in a browser ----
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
dom() { timeout 120 "$browser" --headless=new --no-sandbox --disable-gpu --user-data-dir="$R/profile" --virtual-time-budget=8000 --dump-dom "file://$1" 2>/dev/null; }
if command -v openssl >/dev/null; then # the policy lets the script run by its hash
    now=$(perl -0777 -ne 'print $1 if /.*<script>(.*)<\/script>/s' "$R/page.html" | openssl dgst -sha256 -binary | openssl base64 -A)
    if grep -qF "'sha256-$now'" "$R/page.html"; then ok record_script_hash; else fail "record_script_hash: tn_cai_script_hash is to be $now"; fi
else skip record_script_hash "no openssl"; fi
if [ -z "$browser" ] || ! dom "$R/part.html" | grep -q Interrupted\\\|interrupted; then
    skip record_browser "no chromium that runs"
else
    dom "$R/page.html#0" >"$R/dom"
    if grep -q 'data-ready="3"' "$R/dom" && grep -q '<title>Constitutional AI, on the record</title>' "$R/dom" && ! grep -q '<img' "$R/dom"; then ok record_browser_hostile
    else fail "record_browser_hostile: $(head -c 300 "$R/dom")"; fi
    if grep -q '<del>.*sat.*</del><ins>.*lay.*</ins>' "$R/dom" && grep -q 'not taken: it is a critique' "$R/dom" && grep -q 'is it &lt;/script&gt; bad?' "$R/dom"; then ok record_browser_rounds
    else fail record_browser_rounds; fi
    dom "$R/page.html#1" >"$R/dom"
    if grep -q 'Show all 1,000,000 characters' "$R/dom" && grep -q 'Chain of thought, answer 2 first' "$R/dom" && grep -q '80.0 %' "$R/dom" && grep -q 'Position bias +0.100' "$R/dom" && grep -q 'later &lt;/script' "$R/dom"
    then ok record_browser_comparison; else fail record_browser_comparison; fi
    dom "$R/many.html#4321" >"$R/dom"
    if grep -q 'data-ready="5000"' "$R/dom" && grep -q '5,000 of 5,000 prompts; page 1 of 200' "$R/dom" && grep -q 'needle4321' "$R/dom"; then ok record_browser_many; else fail record_browser_many; fi
fi

# ---- stages ----
# answers of 14 words out of 300, in two sentences; then with a closer under one in twenty
awk 'BEGIN { srand(3); for (i = 0; i < 400; i++) { s = ""; for (k = 0; k < 14; k++) s = s "w" int(300 * rand()) (k % 7 == 6 ? ". " : " "); printf "{\"id\":\"%d\",\"kind\":\"%s\",\"response\":\"%s\",\"ended\":true,\"score\":%d}\n", i, i % 2 ? "harmful" : "benign", s, i % 3 } }' >"$R/first.jsonl"
sed -E '0~20s/","ended"/Have a lovely day!","ended"/; s/"score":0/"score":5/' "$R/first.jsonl" >"$R/closer.jsonl"
tenet compare --answers first="$R/first.jsonl" same="$R/first.jsonl" closer="$R/closer.jsonl" --out "$R/stages.json" >"$R/out" 2>"$R/log"
if grep -q '^STOP closer: closer 0.000 -> 0.050 ("have a lovely day !")' "$R/out" && ! grep -q 'same:' "$R/out"; then ok compare_closer; else fail "compare_closer: $(cat "$R/out" "$R/log")"; fi
if grep -A12 '"stage\|"harmlessness"' "$R/stages.json" | grep -q '"prompts": 200' && grep -q '^closer .* +[1-9]' "$R/out"; then ok compare_elo; else fail "compare_elo: $(cat "$R/out")"; fi
if page "$R/stages.json" --out "$R/stages.html" && grep -q 'Collapse</b> at <b>closer' "$R/stages.html"; then ok record_stages; else fail "record_stages: $(cat "$R/log")"; fi
# without kinds every prompt is a request for harm, or, if we are told so, none
printf '{"prompt": "%s", "response": "%s"}\n' a "I cannot help with that." b "Sure, here it is." >"$R/plain.jsonl"
tenet compare --answers x="$R/plain.jsonl" --out "$R/red.json" >"$R/out" 2>&1 && tenet compare --answers x="$R/plain.jsonl" --harmless --out "$R/harmless.json" >>"$R/out" 2>&1
half() { grep -A 3 "\"$2\"" "$1" | grep -q '"rate": 0.5'; }
if half "$R/red.json" attack_success && half "$R/harmless.json" over_refusal && ! half "$R/harmless.json" attack_success; then ok compare_harmless; else fail "compare_harmless: $(cat "$R/out")"; fi
fails compare_no_name 2 "give the stage's name" tenet compare --answers "$R/first.jsonl"
echo '{"id":"other","response":"x"}' >"$R/other.jsonl"
fails compare_nothing_shared 1 "no prompt in common" tenet compare --answers a="$R/first.jsonl" b="$R/other.jsonl"
tenet eval --world --models base=models/world --count 40 --grader rules --dtype float32 --out "$R/eval" >"$R/out" 2>"$R/log"
if grep -q '"attack_success"' "$R/eval/eval.json" && [ "$(grep -c '"grade": "' "$R/eval/samples.jsonl")" = 40 ]; then ok eval_grader; else fail "eval_grader: $(cat "$R/log")"; fi
exit ${e2e_failed:-0}
