# Every kind of reward model, trained and served: that it learns, what its folder says, who reads it and who refuses it.
# The rows are token ids whose meaning is known: 200 to 207 are what is judged, the others fill.
. tests/e2e/lib.sh
H=$E2E_TMP/heads
mkdir -p "$H"
quiet() { "$@" >"$H/log" 2>&1; }
must() { quiet "$@" || fail "heads_set_up: $* ($(tail -n 1 "$H/log"))"; }
last() { tail -n 1 "$H/log"; }
# value KEY DIR: of the last metrics entry that has it
value() { grep -o "\"$1\": [^,}]*" "$2/metrics.jsonl" | tail -n 1 | cut -d' ' -f2; }
# holds NAME CONDITION: an awk condition on numbers
holds() { if awk "BEGIN { exit !($2) }"; then ok "$1"; else fail "$1: not $2"; fi; }

must tenet world config --out "$H/tiny" --hidden-size 32 --layers 1 --heads 2 --intermediate-size 48
must tenet world text --count 400 --out "$H/text.jsonl"
must tenet world prompts-rl --count 64 --out "$H/rl.jsonl"
must tenet pretrain --model "$H/tiny" --data "$H/text.jsonl" --output-dir "$H/base" --batch-tokens 2048 --max-steps 8 \
    --learning-rate 3e-3 --save-steps 0 --save-dtype float32

# pairs SEED N BIAS: the chosen one has two tokens that are judged, the other none; with probability BIAS it is the longer one
pairs() {
    awk -v seed="$1" -v n="$2" -v bias="$3" 'function resp(len, good,   s, k) { s = ""
        for (k = 0; k < len; k++) s = s (k ? "," : "") (k < good ? 200 + int(rand() * 8) : 50 + int(rand() * 40)); return s }
    BEGIN { srand(seed); for (i = 0; i < n; i++) { a = 6 + int(rand() * 5); b = a + 2 + int(rand() * 6); long = rand() < bias
        c = resp(long ? b : a, 2); r = resp(long ? a : b, 0)
        printf "{\"prompt_ids\":[1,4,%d,%d,5],\"chosen_ids\":[%s],\"rejected_ids\":[%s]}\n", 100 + int(rand() * 90), 100 + int(rand() * 90), c, r } }'
}
# safety SEED N: a response with a token that is judged is unsafe; pairs of two safe or two unsafe ones, too
safety() {
    awk -v seed="$1" -v n="$2" 'function resp(bad,   s, k, n) { n = 6 + int(rand() * 6); s = ""
        for (k = 0; k < n; k++) s = s (k ? "," : "") (bad && k >= n - 2 ? 200 + int(rand() * 8) : 50 + int(rand() * 40)); return s }
    BEGIN { srand(seed); for (i = 0; i < n; i++) { j = i % 4; c = j == 3; r = j != 2
        printf "{\"prompt_ids\":[1,4,%d,5],\"chosen_ids\":[%s],\"rejected_ids\":[%s],\"chosen_safe\":%s,\"rejected_safe\":%s}\n",
            100 + int(rand() * 90), resp(c), resp(r), c ? "false" : "true", r ? "false" : "true" } }'
}
# steps SEED N: a step with tokens that are judged is wrong
steps() {
    awk -v seed="$1" -v n="$2" 'BEGIN { srand(seed); for (i = 0; i < n; i++) { m = 1 + int(rand() * 4); s = l = ""
        for (k = 0; k < m; k++) { bad = rand() < .4; s = s (k ? "," : "") "["; l = l (k ? "," : "") (bad ? "false" : "true")
            for (t = 0; t < 5; t++) s = s (bad && t >= 2 ? 200 + int(rand() * 8) : 50 + int(rand() * 40)) ","; s = s "7]" }
        printf "{\"prompt_ids\":[1,4,%d,5],\"step_ids\":[%s],\"labels\":[%s]}\n", 100 + int(rand() * 90), s, l } }'
}
pairs 1 512 0.75 >"$H/pairs.jsonl"
pairs 2 128 0.25 >"$H/held.jsonl"
safety 3 256 >"$H/safety.jsonl"
safety 4 128 >"$H/safety-held.jsonl"
steps 5 256 >"$H/steps.jsonl"
steps 6 128 >"$H/steps-held.jsonl"
common="--model $H/base --learning-rate 3e-3 --save-steps 0 --dtype float32 --save-dtype float32"

