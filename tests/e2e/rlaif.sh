# AI feedback inside training loops, from outside, in the built-in world with its base model as the judge: judgements are those of
# `tenet label`, the same bytes after kill -9, for any threads and ranks; what is refused; a judge lowers harm.
. tests/e2e/lib.sh
J=$E2E_TMP/rlaif
mkdir -p "$J"
quiet() { "$@" >"$J/log" 2>&1; }
{
    tenet world config --out "$J/tiny" --hidden-size 32 --layers 1 --heads 2 --intermediate-size 48
    tenet world text --count 400 --out "$J/text.jsonl"
    tenet world prompts-rl --count 64 --out "$J/rl.jsonl"
    tenet pretrain --model "$J/tiny" --data "$J/text.jsonl" --output-dir "$J/base" --batch-tokens 2048 --max-steps 30 \
        --learning-rate 3e-3 --save-steps 0 --save-dtype float32
    tenet generate --model models/world --input "$J/rl.jsonl" --n 2 --max-new-tokens 24 --grouped --out "$J/own.jsonl"
    printf '{"prompt": "what is 1 + 1 ?"}\n' >"$J/sums.jsonl"
    cp -r prompts/world "$J/prompts"
    say='{{ bos_token }}{% for m in conversation %} {{ labels.user }} {{ m.content }}{% endfor %}'
    printf '%s\n' "$say {{ labels.critique }}" | tee "$J/prompts/reason.jinja" >"$J/prompts/assess.jinja"
    printf '%s\n' "$say {{ labels.assistant }} {{ answer }} {{ labels.answer }}" >"$J/prompts/score.jinja"
    printf '%s\n' "$say {{ labels.principle }} {{ principle }} {{ labels.options }} {{ labels.option_a }} {{ labels.open }} {{ 'no .' if swapped else answer }} {{ labels.close }} {{ labels.option_b }} {{ labels.open }} {{ answer if swapped else 'no .' }} {{ labels.close }} {{ reasoning }} {{ labels.answer }}" \
        >"$J/prompts/verdict.jinja"
} >"$J/log" 2>&1 || fail "rlaif_set_up: $(tail -n 1 "$J/log")"

ask="--constitution constitutions/world.json --kind-key family --dtype float32"
common="--learning-rate 1e-3 --seed 3 $ask"
rows="--data $J/own.jsonl"
tiny="--model $J/base $common"
# rounds: two steps to a sampling; the state of a batch between them has the judge's word
oaif="online-dpo $tiny $rows --judge models/world --prompts prompts/world --max-new-tokens 12 --num-generations 3 --per-device-train-batch-size 6
      --steps-per-generation 2 --max-steps 5 --judge-reward logit --soft-labels"
refer="rloo $tiny $rows --reward-judge models/world --judge-asks reference --prompts prompts/world --max-completion-length 12
       --per-device-train-batch-size 12 --num-iterations 2 --max-steps 5"
score="grpo $tiny $rows --reward-judge models/world --judge-asks score --prompts $J/prompts --principles 0 --max-completion-length 12
       --reward-funcs world --reward-weights 0.5 1 --per-device-train-batch-size 12 --num-generations 4 --max-steps 4"
verdict="reinforce $tiny $rows --reward-judge models/world --judge-asks verdict --judge-reward logit --prompts $J/prompts --thoughts 2
         --max-thought-tokens 6 --max-completion-length 12 --per-device-train-batch-size 6 --max-steps 4"
itself="rft --model models/world $common $rows --reward-judge policy --prompts prompts/world --max-new-tokens 12 --num-generations 3
        --per-device-train-batch-size 4 --max-steps 4"
ppo="ppo $tiny $rows --reward-judge models/world --judge-asks reference --judge-reward logit --prompts prompts/world --iterations 3 --rollouts 12
     --minibatch-size 6 --response-length 12 --num-ppo-epochs 2 --temperature 1"
nash="nash-md $tiny $rows --reward-judge models/world --judge-reward logit --prompts prompts/world --max-new-tokens 12
      --per-device-train-batch-size 6 --max-steps 4"

