# What PPO can do beside plain PPO, from outside, in the built-in world with a tiny model: macro actions, a cost model with
# its multiplier, shaped scores, several reward models, alarms. Each ends in the same bytes after kill -9 with other
# threads; what must be the same as plain PPO is, bit for bit.
. tests/e2e/lib.sh
O=$E2E_TMP/ppo
mkdir -p "$O"
tenet world config --out "$O/tiny" --hidden-size 32 --layers 1 --heads 2 --intermediate-size 48 2>/dev/null
tenet world text --count 400 --out "$O/text.jsonl"
tenet world prompts-pref --count 24 --out "$O/pref.jsonl"
tenet world prompts-rl --count 64 --out "$O/rl.jsonl"
last() { tail -n 1 "$O/log"; }
{
    tenet pretrain --model "$O/tiny" --data "$O/text.jsonl" --output-dir "$O/base" --batch-tokens 2048 --max-steps 8 \
        --learning-rate 3e-3 --save-steps 0 --save-dtype float32
    tenet generate --model "$O/base" --input "$O/pref.jsonl" --n 4 --max-new-tokens 12 --out "$O/samples.jsonl"
    tenet world rank --input "$O/samples.jsonl" --annotator careful --out "$O/rank.jsonl"
    for seed in 1 2 3; do
        tenet reward --model "$O/base" --data "$O/rank.jsonl" --kwise --output-dir "$O/rm$seed" --max-steps 3 --seed $seed \
            --save-steps 0 --save-dtype float32
    done
} >"$O/log" 2>&1 || fail "ppo_set_up: $(last)"

plain="ppo --model $O/base --reward-model $O/rm1 --data $O/rl.jsonl --iterations 6 --rollouts 12 --minibatch-size 6
       --response-length 12 --num-ppo-epochs 2 --temperature 1 --learning-rate 3e-3 --seed 3"
# run NAME ARGUMENTS...: plain PPO with more options, into $O/NAME
run() {
    local name=$1
    shift
    # shellcheck disable=SC2086
    tenet $plain --output-dir "$O/$name" --save-steps 3 --save-total-limit 0 "$@" >"$O/log" 2>&1 || { fail "ppo_$name: $(last)"; return 1; }
}
same() { cmp -s "$O/$1/model.safetensors" "$O/$2/model.safetensors" && cmp -s "$O/$1/checkpoint-3/critic/model.safetensors" "$O/$2/checkpoint-3/critic/model.safetensors"; }
differ() { [ -e "$O/$2/model.safetensors" ] && ! cmp -s "$O/$1/model.safetensors" "$O/$2/model.safetensors"; }

run plain
# actions of one token are PPO, with the authors' losses and with the paper's
run one --macro-action fixed --macro-length 1 --whiten-advantages
run one_joint --macro-action fixed --macro-length 1 --macro-loss macro
same plain one && same plain one_joint && ok ppo_macros_of_one_token || fail ppo_macros_of_one_token
run fixed --macro-action fixed --macro-length 3
run fixed_joint --macro-action fixed --macro-length 3 --macro-loss macro
differ plain fixed && differ fixed fixed_joint && ok ppo_macros_matter || fail ppo_macros_matter
if grep -q '"macro/number": 4, "macro/length": 3,' "$O/fixed/metrics.jsonl"; then ok ppo_macro_metrics; else fail ppo_macro_metrics; fi
for rule in random perplexity parse fixed_code perplexity_code; do
    run "$rule" --macro-action $rule --macro-length 3 && differ plain "$rule" && ok "ppo_macro_$rule" || fail "ppo_macro_$rule"
done