# ---- heads of their own ----
reward="reward $common --data $H/pairs.jsonl --eval-data $H/held.jsonl --per-device-train-batch-size 64 --max-steps 60"
# shellcheck disable=SC2086
{
    must tenet $reward --output-dir "$H/linear"
    must tenet $reward --head inform --ib-weight 0.001 --head-init 0.2 --output-dir "$H/inform"
    must tenet $reward --head inform --ib-weight 0.1 --head-init 0.2 --output-dir "$H/narrow"
    must tenet $reward --head odin --head-init 0.2 --output-dir "$H/odin"
    must tenet $reward --head ensemble --heads 4 --head-init 0.2 --output-dir "$H/many"
}
holds heads_inform_learns "$(value eval_accuracy "$H/inform") > 0.9"
holds heads_inform_price_of_information "$(value eval_latent_kl "$H/narrow") < $(value eval_latent_kl "$H/inform") / 4"
holds heads_odin_quality "$(value eval_accuracy_quality "$H/odin") > 0.85"
holds heads_odin_length "$(value length_correlation/length "$H/odin") > 0.7 && $(value length_correlation/quality "$H/odin")^2 < 0.09"
# what the folder gives to readers that know nothing of heads is what training evaluated: same mean, same accuracy
for head in linear inform odin many; do
    awk '{ match($0, /"prompt_ids":\[[^]]*\]/); p = substr($0, RSTART, RLENGTH)
        match($0, /"chosen_ids":\[[^]]*\]/); print "{" p ",\"ids\":" substr($0, RSTART + 13, RLENGTH - 13) "}"
        match($0, /"rejected_ids":\[[^]]*\]/); print "{" p ",\"ids\":" substr($0, RSTART + 15, RLENGTH - 15) "}" }' "$H/held.jsonl" >"$H/both.jsonl"
    must tenet score --model "$H/$head" --input "$H/both.jsonl" --dtype float32 --out "$H/scored.jsonl"
    mean=$(tr -d '\n' <"$H/$head/tenet.json" | grep -o '"score": *{[^}]*}' | grep -o '"mean": *[^,}]*' | grep -o '[-0-9.e]*$')
    agree=$(tr -d '\n' <"$H/$head/tenet.json" | grep -o '"calibration": *{[^}]*}' | grep -o '"accuracy": *[^,}]*' | grep -o '[-0-9.e]*$')
    got=$(grep -o '"score": [^,}]*' "$H/scored.jsonl" | cut -d' ' -f2 | awk '{ s += $1; if (NR % 2) c = $1; else won += c > $1 } END { printf "%.9g %.9g", s / NR, won / (NR / 2) }')
    holds "heads_${head}_served" "(${got% *} - ($mean))^2 < 1e-10 && ${got#* } == $agree"
done
grep -q reward_head "$H/inform/model.safetensors" && ! grep -q reward_head "$H/linear/model.safetensors" && ok heads_parts_are_saved || fail heads_parts_are_saved
# shellcheck disable=SC2086
{
    fails heads_inform_kwise 2 "leave --kwise out" tenet $reward --head inform --kwise --output-dir "$H/none"
    fails heads_odin_other_loss 2 "--reward-l2 belongs to --head linear" tenet $reward --head odin --reward-l2 0.1 --output-dir "$H/none"
    fails heads_inform_on_linear 1 "reward_head.mu.weight" tenet $reward --head inform --model "$H/linear" --output-dir "$H/none"
}

grpo="grpo --model $H/base --data $H/rl.jsonl --max-steps 1 --save-steps 0 --num-generations 4 --per-device-train-batch-size 8 --max-completion-length 12"

# ---- cost models ----
cost="cost $common --data $H/safety.jsonl --eval-data $H/safety-held.jsonl --per-device-train-batch-size 16 --max-steps 40"
# shellcheck disable=SC2086
must tenet $cost --output-dir "$H/cost"
holds heads_cost_learns "$(value eval_accuracy_sign "$H/cost") > 0.95 && $(value eval_accuracy "$H/cost") > 0.6"
check heads_cost_recorded grep -q '"kind": *"cost"' "$H/cost/tenet.json"
tr -d '\n ' <"$H/cost/tenet.json" | grep -q '"score":{"mean":0\.*0*,' && ok heads_cost_is_not_shifted || fail heads_cost_is_not_shifted
# shellcheck disable=SC2086
{
    fails heads_cost_is_no_reward 1 "is a cost model" tenet $grpo --reward-model "$H/cost" --output-dir "$H/none1"
    check heads_cost_with_negative_weight tenet $grpo --reward-model "$H/cost" --reward-weights -1 --output-dir "$H/grpo-cost"
    fails heads_cost_no_labels 1 '"chosen_safe" must be true or false' tenet $cost --data "$H/pairs.jsonl" --output-dir "$H/none"
}
fails heads_cost_ppo 1 "is a cost model" tenet ppo --model "$H/base" --data "$H/rl.jsonl" --reward-model "$H/cost" --iterations 1 --rollouts 8 \
    --minibatch-size 8 --output-dir "$H/none2"