equal() { cmp -s "$1/metrics.jsonl" "$2/metrics.jsonl" && cmp -s "$1/samples.jsonl" "$2/samples.jsonl" && cmp -s "$1/model.safetensors" "$2/model.safetensors"; }
# survives NAME STEP: as in online.sh
survives() {
    local name=$1 step=$2 line=${!1} pid n=0
    # shellcheck disable=SC2086
    quiet tenet $line --output-dir "$J/$name" --save-steps 1 --save-total-limit 0 --log-samples 36 || fail "rlaif_$name: $(tail -n 1 "$J/log")"
    # shellcheck disable=SC2086
    "$TENET_BIN" $line --output-dir "$J/$name-cut" --save-steps 1 --threads 1 --save-total-limit 0 --log-samples 36 >"$J/log" 2>&1 &
    pid=$!
    while [ ! -d "$J/$name-cut/checkpoint-$step" ] && kill -0 $pid 2>/dev/null && [ $n -lt 600 ]; do sleep 0.02; n=$((n + 1)); done
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null
    for later in "$J/$name-cut"/checkpoint-*[0-9]; do [ -d "$later" ] && [ "${later##*-}" -gt "$step" ] && rm -rf "$later"; done
    # shellcheck disable=SC2086
    quiet tenet $line --output-dir "$J/$name-cut" --save-steps 1 --resume-from-checkpoint latest --threads 3 --log-samples 36 ||
        fail "rlaif_${name}_resume: $(tail -n 1 "$J/log")"
    if grep -q "continuing after step $step" "$J/log" && equal "$J/$name" "$J/$name-cut"; then ok "rlaif_${name}_kill_resume_threads"; else fail "rlaif_${name}_kill_resume_threads: other bits"; fi
}
survives oaif 3 # one of a sampling's two
survives refer 3
survives score 2
survives verdict 2
survives itself 2
survives nash 2
survives ppo 2
for name in oaif verdict; do
    # shellcheck disable=SC2086
    for n in 1 2; do
        quiet tenet ${!name} --output-dir "$J/$name-r$n" --save-steps 0 --log-samples 36 --grad-lanes 2 --ranks $n || fail "rlaif_${name}_ranks: $(tail -n 1 "$J/log")"
    done
    if equal "$J/$name-r1" "$J/$name-r2"; then ok "rlaif_${name}_ranks_same_bits"; else fail "rlaif_${name}_ranks_same_bits"; fi
done

# a pair's rewards are what `tenet label` says of it, all principles asked; the difference of two scores is the log-odds
grep -m 1 '"family":"harmful"' "$J/own.jsonl" >"$J/row"
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do cat "$J/row"; done >"$J/same.jsonl"
pair="online-dpo --model models/world $common --data $J/same.jsonl --judge models/world --prompts prompts/world --principles 0 --max-new-tokens 24
      --per-device-train-batch-size 16 --max-steps 1 --log-samples 32 --save-steps 0"
# shellcheck disable=SC2086
quiet tenet $pair --output-dir "$J/prob" && quiet tenet $pair --judge-reward logit --output-dir "$J/logit" || fail "rlaif_pairs: $(tail -n 1 "$J/log")"
rewards() { sed 's/.*"rewards\/judge": \([-0-9.e]*\),.*/\1/' "$1/samples.jsonl" | paste - -; }
sed 's/.*"response": "//; s/", "rewards.*//; s/ *<|end|>//' "$J/prob/samples.jsonl" | paste -d'|' - - | while IFS='|' read -r a b; do
    [ "$a" = "$b" ] || sed "s/\"responses\":\\[[^]]*\\]/\"responses\":[\"$a\",\"$b\"]/" "$J/row"
done >"$J/rows.jsonl"
# shellcheck disable=SC2086
quiet tenet label --model models/world --prompts prompts/world --principles 0 $ask --input "$J/rows.jsonl" --out "$J/labelled.jsonl" || fail "rlaif_label: $(tail -n 1 "$J/log")"
paste <(rewards "$J/prob") <(rewards "$J/logit") | awk '$1 != 0.5' >"$J/asked"
sed 's/.*"p":\([0-9.e-]*\),"labels.*/\1/' "$J/labelled.jsonl" >"$J/p"
if [ "$(wc -l <"$J/p")" -gt 5 ] && paste "$J/asked" "$J/p" | awk '{ bad += ($1 - $5) ^ 2 > 1e-18 || ($1 + $2 - 1) ^ 2 > 1e-18 || ($3 - $4 - log($5 / (1 - $5))) ^ 2 > 1e-12 } END { exit bad || NF != 5 }'; then
    ok rlaif_is_label
