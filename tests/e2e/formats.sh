# Rows of public data sets as they are: verbs that read them, and accuracies of verifiable rewards.
. tests/e2e/lib.sh
F=$E2E_TMP/formats
mkdir -p "$F"
quiet() { "$@" >"$F/log" 2>&1; }
last() { tail -n 1 "$F/log"; }
run="--model models/world --transcripts chat --max-steps 1 --save-steps 0 --per-device-train-batch-size 2"
rows() { # NAME VERB OPTIONS: rows on standard input go through one step of VERB
    local name=$1 verb=$2
    shift 2
    cat >"$F/$name.jsonl"
    # shellcheck disable=SC2086
    if quiet tenet "$verb" $run --data "$F/$name.jsonl" --output-dir "$F/$name" "$@"; then ok "formats_$name"; else fail "formats_$name: $(last)"; fi
}
rows alpaca sft <<'E'
{"instruction":"how big ?","input":"","output":"tiny ."}
{"instruction":"how big ?","input":"the box .","output":"large ."}
E
rows ultrafeedback orpo <<'E'
{"prompt":"how big ?","chosen":[{"role":"user","content":"how big ?"},{"role":"assistant","content":"tiny ."}],"rejected":[{"role":"user","content":"how big ?"},{"role":"assistant","content":"large ."}]}
E
rows alpacaeval kto <<'E'
{"instruction":"how big ?","output_1":"tiny .","output_2":"large .","preference":2}
{"instruction":"how big ?","output_1":"tiny .","output_2":"large .","preference":1.5}
E
check formats_alpacaeval_draw grep -q 'dropped 1: no two different answers' "$F/log"
rows diasafety cost <<'E'
{"context":"how big ?","response":"tiny .","label":"Safe"}
{"context":"how big ?","response":"large .","label":"Unsafe"}
{"context":"how big ?","response":"huge .","label":"Unsafe"}
E
check formats_cost_signs grep -q '"accuracy_sign"' "$F/diasafety/metrics.jsonl"
rows svamp grpo --reward-funcs number:Answer --max-completion-length 4 --num-generations 2 <<'E'
{"Body":"how big ?","Question":"is it red ?","Answer":2.0}
E

# questions as they are, sampled from and made pairs of (the second verb finds no right answer to them here, and says so)
tenet generate --model models/world --input "$F/svamp.jsonl" --max-new-tokens 4 --transcripts chat --out "$F/chat.jsonl" 2>/dev/null
tenet generate --model models/world --input "$F/svamp.jsonl" --max-new-tokens 4 --out "$F/plain.jsonl" 2>/dev/null
ids() { grep -o '"prompt_ids": *\[[^]]*\]' "$1"; }
check formats_generate test "$(ids "$F/plain.jsonl" | tr ',' '\n' | wc -l)" -gt 3
check formats_generate_chat test "$(ids "$F/chat.jsonl" | tr ',' '\n' | wc -l)" = "$(($(ids "$F/plain.jsonl" | tr ',' '\n' | wc -l) + 2))"
quiet tenet step-pairs --model models/world --input "$F/svamp.jsonl" --transcripts chat --pairs answer --localise world --verify number:Answer \
    --n 2 --tries 1 --max-new-tokens 4 --out "$F/pairs.jsonl"
check formats_step_pairs test -e "$F/pairs.jsonl"

# an accuracy is the share of answers that the function takes: half of these rows have the greedy answer as theirs
ask="--models base=models/world --transcripts chat --temperature 0 --max-new-tokens 8"
question() { echo "{\"question\":\"$1\",\"answer\":$2}"; }
asked=("how big ?" "is it red ?" "who made it ?" "where is it ?")
# shellcheck disable=SC2086
{
    for q in "${asked[@]}"; do question "$q" '"none"'; done >"$F/ask.jsonl"
    quiet tenet eval $ask --input "$F/ask.jsonl" --reward-funcs exact_match:answer --out "$F/first" || fail "formats_eval_set_up: $(last)"
    check formats_eval_none grep -q '"exact_match:answer": 0' "$F/first/samples.jsonl"
    for i in 0 1 2 3; do
        answer=$(sed -n "$((i + 1))s/.*{\"base\": {\"text\": \(\"[^\"]*\"\).*/\1/p" "$F/first/samples.jsonl")
        question "${asked[i]}" "$([ $i -lt 2 ] && echo "$answer" || echo '"none"')"
    done >"$F/half.jsonl"
    quiet tenet eval $ask --input "$F/half.jsonl" --reward-funcs exact_match:answer soft_overlong_punishment:4 --out "$F/half" || fail "formats_eval_set_up: $(last)"
    check formats_eval_samples test "$(grep -c '"exact_match:answer": 1' "$F/half/samples.jsonl")" = 2
    tr -d ' \n' <"$F/half/eval.json" >"$F/flat"
    check formats_eval_mean grep -q '"exact_match:answer":{"mean":0.5,' "$F/flat"
    check formats_eval_interval grep -q '"exact_match:answer":{[^}]*"lo":0.15[^}]*"hi":0.84[^}]*"n":4' "$F/flat"
    fails formats_eval_field 2 'none of the 4 rows of --input has the field "result"' tenet eval $ask --input "$F/ask.jsonl" --reward-funcs number:result --out "$F/none"
    fails formats_eval_function 2 "did you mean 'number'" tenet eval $ask --input "$F/ask.jsonl" --reward-funcs numbers:answer --out "$F/none"
    quiet tenet eval $ask --input "$F/ask.jsonl" --cost-model "$F/diasafety" --out "$F/cost" || fail "formats_eval_cost: $(last)"
    # shellcheck disable=SC2046
    set -- $(grep -o '"cost": [^,}]*' "$F/cost/samples.jsonl" | awk '{ s += $2; n += $2 > 0 } END { print NR, s / NR, n }')
    tr -d ' \n' <"$F/cost/eval.json" >"$F/flat"
    mean=$(grep -o '"cost":{"mean":[^,]*' "$F/flat" | cut -d: -f3)
    if [ "$1" = 4 ] && awk "BEGIN { d = $2 - ($mean); exit d * d > 1e-10 }"; then ok formats_eval_cost; else fail "formats_eval_cost: $* $mean"; fi
    check formats_eval_unsafe grep -q "\"unsafe\":{\"k\":$3,\"n\":4" "$F/flat"
    fails formats_eval_no_cost 2 "is no cost model" tenet eval $ask --input "$F/ask.jsonl" --cost-model tests/golden/model/llama-score --out "$F/none"
    fails formats_eval_world 2 "judged by its oracle" tenet eval --world --models base=models/world --reward-funcs number:answer --out "$F/none"
    fails formats_eval_greedy_kl 2 "draws none" tenet eval $ask --input "$F/ask.jsonl" --ref-model models/world --out "$F/none"
}