printf '{"prompt":"what colour is the box ?","response_0":"no","response_1":"the box is red .","better_response_id":1,"safer_response_id":0,"is_response_0_safe":true,"is_response_1_safe":false}\n' >"$H/pku.jsonl"
quiet tenet cost --model "$H/base" --data "$H/pku.jsonl" --transcripts chat --dry-run && grep -q 'rank 1\] «no' "$H/log" &&
    quiet tenet reward --model "$H/base" --data "$H/pku.jsonl" --transcripts chat --dry-run && grep -q 'rank 1\] «the box' "$H/log" &&
    ok heads_pku_safe_rlhf || fail "heads_pku_safe_rlhf: $(last)"

# ---- process reward models ----
prm="prm $common --data $H/steps.jsonl --eval-data $H/steps-held.jsonl --per-device-train-batch-size 16 --max-steps 40"
# shellcheck disable=SC2086
must tenet $prm --output-dir "$H/prm"
holds heads_prm_learns "$(value eval_accuracy "$H/prm") > 0.95"
check heads_prm_class grep -q ForTokenClassification "$H/prm/config.json"
must tenet score --model "$H/prm" --input "$H/steps-held.jsonl" --out "$H/prm-all.jsonl"
must tenet score --model "$H/prm" --input "$H/steps-held.jsonl" --batch-size 1 --threads 1 --out "$H/prm-one.jsonl"
check heads_prm_score_any_batch cmp "$H/prm-all.jsonl" "$H/prm-one.jsonl"
right=$(paste "$H/steps-held.jsonl" "$H/prm-all.jsonl" | awk '{ match($0, /"labels":\[[^]]*\]/); split(substr($0, RSTART + 10, RLENGTH - 11), l, ",")
    match($0, /"steps": \[[^]]*\]/); n = split(substr($0, RSTART + 10, RLENGTH - 11), p, ","); for (i = 1; i <= n; i++) { all++; right += (p[i] > 0.5) == (l[i] == "true") } }
    END { printf "%.6f", right / all }')
holds heads_prm_score_is_the_evaluation "($right - $(value eval_accuracy "$H/prm"))^2 < 1e-6"
# shellcheck disable=SC2086
{
    fails heads_prm_bad_label 1 '"labels" must be a list of 1' tenet $prm --data <(echo '{"prompt_ids":[1,4],"step_ids":[[5,7]],"labels":[]}') --output-dir "$H/none"
    fails heads_prm_is_no_reward_model 1 "goes on from a language model" tenet $reward --model "$H/prm" --output-dir "$H/none"
    fails heads_prm_from_reward_model 1 "goes on from a language model" tenet $prm --model "$H/linear" --output-dir "$H/none"
    fails heads_prm_adapter 1 "is trained whole" tenet $prm --use-peft --output-dir "$H/none"
}

# as a reward in loops: what `tenet score` says of the same steps, which "a" separates here, wherever it is
# shellcheck disable=SC2086
must tenet $prm --step-separator a --output-dir "$H/prm-a"
for how in min product last; do
    # shellcheck disable=SC2086
    must tenet $grpo --max-completion-length 24 --dtype float32 --reward-model "$H/prm-a" --step-score $how --output-dir "$H/grpo-$how"
    awk '{ match($0, /"prompt": "[^"]*"/); p = substr($0, RSTART + 15, RLENGTH - 16); match($0, /"response": "[^"]*"/); r = substr($0, RSTART + 13, RLENGTH - 14)
        n = split(r, part, "a"); s = ""; for (i = 1; i <= n; i++) if (part[i] ~ /[^ ]/) s = s (s == "" ? "" : ",") "\"" part[i] "\""
        printf "{\"prompt\": \"%s\", \"completions\": [%s]}\n", p, s }' "$H/grpo-$how/samples.jsonl" >"$H/said.jsonl"
    must tenet score --model "$H/prm-a" --dtype float32 --input "$H/said.jsonl" --out "$H/said-scores.jsonl"
    bad=$(paste -d' ' <(grep -o '"rewards/prm-a": [^,]*' "$H/grpo-$how/samples.jsonl" | cut -d' ' -f2) \
        <(sed 's/.*"steps": \[.*[ [],*\([^], ]*\)\], "product": \([^,]*\), "min": \([^}]*\)}/\1 \2 \3/' "$H/said-scores.jsonl") |
        awk -v how=$how '{ n++; want = how == "last" ? $2 : how == "product" ? $3 : $4; d = $1 - want; if (d * d > 1e-24) print } END { if (n < 4) print n " rows" }')
    grep -q '", *"[^:]*", *"' "$H/said.jsonl" || bad="no response has several steps"
    if [ -z "$bad" ]; then ok "heads_prm_reward_$how"; else fail "heads_prm_reward_$how: $(echo "$bad" | head -n 1)"; fi