else
    fail "rlaif_is_label: $(paste "$J/asked" "$J/p" | head -n 3)"
fi
# near ties give no pair
# shellcheck disable=SC2086
quiet tenet $pair --min-reward-gap 0.2 --output-dir "$J/gap"
want=$(awk '($1 - $2) ^ 2 > 0.04 { n++ } END { print n / 16 }' "$J/asked")
got=$(sed -n 's/.*"frac_pairs": \([0-9.]*\),.*/\1/p' "$J/gap/metrics.jsonl")
if awk -v a="$want" -v b="$got" 'BEGIN { exit !(a > 0 && a < 1 && a - b < 1e-9 && b - a < 1e-9) }'; then ok rlaif_near_ties; else fail "rlaif_near_ties: $want and $got"; fi

# what a judge is for: a model that complies with everything stops to
{
    tenet world sft --mix helpful --count 1500 --out "$J/sft.jsonl"
    tenet world prompts-rl --first 1000 --count 2600 --out "$J/all.jsonl"
    grep -E '"family": "(harmful|privacy)"' "$J/all.jsonl" >"$J/red.jsonl"
    train="--micro-batch-tokens 2048 --adam-beta2 0.95 --warmup-steps 5 --save-steps 0 --save-dtype float32"
    # shellcheck disable=SC2086
    tenet sft --model models/world --data "$J/sft.jsonl" --output-dir "$J/helpful" --assistant-only-loss --batch-tokens 2048 --learning-rate 1e-3 $train
    # shellcheck disable=SC2086
    tenet online-dpo --model "$J/helpful" --data "$J/red.jsonl" --output-dir "$J/harmless" --judge models/world --prompts prompts/world $ask \
        --num-generations 4 --max-new-tokens 40 --temperature 1 --per-device-train-batch-size 16 --max-steps 40 --learning-rate 3e-4 \
        --min-reward-gap 0.1 $train
    tenet eval --world --models helpful="$J/helpful" harmless="$J/harmless" --count 320 --against helpful --out "$J/eval"
} >"$J/log" 2>&1 || fail "rlaif_world: $(tail -n 1 "$J/log")"
harm() { awk -v m="$1" '$1 == m { print $7 }' "$J/log"; }
if awk -v a="$(harm helpful)" -v b="$(harm harmless)" 'BEGIN { exit !(a > 0.7 && b < a - 0.3) }'; then ok "rlaif_lowers_harm ($(harm helpful) to $(harm harmless))"; else fail "rlaif_lowers_harm: $(harm helpful) $(harm harmless)"; fi

# self-reward: rounds that are killed at any instant end in the same bytes, threads or not
self=(self-reward --model models/world --data "$J/rl.jsonl" --prompts prompts/world --rounds 2 --num-generations 3 --max-new-tokens 24 --temperature 1
    --top-p 1 --truth world --per-device-train-batch-size 8 --num-train-epochs 2 --learning-rate 1e-4 --save-steps 1 --save-dtype float32 --seed 3)
# shellcheck disable=SC2206
self+=($ask)
trace() { (cd "$1" && find . -type f ! -name timing.jsonl ! -name tenet.json ! -name manifest.json ! -name .lock | LC_ALL=C sort | xargs cksum) 2>/dev/null; }
tenet "${self[@]}" --output-dir "$J/whole" >"$J/out" 2>"$J/log" || fail "rlaif_self: $(tail -n 1 "$J/log")"
trace "$J/whole" >"$J/want"
tenet "${self[@]}" --threads 1 --gen-batch-size 5 --output-dir "$J/one" >/dev/null 2>&1
trace "$J/one" | cmp -s - "$J/want" && [ -s "$J/want" ] && ok rlaif_self_threads || fail rlaif_self_threads
kills=0 tries=0
while [ $tries -lt 40 ]; do
    tries=$((tries + 1))
    "$TENET_BIN" "${self[@]}" --threads $((RANDOM % 2 + 1)) --output-dir "$J/killed" >/dev/null 2>"$J/log" &
    pid=$!
    if [ $tries -lt 10 ]; then
        sleep "0.$((RANDOM % 7))$((RANDOM % 9))"
        kill -KILL $pid 2>/dev/null
    fi
    status=0
    wait $pid 2>/dev/null || status=$?
    [ $status = 137 ] || break
    kills=$((kills + 1))