# survives NAME ARGUMENTS...: killed with -9 once checkpoint-3 is there, the run goes on with other threads to the same bytes
survives() {
    local name=$1 n=0 pid later
    shift
    run "$name" "$@" || return
    # shellcheck disable=SC2086
    "$TENET_BIN" $plain --output-dir "$O/$name-cut" --save-steps 3 --save-total-limit 0 --threads 1 "$@" >"$O/log" 2>&1 &
    pid=$!
    while [ ! -d "$O/$name-cut/checkpoint-3" ] && kill -0 $pid 2>/dev/null && [ $n -lt 600 ]; do sleep 0.02; n=$((n + 1)); done
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null
    for later in "$O/$name-cut"/checkpoint-*[0-9]; do [ "${later##*-}" -gt 3 ] && rm -rf "$later"; done
    # shellcheck disable=SC2086
    tenet $plain --output-dir "$O/$name-cut" --save-steps 3 --save-total-limit 0 --threads 3 "$@" --resume-from-checkpoint latest >"$O/log" 2>&1 ||
        fail "ppo_${name}_resume: $(last)"
    local file
    for file in model.safetensors metrics.jsonl samples.jsonl alarms.jsonl trainer_state.json checkpoint-6/optimizer/model.safetensors \
        checkpoint-6/critic/model.safetensors checkpoint-6/cost-critic/model.safetensors checkpoint-6/cost-critic/optimizer/model.safetensors; do
        [ -e "$O/$name/$file" ] || [ -e "$O/$name-cut/$file" ] || continue
        cmp -s "$O/$name/$file" "$O/$name-cut/$file" || { fail "ppo_${name}_kill_resume_threads: $file"; return; }
    done
    if grep -q "continuing after step 3" "$O/log"; then ok "ppo_${name}_kill_resume_threads"; else fail "ppo_${name}_kill_resume_threads: not cut"; fi
}
survives macro --macro-action random --macro-loss macro --macro-value position
survives safe --cost-model "$O/rm2" --lambda-window 16 --lambda-delay 1 --macro-action perplexity
survives priced --cost-model "$O/rm2" --cost-weight 0.5
survives shaped --reward-shaping par --reference-answers 2
survives running --reward-shaping minmax --length-penalty 0.1 --length-penalty-free 3
survives ensemble --reward-model "$O/rm1" "$O/rm2" "$O/rm3" --ensemble uwo --reward-shaping lsc --reference-answers 3
differ plain macro && differ plain safe && differ plain priced && differ plain shaped && differ plain running && differ plain ensemble &&
    ok ppo_options_matter || fail ppo_options_matter

# the multiplier follows the costs: it stands still during its delay, and is bounded
lambdas=$(sed 's/.*"safe\/lambda": \([0-9.]*\).*/\1/' "$O/safe/metrics.jsonl" | tr '\n' ' ')
cost=$(sed 's/.*"safe\/episode_cost": \([-0-9.]*\).*/\1/' "$O/safe/metrics.jsonl" | sed -n 2p)
if echo "$lambdas" | awk -v c="$cost" '{ exit !($1 == 1 && ($2 - 1) * c > 0) }'; then ok ppo_lambda_follows_cost; else fail "ppo_lambda_follows_cost: $lambdas, cost $cost"; fi
run high --cost-model "$O/rm2" --cost-threshold -100 --lambda-max 1.5 --lambda-lr 0.01
if tail -n 1 "$O/high/metrics.jsonl" | grep -q '"safe/lambda": 1\.\(5,\|4999\|50000\)'; then ok ppo_lambda_bounded; else fail "ppo_lambda_bounded: $(grep -o '"safe/lambda[^,]*' "$O/high/metrics.jsonl" | tail -n 1)"; fi
# near FILE FILE KEY...: the numbers of those keys within a thousandth
near() {
    local a=$1 b=$2 key
    shift 2
    for key in "$@"; do
        paste <(sed "s|.*\"$key\": \([-0-9.e]*\).*|\1|" "$a") <(sed "s|.*\"$key\": \([-0-9.e]*\).*|\1|" "$b") |
            awk '{ d = $1 - $2; if (d < 0) d = -d; if (NF != 2 || d > 1e-3) exit 1; n++ } END { exit !(n > 1) }' || return 1
    done
}
# where nothing is charged for costs the rewards are learnt as ever, but for their last bits
run reward_alone --dtype float32 --cost-model "$O/rm2" --cost-weight 0
run lambda_zero --dtype float32 --cost-model "$O/rm2" --lambda-init 1e-9 --lambda-lr 0
near "$O/reward_alone/metrics.jsonl" "$O/lambda_zero/metrics.jsonl" objective/raw_scores objective/kl objective/cost loss/policy_avg val/explained_variance &&
    ok ppo_lambda_zero || fail ppo_lambda_zero