done
fails heads_prm_ppo 1 "is a process reward model" tenet ppo --model "$H/base" --data "$H/rl.jsonl" --reward-model "$H/prm" --iterations 1 --rollouts 8 \
    --minibatch-size 8 --critic policy --output-dir "$H/none2"

# the numbers of TRL's PRMTrainer (tools/dump_trl_prm.py), which rounds losses to four digits
must tenet prm --model models/world --dtype float32 --data tests/golden/trl_prm/rows.jsonl --head-init 0 --max-steps 20 --learning-rate 1e-3 \
    --per-device-train-batch-size 4 --lr-scheduler-type linear --max-length 48 --max-prompt-length 8 --train-sampling-strategy sequential \
    --logging-steps 1 --save-steps 0 --output-dir "$H/trl"
worst=$(grep -o '"loss": [^,]*, "grad_norm": [^,]*' "$H/trl/metrics.jsonl" | tr -d ',' | paste -d' ' - tests/golden/trl_prm/steps.txt |
    awk 'function abs(x) { return x < 0 ? -x : x } { n++; if (abs($2 - $5) > 6e-5) bad = 1; d = abs($4 / $6 - 1); if (d > w) w = d } END { print n == 20 && !bad ? w : "bad" }')
if awk -v w="$worst" 'BEGIN { exit !(w + 0 == w && w < 5e-6) }'; then ok "heads_prm_trl (gradient norms within $worst)"; else fail "heads_prm_trl: $worst"; fi

# ---- ensembles ----
# shellcheck disable=SC2086
{
    for how in mean worst uwo; do
        must tenet $grpo --reward-model "$H/linear" --reward-model "$H/inform" --ensemble $how --reward-funcs world --reward-weights 2 0.5 --output-dir "$H/ens-$how"
    done
    fails heads_ensemble_of_one 2 "--ensemble makes one score of 2" tenet $grpo --reward-model "$H/linear" --ensemble mean --output-dir "$H/none"
    fails heads_ensemble_weights 2 "2 weights for 1 rewards (the ensemble first)" tenet $grpo --reward-model "$H/linear" --reward-model "$H/inform" \
        --ensemble mean --reward-weights 1 2 --output-dir "$H/none"
}
for how in mean worst uwo; do
    bad=$(sed 's/.*"rewards\/linear": \([^,]*\), "rewards\/inform": \([^,]*\), "rewards\/ensemble": \([^,]*\), "rewards\/world": \([^,]*\), "reward": \([^,]*\),.*/\1 \2 \3 \4 \5/' "$H/ens-$how/samples.jsonl" |
        awk -v how=$how 'function abs(x) { return x < 0 ? -x : x } { m = ($1 + $2) / 2; d = ($1 - $2) / 2; want = how == "mean" ? m : how == "worst" ? ($1 < $2 ? $1 : $2) : m - 0.5 * d * d
            n++; if (abs($3 - want) > 1e-9 * (1 + abs(want)) || abs($5 - (2 * $3 + 0.5 * $4)) > 1e-9 * (1 + abs($5))) print }  END { if (!n) print "no samples" }')
    if [ -z "$bad" ]; then ok "heads_ensemble_$how"; else fail "heads_ensemble_$how: $(echo "$bad" | head -n 1)"; fi
done