done
trace "$J/killed" | cmp -s - "$J/want" && [ $status = 0 ] && ok "rlaif_self_killed ($kills kills)" || fail "rlaif_self_killed: $kills kills, status $status: $(tail -n 1 "$J/log")"
# each round takes its part of the prompts; its judge and its start are the model before it
if [ "$(cat "$J/whole"/round-*/answers.jsonl | wc -l)" = 64 ] && [ "$(wc -l <"$J/whole/metrics.jsonl")" = 2 ] &&
    grep -q "\"model\": \"$J/whole/round-1/model\"" "$J/whole/round-2/model/tenet.json" && grep -q '"judge/accuracy"' "$J/whole/metrics.jsonl"; then
    ok rlaif_self_rounds
else
    fail "rlaif_self_rounds: $(cat "$J/out")"
fi
# chosen and rejected are the best and the worst of the answers
if sed 's/.*"score_chosen":\([-0-9.e]*\),"score_rejected":\([-0-9.e]*\).*/\1 \2/' "$J/whole/round-1/train.jsonl" >"$J/scores" &&
    sed 's/.*"rewards":\[\([^]]*\)\].*/\1/' "$J/whole/round-1/answers.jsonl" | tr ',' ' ' |
    awk '{ b = w = $1; for (i = 2; i <= NF; i++) { if ($i > b) b = $i; if ($i < w) w = $i } if (b > w) print b, w }' | cmp -s - "$J/scores"; then
    ok rlaif_self_best_and_worst
else
    fail rlaif_self_best_and_worst
fi
tenet "${self[@]}" --length-control 0.5 --output-dir "$J/short" >/dev/null 2>"$J/log" || fail "rlaif_self_short: $(tail -n 1 "$J/log")"
longer() { sed -n '1s/.*"chosen_longer": \([-0-9.e]*\),.*/\1/p' "$1/metrics.jsonl"; }
if cmp -s "$J/whole/round-1/answers.jsonl" "$J/short/round-1/answers.jsonl" &&
    awk -v a="$(longer "$J/whole")" -v b="$(longer "$J/short")" 'BEGIN { exit !(b < a) }'; then ok rlaif_self_length_control; else fail "rlaif_self_length_control: $(longer "$J/whole") $(longer "$J/short")"; fi
fails rlaif_self_other_options 1 "another --num-generations" tenet "${self[@]}" --num-generations 4 --output-dir "$J/whole"
fails rlaif_self_nothing 1 "would train on nothing" tenet "${self[@]}" --min-reward-gap 2 --output-dir "$J/nothing"
fails rlaif_self_rounds_of_none 2 "fewer than the" tenet "${self[@]}" --rounds 100 --output-dir "$J/x"

# refused
refused() {
    local name=$1 text=$2
    shift 2
    fails "rlaif_$name" 2 "$text" tenet "$@" --output-dir "$J/refused"
}
# shellcheck disable=SC2086
{
    refused alone "say reference, verdict or score" reinforce $tiny $rows --reward-judge models/world --num-generations 1
    refused ppo_each_other "say reference, verdict or score" ppo $tiny $rows --reward-judge models/world
    refused score_logit "a score from 1 to 10 has no log-odds" rloo $tiny $rows --reward-judge models/world --judge-asks score --judge-reward logit
    refused soft_prob "they are such with --judge-reward logit" online-dpo $tiny $rows --judge models/world --soft-labels
    refused soft_loss "reads the probability of a label" online-dpo $tiny $rows --judge models/world --judge-reward logit --soft-labels --loss-type hinge
    refused weights "1 weights for 2 rewards" rloo $tiny $rows --reward-judge models/world --reward-funcs world --reward-weights 1
    fails rlaif_no_reference 1 'compares with the row'"'"'s "responses"' tenet rloo $tiny --data "$J/rl.jsonl" --reward-judge models/world --judge-asks reference --dry-run
    fails rlaif_no_kind 1 '"family"' tenet rloo $tiny --data "$J/sums.jsonl" --reward-judge models/world --dry-run
    fails rlaif_no_template 2 "has no score.jinja" tenet rloo $tiny $rows --reward-judge models/world --judge-asks score --prompts prompts/world --max-completion-length 8 \
        --output-dir "$J/no-template"
}
exit ${e2e_failed:-0}