# where much is charged (for next to no reward) costs fall, and their critic learns from them, not from rewards
long="--iterations 24 --rollouts 64 --minibatch-size 16 --learning-rate 1e-2 --vf-coef 1 --kl-coef 0.01 --cost-model $O/rm2 --save-steps 0"
# shellcheck disable=SC2086
{
    run uncharged $long --cost-weight 0
    run charged $long --lambda-init 5 --lambda-lr 0 --reward-clip 0.01
}
mean() { tail -n 4 "$O/$1/metrics.jsonl" | sed "s|.*\"$2\": \([-0-9.e]*\).*|\1|" | awk '{ s += $1 } END { print s / NR }'; }
costs="$(mean uncharged objective/cost) $(mean charged objective/cost)"
if echo "$costs" | awk '{ exit !($2 < $1 - 0.5) }'; then ok "ppo_costs_fall ($costs)"; else fail "ppo_costs_fall: $costs"; fi
losses="$(mean charged loss/cost_value_avg) $(mean charged loss/value_avg)"
if echo "$losses" | awk '{ exit !($1 > 20 * $2 && $1 < 1) }'; then ok "ppo_cost_critic_learns_costs ($losses)"; else fail "ppo_cost_critic_learns_costs: $losses"; fi
# the mean over macros is that of the whole batch, whatever micro-batch they are in
run joint_whole --macro-action fixed --macro-length 3 --macro-loss macro --dtype float32
run joint_micro --macro-action fixed --macro-length 3 --macro-loss macro --dtype float32 --micro-batch-tokens 60
near "$O/joint_whole/metrics.jsonl" "$O/joint_micro/metrics.jsonl" loss loss/policy_avg loss/value_avg grad_norm objective/kl && ok ppo_macro_micro_batches || fail ppo_macro_micro_batches
# a price of zero is no cost; a critic of costs leaves the reward's alone
run free --cost-model "$O/rm2" --cost-weight 0
same plain free && ok ppo_price_zero || fail ppo_price_zero
# one reward model is the mean, the least and the median of itself
for how in mean worst median; do
    run "twice_$how" --reward-model "$O/rm1" "$O/rm1" --ensemble $how && same plain "twice_$how" && ok "ppo_ensemble_of_one_$how" || fail "ppo_ensemble_of_one_$how"
done
# passes end early, with a KL that any step has, or never; in between a run that was killed does not forget how many there were
run never_early --early-stop-kl 1e9
run always_early --early-stop-kl 1e-30
survives early --early-stop-kl 2e-4
passes() { sed 's|.*"ppo_epochs": \([0-9]*\).*|\1|' "$O/$1/metrics.jsonl" | sort -u | tr '\n' ' '; }
same plain never_early && [ "$(passes never_early) $(passes always_early)" = "2  1 " ] && ! same plain always_early && ok ppo_early_stop || fail "ppo_early_stop: $(passes never_early) $(passes always_early)"

# references are the prompts' own, sampled once: batches of the sampler do not matter, nor does the second epoch
run shaped5 --reward-shaping par --reference-answers 2 --gen-batch-size 5
same shaped shaped5 && cmp -s "$O/shaped/metrics.jsonl" "$O/shaped5/metrics.jsonl" && ok ppo_shaping_gen_batch || fail ppo_shaping_gen_batch

# alarms, at a budget that plain PPO passes at one of its later samplings: the first is $at
survives raise --kl-coef 0 --alarm-divergence 1e-9 --on-alarm raise-kl
grep -q '"objective/kl_coef": 0, ' "$O/raise/metrics.jsonl" && grep -q '"objective/kl_coef": 0.05, ' "$O/raise/metrics.jsonl" &&
    ok ppo_alarm_raises_kl || fail ppo_alarm_raises_kl
limit=$(sed 's/.*"objective\/kl": \([0-9.e-]*\).*/\1/' "$O/plain/metrics.jsonl" | sort -g | tail -n 1 | awk '{ print 0.9 * $1 }')
at=$(sed 's/.*"objective\/kl": \([0-9.e-]*\).*/\1/' "$O/plain/metrics.jsonl" | awk -v l="$limit" '$1 >= l { print NR; exit }')
run calm
# a KL that costs what it is worth is no divergence
run fair --kl-coef 0.05 --alarm-divergence 1e-9 --alarm-fair-price 0.05 && run unfair --kl-coef 0.05 --alarm-divergence 1e-9
[ ! -s "$O/fair/alarms.jsonl" ] && grep -q '"alarm": "divergence"' "$O/unfair/alarms.jsonl" && ok ppo_fair_price || fail ppo_fair_price
run warn --alarm-kl "$limit"
grep -q "step $at: alarm: kl is" "$O/log" && same plain warn && grep -q '"alarm/kl"' "$O/warn/metrics.jsonl" &&
    grep -q "^{\"step\": $at, \"alarm\": \"kl\", \"level\": 1" "$O/warn/alarms.jsonl" && ok "ppo_alarm_warns (at $at)" || fail "ppo_alarm_warns: $at $(last)"