# heads of one model, each on its own resample: members of an ensemble that costs one forward; its mean is the plain score
# shellcheck disable=SC2086
{
    for how in mean worst uwo; do
        must tenet $grpo --dtype float32 --reward-model "$H/many" --ensemble $how --output-dir "$H/many-$how"
    done
    must tenet $grpo --dtype float32 --reward-model "$H/many" --ensemble uwo --ranks 2 --grad-lanes 2 --output-dir "$H/many-ranks"
}
holds heads_many_learn "$(value eval_accuracy "$H/many") > 0.9 && $(value eval_heads_std "$H/many") > 0.01"
for how in mean worst uwo; do
    bad=$(grep -o '"rewards/many": [^,]*, "rewards/ensemble": [^,]*' "$H/many-$how/samples.jsonl" | tr -d ',' |
        awk -v how=$how '{ n++; d = $2 - $4; if (how == "mean" ? d * d > 1e-10 : d <= 1e-6) print } END { if (n < 4) print "no samples" }')
    if [ -z "$bad" ]; then ok "heads_many_$how"; else fail "heads_many_$how: $(echo "$bad" | head -n 1)"; fi
done
check heads_many_any_ranks cmp <(grep -o '"rewards/[^,]*' "$H/many-uwo/samples.jsonl") <(grep -o '"rewards/[^,]*' "$H/many-ranks/samples.jsonl")

# the same in PPO, whose critic starts from the folder, too
# shellcheck disable=SC2086
ppo="ppo --model $H/base --data $H/rl.jsonl --dtype float32 --iterations 4 --rollouts 8 --minibatch-size 8 --response-length 8
    --learning-rate 1e-3 --save-steps 2 --save-total-limit 0 --threads 1 --seed 4"
# shellcheck disable=SC2086
{
    fails heads_ppo_ensemble_of_one 2 "--ensemble makes one score of 2" tenet $ppo --reward-model "$H/linear" --ensemble worst --output-dir "$H/none3"
    ppo="$ppo --reward-model $H/many"
    for how in mean worst uwo; do must tenet $ppo --ensemble $how --output-dir "$H/ppo-$how"; done
    must tenet $ppo --output-dir "$H/ppo-plain"
    cp -r "$H/ppo-uwo/checkpoint-2" "$H/ppo-cut"
    must tenet $ppo --ensemble uwo --output-dir "$H/ppo-resumed" --resume-from-checkpoint "$H/ppo-cut"
    fails heads_ppo_shaped_heads 2 "leave one of them out" tenet $ppo --ensemble worst --reward-shaping sigmoid --output-dir "$H/none3"
    fails heads_grpo_shaped_heads 2 "leave one of them out" tenet $grpo --reward-model "$H/many" --ensemble worst --reward-shaping sigmoid --output-dir "$H/none3"
}
first() { sed -n 1p "$2/metrics.jsonl" | grep -o "\"$1\": [^,}]*" | cut -d' ' -f2; }
holds heads_ppo_mean "($(first objective/raw_scores "$H/ppo-mean") - ($(first objective/raw_scores "$H/ppo-plain")))^2 < 1e-8"
holds heads_ppo_worst "$(first objective/raw_scores "$H/ppo-worst") < $(first objective/raw_scores "$H/ppo-mean") - 1e-3 && $(first ensemble/std "$H/ppo-worst") > 1e-3"
holds heads_ppo_uwo "$(first objective/raw_scores "$H/ppo-uwo") < $(first objective/raw_scores "$H/ppo-mean") - 1e-6"
check heads_ppo_resumes cmp "$H/ppo-uwo/model.safetensors" "$H/ppo-resumed/model.safetensors"

# what shaping makes of each model is what an ensemble combines: two times one model is that model, shaped
# shellcheck disable=SC2086
grpo="$grpo --dtype float32 --learning-rate 1e-3"
{
    must tenet $grpo --reward-model "$H/linear" --reward-shaping sigmoid --length-penalty 0.1 --output-dir "$H/shaped-one"
    must tenet $grpo --reward-model "$H/linear" --reward-model "$H/linear" --ensemble worst --reward-shaping sigmoid --length-penalty 0.1 --output-dir "$H/shaped-two"
    must tenet $grpo --reward-model "$H/linear" --output-dir "$H/unshaped"
}
check heads_ensemble_is_of_shaped_scores cmp "$H/shaped-one/model.safetensors" "$H/shaped-two/model.safetensors"
cmp -s "$H/shaped-one/model.safetensors" "$H/unshaped/model.safetensors" && fail heads_shaping_matters || ok heads_shaping_matters

# calibration of a reward model on labelled pairs
quiet tenet eval --input "$H/rl.jsonl" --count 4 --models base="$H/base" --reward-model "$H/linear" --pairs "$H/held.jsonl" --max-new-tokens 4 --out "$H/eval" &&
    tr -d '\n ' <"$H/eval/eval.json" | grep -q '"calibration":{"pairs":128,"accuracy":[^,]*,"ece":' && ok heads_eval_calibration || fail "heads_eval_calibration: $(last)"