run halt --alarm-kl "$limit" --on-alarm stop --save-steps 1 --save-dtype float32
grep -q "stopped by an alarm after step $((at - 1))" "$O/log" && cmp -s "$O/halt/checkpoint-$((at - 1))/model.safetensors" "$O/halt/model.safetensors" &&
    ok ppo_alarm_stops || fail "ppo_alarm_stops: $(last)"
# roll-back: to the newest regular checkpoint before the level passed 1/2, though only one more is kept; on a run whose KL
# rises from sampling to sampling
rising="--kl-coef 0 --rollouts 64 --minibatch-size 16 --iterations 9 --learning-rate 6e-3"
# shellcheck disable=SC2086
run whole $rising --save-steps 1
budget=$(sed 's/.*"objective\/kl": \([0-9.e-]*\).*/\1/' "$O/whole/metrics.jsonl" | sort -g | tail -n 1 | awk '{ print 0.95 * $1 }')
back() {
    # shellcheck disable=SC2086
    tenet $plain $rising --output-dir "$1" --save-steps 2 --save-total-limit 1 --alarm-kl "$budget" --alarm-divergence 0 --alarm-speed 0 --on-alarm roll-back --save-dtype float32 \
        "${@:2}" >"$O/log" 2>&1
}
back "$O/back" || fail "ppo_roll_back: $(last)"
to=$(sed -n 's/.*rolling back from step [0-9]* to checkpoint-\([0-9]*\).*/\1/p' "$O/log")
if [ -n "$to" ] && [ $((to % 2)) = 0 ] && cmp -s "$O/back/model.safetensors" "$O/whole/checkpoint-$to/model.safetensors"; then ok "ppo_roll_back (to $to)"; else fail "ppo_roll_back: '$to' $(last)"; fi
back "$O/back2" --threads 1 && cmp -s "$O/back/model.safetensors" "$O/back2/model.safetensors" && cmp -s "$O/back/alarms.jsonl" "$O/back2/alarms.jsonl" &&
    ok ppo_roll_back_again || fail "ppo_roll_back_again: $(last)"
# who goes on without the controller ends as if there had been none
# shellcheck disable=SC2086
tenet $plain --output-dir "$O/halt" --save-steps 1 --save-total-limit 0 --alarm-kl "$limit" --resume-from-checkpoint latest >"$O/log" 2>&1 &&
    cmp -s "$O/halt/model.safetensors" "$O/plain/model.safetensors" && cmp -s "$O/halt/metrics.jsonl" "$O/warn/metrics.jsonl" &&
    cmp -s "$O/halt/checkpoint-6/trainer_state.json" "$O/warn/checkpoint-6/trainer_state.json" && ok ppo_goes_on_after_alarm || fail "ppo_goes_on_after_alarm: $(last)"

tenet report --runs "warned=$O/warn" "safe=$O/safe" "calm=$O/calm" --out "$O/report.html" >"$O/log" 2>&1 && grep -q "<p>Alarms of warned:</p><ul><li>step $at: kl, 1" "$O/report.html" &&
    grep -q "Alarms of calm: none" "$O/report.html" && grep -q "Multiplier of the cost" "$O/report.html" && ok ppo_report || fail "ppo_report: $(last)"

# where responses lie in the reward model: its hidden states, or InfoRM's bottleneck; what the first batch was is in checkpoints
tenet reward --model "$O/base" --data "$O/rank.jsonl" --head inform --latents 12 --head-init 0.2 --output-dir "$O/inform" --max-steps 3 --save-steps 0 \
    --save-dtype float32 >"$O/log" 2>&1 || fail "ppo_inform: $(last)"
survives latent --alarm-latent 0.5 --alarm-separation 0.01 --reward-shaping par
survives bottleneck --reward-model "$O/inform" --alarm-latent 0.5 --alarm-separation 0.01 --rollouts 24
levels() { grep -o '"alarm/latent": [^,]*, "alarm/separation": [^,}]*' "$O/$1/metrics.jsonl" | tr -d ','; }
for name in latent bottleneck; do # twice the first batch's own distance is where the level of .5 starts
    levels $name | awk 'NR == 1 { first = $2 == 2 } $2 > 2 { up = 1 } { n++ } END { exit !(n == 6 && first && up) }' &&
        grep -q '"alarm": "latent"' "$O/$name/alarms.jsonl" && ok "ppo_alarm_$name" || fail "ppo_alarm_$name: $(levels $name | tr '\n' ';')"
done
fails ppo_alarm_latent_without_model 2 "there is no --reward-model" tenet grpo --model "$O/base" --data "$O/rl.jsonl" --reward-funcs world --alarm-latent 2 \
    --output-dir "$O/refused"

# loops without a critic: shaping and alarms as well
grpo="grpo --model $O/base --data $O/rl.jsonl --reward-model $O/rm1 $O/rm2 --reward-funcs world --num-generations 4 --max-steps 6
      --per-device-train-batch-size 12 --max-completion-length 12 --learning-rate 3e-3 --seed 3 --save-total-limit 0 --save-steps 3"
for more in "--beta 0.1" "--beta 0.1 --reward-shaping par" "--reward-shaping par --steps-per-generation 2 --alarm-spread 0.1"; do
    rm -rf "$O/g" "$O/h"
    # shellcheck disable=SC2086
    {
        tenet $grpo $more --output-dir "$O/g" >"$O/log" 2>&1 || fail "ppo_grpo: $(last)"
        cp -r "$O/g" "$O/h" && rm -rf "$O/h/checkpoint-6" "$O/h/model.safetensors"
        tenet $grpo $more --output-dir "$O/h" --resume-from-checkpoint latest --threads 1 >"$O/log" 2>&1 || fail "ppo_grpo: $(last)"
    }
    cmp -s "$O/g/model.safetensors" "$O/h/model.safetensors" && cmp -s "$O/g/metrics.jsonl" "$O/h/metrics.jsonl" && cmp -s "$O/g/alarms.jsonl" "$O/h/alarms.jsonl" &&
        cmp -s "$O/g/checkpoint-6/trainer_state.json" "$O/h/checkpoint-6/trainer_state.json" && ok "ppo_grpo_resume ($more)" || fail "ppo_grpo_resume ($more)"
    sha256sum <"$O/g/model.safetensors" >>"$O/sums"
done
[ "$(sort -u "$O/sums" | wc -l)" = 3 ] && grep -q '"alarm": "spread"' "$O/g/alarms.jsonl" && ok ppo_grpo_shaped || fail ppo_grpo_shaped
# shellcheck disable=SC2086
tenet $grpo --output-dir "$O/gs" --alarm-spread 0.1 --on-alarm stop --save-dtype float32 >"$O/log" 2>&1 && grep -q "stopped by an alarm after step 0" "$O/log" &&
    cmp -s "$O/gs/model.safetensors" "$O/gs/checkpoint-0/model.safetensors" && ok ppo_grpo_stops || fail "ppo_grpo_stops: $(last)"

# refused, with what to do; a dry run tells the whole plan
refused() {
    # shellcheck disable=SC2086
    fails "ppo_refuses_$1" 2 "$2" tenet $plain --output-dir "$O/refused" "${@:3}"
}
refused weight_alone "--cost-model is missing" --cost-weight 1
refused cost_whiten "--whiten-rewards" --cost-model "$O/rm2" --whiten-rewards
refused lambda "lambda-max" --cost-model "$O/rm2" --lambda-init 6
refused lengths "macro-lengths: 'x'" --macro-action random --macro-lengths x
refused lsc "--reference-answers 2" --reward-shaping lsc
refused rolls "--save-steps 0 makes none" --on-alarm roll-back --save-steps 0
refused lengths_mean "sequence_mean" --macro-action fixed --macro-loss macro --policy-reduction sequence_mean
# shellcheck disable=SC2086
fails ppo_refuses_raise 2 "no KL coefficient that changes" tenet $grpo --on-alarm raise-kl --output-dir "$O/refused"
# shellcheck disable=SC2086
fails ppo_refuses_shaping 2 "there is no --reward-model" tenet grpo --model "$O/base" --data "$O/rl.jsonl" --reward-funcs world --reward-shaping tanh --output-dir "$O/refused"
# shellcheck disable=SC2086
fails ppo_refuses_cost_model 1 "is no reward model" tenet $plain --cost-model "$O/base" --output-dir "$O/refused2"
[ ! -e "$O/refused" ] && ok ppo_refused_leaves_nothing || fail ppo_refused_leaves_nothing
# shellcheck disable=SC2086
fails ppo_other_cost_model 1 "another --cost-model" tenet $plain --cost-model "$O/rm3" --lambda-window 16 --lambda-delay 1 --macro-action perplexity \
    --output-dir "$O/safe-cut" --save-steps 3 --resume-from-checkpoint latest
# shellcheck disable=SC2086
tenet $plain --cost-model "$O/rm2" --dry-run --output-dir "$O/refused" >"$O/log" 2>&1 && grep -q "cost-critic .*moments" "$O/log" && ok ppo_dry_run_safe || fail "ppo_dry_run_safe: $(last)"
[ -z "${e2e_failed:-}" ]
