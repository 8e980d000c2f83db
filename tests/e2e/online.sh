# Loops that learn from their own samples, from outside, in the built-in world with a tiny model: resume in the middle of
# a batch, what must not change bits, rewards, refused options. (ppo's resume: train.sh.)
. tests/e2e/lib.sh
O=$E2E_TMP/online
mkdir -p "$O"
tenet world config --out "$O/tiny" --hidden-size 32 --layers 1 --heads 2 --intermediate-size 48 2>/dev/null
tenet world text --count 400 --out "$O/text.jsonl"
tenet world sft --count 64 --out "$O/sft.jsonl"
tenet world prompts-pref --count 24 --out "$O/pref.jsonl"
tenet world prompts-rl --count 64 --out "$O/rl.jsonl"
quiet() { "$@" >"$O/log" 2>&1; }
{
    tenet pretrain --model "$O/tiny" --data "$O/text.jsonl" --output-dir "$O/base" --batch-tokens 2048 --max-steps 8 \
        --learning-rate 3e-3 --save-steps 0 --save-dtype float32
    tenet generate --model "$O/base" --input "$O/pref.jsonl" --n 4 --max-new-tokens 12 --out "$O/samples.jsonl"
    tenet world rank --input "$O/samples.jsonl" --annotator careful --out "$O/rank.jsonl"
    tenet reward --model "$O/base" --data "$O/rank.jsonl" --kwise --output-dir "$O/rm" --max-steps 3 --save-steps 0 --save-dtype float32
} >"$O/log" 2>&1 || fail "online_set_up: $(tail -n 1 "$O/log")"

common="--model $O/base --data $O/rl.jsonl --learning-rate 1e-3 --seed 3 --max-completion-length 12"
grpo="grpo $common --reward-model $O/rm --reward-funcs world --reward-weights 1 0.5 --per-device-train-batch-size 12
      --num-generations 4 --max-steps 6 --beta 0.04"
# 24 responses a sampling, two steps of 12 each, every one of them taken twice: 4 steps to a sampling
grpo_cut="grpo $common --model models/world --reward-model $O/rm --per-device-train-batch-size 12 --steps-per-generation 2
      --num-iterations 2 --num-generations 4 --max-steps 7 --logging-steps 2 --beta 0.04 --mask-truncated-completions
      --top-entropy-quantile 0.5"
gmpo="$grpo_cut --loss-type gmpo --epsilon 0.05"
rloo="rloo $common --reward-model $O/rm --per-device-train-batch-size 6 --gradient-accumulation-steps 2 --max-steps 6"
rloo_cut="rloo $common --reward-funcs world --per-device-train-batch-size 12 --num-iterations 2 --max-steps 7 --normalize-advantages"
ppo_ptx="ppo --model $O/base --reward-model $O/rm --data $O/rl.jsonl --iterations 4 --rollouts 12 --minibatch-size 6 --response-length 12
      --num-ppo-epochs 2 --temperature 1 --learning-rate 1e-3 --seed 3 --ptx-coef 0.5 --ptx-data $O/sft.jsonl --ptx-batch-size 5"
# rounds: two steps to a sampling, each against the policy that sampled
online_dpo="online-dpo $common --reward-funcs world --max-new-tokens 12 --num-generations 4 --per-device-train-batch-size 6
            --steps-per-generation 2 --max-steps 7 --reference sampling --min-reward-gap 0.1 --missing-eos-penalty 0.5"
rft="rft $common --reward-model $O/rm --max-new-tokens 12 --num-generations 4 --per-device-train-batch-size 6 --steps-per-generation 2
     --max-steps 7 --keep 2 --choose batch"
xpo="xpo $common --reward-funcs world --max-new-tokens 12 --per-device-train-batch-size 6 --steps-per-generation 2 --max-steps 7 --alpha 0.01
     --missing-eos-penalty 0.5"
nash_md="nash-md $common --reward-model $O/rm --max-new-tokens 12 --per-device-train-batch-size 6 --steps-per-generation 2 --max-steps 7
         --mixture-coef 0.3"
a2po="a2po $common --reward-funcs world --per-device-train-batch-size 12 --num-value-samples 6 --beta2 0.1 --num-iterations 2 --max-steps 7"
remax="reinforce --advantage-estimator remax $common --reward-model $O/rm --num-generations 3 --per-device-train-batch-size 12
       --steps-per-generation 2 --num-iterations 2 --max-steps 7 --kl-coef 0.1"
reinforce="reinforce $common --reward-funcs world --per-device-train-batch-size 12 --num-iterations 2 --max-steps 7 --mask-truncated-completions"

equal() { cmp -s "$1/metrics.jsonl" "$2/metrics.jsonl" && cmp -s "$1/samples.jsonl" "$2/samples.jsonl" && cmp -s "$1/model.safetensors" "$2/model.safetensors"; }

# survives NAME STEP: killed with -9 once checkpoint-STEP is there, the run goes on with other threads and ends in the same bytes.
survives() {
    local name=$1 step=$2 line=${!1} pid n=0
    # shellcheck disable=SC2086
    quiet tenet $line --output-dir "$O/$name-whole" --save-steps 3 --save-total-limit 0 || fail "online_$name: $(tail -1 "$O/log")"
    # shellcheck disable=SC2086
    "$TENET_BIN" $line --output-dir "$O/$name-cut" --save-steps 3 --threads 1 --save-total-limit 0 >"$O/log" 2>&1 &
    pid=$!
    while [ ! -d "$O/$name-cut/checkpoint-$step" ] && kill -0 $pid 2>/dev/null && [ $n -lt 600 ]; do sleep 0.02; n=$((n + 1)); done
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null
    for later in "$O/$name-cut"/checkpoint-*[0-9]; do [ -d "$later" ] && [ "${later##*-}" -gt "$step" ] && rm -rf "$later"; done
    # shellcheck disable=SC2086
    quiet tenet $line --output-dir "$O/$name-cut" --save-steps 3 --resume-from-checkpoint latest --threads 3 ||
        fail "online_${name}_resume: $(tail -1 "$O/log")"
    if grep -q "continuing after step $step" "$O/log" && equal "$O/$name-whole" "$O/$name-cut"; then
        ok "online_${name}_kill_resume_threads"
    else
        fail "online_${name}_kill_resume_threads: other bits"
    fi
}
survives grpo 3
survives rloo 3
survives grpo_cut 6 # two of the second sampling's four steps
survives gmpo 6
survives rloo_cut 3 # one of a sampling's two
survives ppo_ptx 3
survives online_dpo 3 # one of a sampling's two
survives rft 3
survives a2po 3
survives xpo 3
survives nash_md 3
survives remax 6 # two of the second sampling's four steps
survives reinforce 3
# a mixture's samples do not depend on their company
# shellcheck disable=SC2086
quiet tenet $nash_md --gen-batch-size 1 --output-dir "$O/nash-1" --save-steps 3 --save-total-limit 0 || fail "online_nash_batch: $(tail -1 "$O/log")"
if equal "$O/nash_md-whole" "$O/nash-1"; then ok online_nash_gen_batch_same_bits; else fail online_nash_gen_batch_same_bits; fi
# only xpo's first step compares the start with itself
if sed -n 1p "$O/xpo-whole/metrics.jsonl" | grep -q '"loss/dpo": 0.69314718' && ! sed -n 3p "$O/xpo-whole/metrics.jsonl" | grep -q '"loss/dpo": 0.69314718' &&
    [ "$(grep -c '"loss/xpo": -' "$O/xpo-whole/metrics.jsonl")" = 7 ]; then
    ok online_xpo_reference_is_the_start
else
    fail "online_xpo_reference_is_the_start: $(grep -o '"loss/dpo": [^,]*' "$O/xpo-whole/metrics.jsonl" | tr '\n' ' ')"
fi
# a2po: what a run has found of the prompts' values serves the next one, whole lines of it; without the table it is found anew
values=$O/a2po-whole/values.jsonl
for how in killed cut gone; do
    mkdir "$O/values-$how"
    case $how in
        killed)
            # shellcheck disable=SC2086
            "$TENET_BIN" $a2po --num-value-samples 3 --output-dir "$O/values-killed" >"$O/log" 2>&1 &
            n=0
            while [ ! -s "$O/values-killed/values.jsonl" ] && kill -0 $! 2>/dev/null && [ $n -lt 600 ]; do sleep 0.02; n=$((n + 1)); done
            kill -9 $! 2>/dev/null
            wait $! 2>/dev/null
            rm -rf "$O/values-killed"/[!v]* ;; # other samples: nothing of it is read
        cut) head -c 2000 "$values" >"$O/values-cut/values.jsonl" ;;
        gone) cp -r "$O/a2po-whole/." "$O/values-gone" && rm -rf "$O/values-gone/values.jsonl" "$O/values-gone/model.safetensors" "$O/values-gone/checkpoint-6" ;;
    esac
    # shellcheck disable=SC2086
    quiet tenet $a2po --output-dir "$O/values-$how" --save-steps 3 --threads 3 $([ $how = gone ] && echo --resume-from-checkpoint latest) ||
        fail "online_values_$how: $(tail -1 "$O/log")"
    read=no
    grep -q "prompts are in" "$O/log" && read=yes
    if equal "$O/a2po-whole" "$O/values-$how" && cmp -s "$values" "$O/values-$how/values.jsonl" && [ $read = "$([ $how = cut ] && echo yes || echo no)" ]; then
        ok "online_values_$how"
    else
        fail "online_values_$how: read $read"
    fi
done
if [ "$(wc -l <"$values")" = 65 ] && grep -q '"v_star":' "$O/a2po-whole/metrics.jsonl"; then ok online_values_of_all_prompts; else fail online_values_of_all_prompts; fi
clipped=$(sed -n 's/.*"completions\/clipped_ratio": \([0-9.]*\).*/\1/p' "$O/grpo_cut-whole/metrics.jsonl" | head -n 1)
if awk "BEGIN { exit !($clipped > 0 && $clipped < 1) }"; then ok online_some_are_masked; else fail "online_some_are_masked: $clipped"; fi
if grep -q '"rollouts"' "$O/grpo_cut-whole/checkpoint-3/trainer_state.json" && ! grep -q '"rollouts"' "$O/grpo-whole/checkpoint-3/trainer_state.json" \
    "$O/grpo_cut-whole/trainer_state.json"; then
    ok online_checkpoint_holds_the_batch
else
    fail online_checkpoint_holds_the_batch
fi
# shellcheck disable=SC2086
fails online_other_batch 1 "resume with the options of the run" tenet $grpo_cut --num-iterations 3 --output-dir "$O/grpo_cut-cut" --resume-from-checkpoint latest
# shellcheck disable=SC2086
fails online_other_texts 1 "another --ptx-data" tenet $ppo_ptx --ptx-data "$O/text.jsonl" --output-dir "$O/ppo_ptx-cut" --resume-from-checkpoint latest

# the batch of the sampler changes nothing; micro-batches and shared prompts only the order of sums
# shellcheck disable=SC2086
for g in 1 5 64; do quiet tenet $grpo_cut --output-dir "$O/gen-$g" --gen-batch-size $g --save-steps 3 --save-total-limit 0 || fail "online_gen_batch: $(tail -1 "$O/log")"; done
if equal "$O/grpo_cut-whole" "$O/gen-1" && equal "$O/gen-1" "$O/gen-5" && equal "$O/gen-5" "$O/gen-64"; then ok online_gen_batch_same_bits; else fail online_gen_batch_same_bits; fi
# near FILE FILE: the same keys, numbers within a thousandth
near() {
    awk 'NR == FNR { a[FNR] = $0; next } { n = split(a[FNR], x, /[ ,:{}]+/); m = split($0, y, /[ ,:{}]+/); if (n != m) exit 1
        for (i = 1; i <= n; i++) { d = x[i] - y[i]; if (d < 0) d = -d; if (x[i] + 0 != x[i] ? x[i] != y[i] : d > 1e-3) exit 1 } }' "$1" "$2"
}
# shellcheck disable=SC2086
quiet tenet $grpo --max-steps 2 --dtype float32 --output-dir "$O/one" --save-steps 0 && quiet tenet $grpo --max-steps 2 --dtype float32 --output-dir "$O/micro" \
    --micro-batch-tokens 24 --save-steps 0 && quiet tenet $grpo --max-steps 2 --dtype float32 --output-dir "$O/apart" --no-share-prompts --save-steps 0 ||
    fail "online_micro: $(tail -1 "$O/log")"
if near "$O/one/metrics.jsonl" "$O/micro/metrics.jsonl" && near "$O/one/metrics.jsonl" "$O/apart/metrics.jsonl" &&
    [ "$(head -n 12 "$O/one/samples.jsonl" | sed 's/"rewards.*//')" = "$(head -n 12 "$O/micro/samples.jsonl" | sed 's/"rewards.*//')" ]; then
    ok online_micro_batches_only_reorder_sums
else
    fail online_micro_batches_only_reorder_sums
fi

# the ratio of a batch's first step is exactly 1 (the run would stop): no ratio is clipped there, later ones may be
if sed -n '/completions\/mean_length/p' "$O/rloo_cut-whole/metrics.jsonl" | grep -c '"clip_ratio/region_mean": 0,' | grep -qx 4 &&
    [ "$(grep -c '"reward":' "$O/rloo_cut-whole/metrics.jsonl")" = 4 ]; then
    ok online_first_step_on_policy
else
    fail online_first_step_on_policy
fi

# a policy compared with itself: before its first step on a sampling the loss is log 2
if sed -n '1p;3p;5p' "$O/online_dpo-whole/metrics.jsonl" | grep -c '"loss": 0.69314718' | grep -qx 3 &&
    ! sed -n '2p;4p;6p' "$O/online_dpo-whole/metrics.jsonl" | grep -q '"loss": 0.69314718'; then
    ok online_dpo_reference_is_the_sampler
else
    fail "online_dpo_reference_is_the_sampler: $(grep -o '"loss": [^,]*' "$O/online_dpo-whole/metrics.jsonl" | tr '\n' ' ')"
fi

# the pretraining mix is learnt
losses=$(sed 's/.*"loss\/ptx_avg": \([0-9.]*\).*/\1/' "$O/ppo_ptx-whole/metrics.jsonl" | tr '\n' ' ')
if echo "$losses" | awk '{ exit !($1 > $2 && $2 > $3 && $3 > $4) }'; then
    ok online_ptx_is_learnt
else
    fail "online_ptx_is_learnt: $losses"
fi

# a reward model with its own tokenizer (the same one, differently written) scores groups to the same bits
quiet tenet reward --model models/world --data "$O/rank.jsonl" --output-dir "$O/same/rm" --max-steps 3 --save-steps 0 --save-dtype float32
mkdir "$O/own" && cp -r "$O/same/rm" "$O/own/rm" && printf '\n' >>"$O/own/rm/tokenizer.json"
for d in "$O/same" "$O/own"; do
    quiet tenet grpo --model models/world --data "$O/rl.jsonl" --reward-model "$d/rm" --per-device-train-batch-size 12 --num-generations 4 \
        --max-completion-length 12 --max-steps 2 --micro-batch-tokens 90 --save-steps 0 --output-dir "$d/tokenizer" ||
        fail "online_own_tokenizer: $(tail -1 "$O/log")"
done
if grep -q "its own tokenizer" "$O/log" && equal "$O/same/tokenizer" "$O/own/tokenizer"; then ok online_own_tokenizer; else fail online_own_tokenizer; fi

# rewards: several with weights, a field of the row, a row without an answer
awk '{ printf "{\"prompt\": \"what is %d plus %d ?\"", NR, NR; if (NR % 3) printf ", \"answer\": \"#### %d\"", 2 * NR; print "}" }' "$O/rl.jsonl" >"$O/sums.jsonl"
quiet tenet grpo --model "$O/base" --data "$O/sums.jsonl" --reward-funcs number:answer regex:e exact_match:answer think_format_reward \
    soft_overlong_punishment:6 repetition_penalty_reward --reward-weights 1 0.1 1 1 1 1 --max-completion-length 12 --num-generations 4 \
    --per-device-train-batch-size 24 --max-steps 3 --save-steps 0 --output-dir "$O/sums" || fail "online_functions: $(tail -1 "$O/log")"
if grep -q '"rewards/number/mean": [-0-9.]*, .*"rewards/regex/mean"' "$O/sums/metrics.jsonl" && grep -q '"rewards/number": "NaN"' "$O/sums/samples.jsonl" &&
    grep -q '"advantage"' "$O/sums/samples.jsonl"; then
    ok online_reward_functions
else
    fail "online_reward_functions: $(tail -1 "$O/log")"
fi
quiet tenet rloo --model "$O/base" --data "$O/sums.jsonl" --reward-funcs number:answer --max-completion-length 12 --per-device-train-batch-size 24 \
    --max-steps 2 --save-steps 0 --output-dir "$O/none" && grep -q "sums.jsonl:[0-9]*: no reward has an answer" "$O/log" &&
    ok online_row_without_reward || fail "online_row_without_reward: $(tail -1 "$O/log")"

# a program of one's own is asked like a built-in function: the same rewards train the same bits
cat >"$O/judge.sh" <<'END'
while IFS= read -r line; do
    case $line in *'"completion":"'*e*'","ended":'*) echo 1 ;; *) echo 0 ;; esac
done
END
rule() { # NAME FUNCTION
    quiet tenet grpo --model models/world --data "$O/rl.jsonl" --reward-funcs "$2" --max-completion-length 12 --num-generations 4 --learning-rate 1e-3 \
        --per-device-train-batch-size 24 --max-steps 3 --save-steps 0 --save-dtype float32 --output-dir "$O/$1" || fail "online_$1: $(tail -1 "$O/log")"
}
rule by_rule regex:e
rule by_program "program:sh $O/judge.sh"
if cmp -s "$O/by_rule/model.safetensors" "$O/by_program/model.safetensors" && grep -q '"rewards/program/std": 0\.[1-9]' "$O/by_program/metrics.jsonl"; then
    ok online_reward_program
else
    fail online_reward_program
fi
fails online_program_fails 1 "has ended instead of giving a reward" tenet grpo --model "$O/base" --data "$O/rl.jsonl" --reward-funcs "program:read -r x; exit 3" \
    --max-completion-length 12 --num-generations 4 --per-device-train-batch-size 24 --max-steps 3 --save-steps 0 --output-dir "$O/none2"

# the report draws reward against KL of each: as many dots as samplings
quiet tenet report --runs "grpo=$O/grpo-whole" "rloo=$O/rloo-whole" "ppo=$O/ppo_ptx-whole" --out "$O/report.html" || fail "online_report: $(tail -1 "$O/log")"
dots=$(grep -o 'aria-label="Reward against the root of KL".*</svg>' "$O/report.html" | sed 's/<\/svg>.*//' |
    grep -o '<g class="c[0-9]">\(<circle[^>]*>\)*' | sed 's/[^<]*<g class="c\(.\)">/\1 /; s/<circle[^>]*>/o/g' | tr '\n' ' ')
if [ "$dots" = "0 oooooo 1 oooooo 2 oooo " ]; then ok online_report_frontier; else fail "online_report_frontier: $dots"; fi
if grep -q 'class="r">reward [−0-9]' "$O/report.html"; then ok online_report_samples; else fail online_report_samples; fi

# a dry run writes nothing, tells the plan, memory and time, and refuses what the run would
# shellcheck disable=SC2086
for run in grpo_cut rloo ppo_ptx nash_md; do
    quiet tenet ${!run} --output-dir "$O/dry" --dry-run && [ ! -e "$O/dry" ] && grep -q "^tenet: memory: " "$O/log" &&
        grep -q "^tenet: time: .* sequences at once .* about [0-9]* s when every response has 12 tokens" "$O/log" &&
        ok "online_dry_run_$run" || fail "online_dry_run_$run: $(tail -1 "$O/log")"
    fails "online_dry_run_${run}_no_reward_model" 1 "is no reward model" tenet ${!run} --reward-model "$O/base" --dry-run
done
# shellcheck disable=SC2086
quiet tenet $grpo_cut --dry-run && grep -q "a sampling: 6 prompts x 4 responses of up to 12 tokens, for 4 step" "$O/log" &&
    ok online_dry_run_plan || fail "online_dry_run_plan: $(tail -1 "$O/log")"

# refused, with what to do; no folder is left behind
refused() {
    local name=$1 text=$2
    shift 2
    fails "online_$name" 2 "$text" tenet "$@" --output-dir "$O/refused"
}
base="--model $O/base --data $O/rl.jsonl"
# shellcheck disable=SC2086
{
    refused no_reward "give --reward-model DIR" grpo $base
    refused groups "does not divide into groups of --num-generations 8" grpo $base --reward-funcs world --per-device-train-batch-size 12
    refused slices "does not cut into optimiser steps of 16" grpo $base --reward-funcs world --gradient-accumulation-steps 2 --steps-per-generation 3
    refused both_sizes "give one of them" grpo $base --reward-funcs world --generation-batch-size 8 --steps-per-generation 1
    refused generation_batch "must be a multiple of --per-device-train-batch-size 8" grpo $base --reward-funcs world --generation-batch-size 12
    refused one_generation "num-generations" rloo $base --reward-funcs world --num-generations 1
    refused batch_tokens "a fixed number of responses" rloo $base --reward-funcs world --batch-tokens 100
    refused eval_data "does not evaluate while it trains" grpo $base --reward-funcs world --eval-data "$O/rl.jsonl"
    refused weights "1 weights for 2 rewards" grpo $base --reward-model "$O/rm" --reward-funcs world --reward-weights 1
    refused weight "'x' is not a number" grpo $base --reward-funcs world --reward-weights x
    refused eval_steps "does not evaluate while it trains" rloo $base --reward-funcs world --eval-steps 2
    refused no_tokens "must be from 1e-06" grpo $base --reward-funcs world --top-entropy-quantile 0
    refused truncated "--truncated-logp" grpo $base --reward-funcs world --top-p 0.9
    refused clip_range "two numbers" rloo $base --reward-funcs world --reward-clip-range 1
    refused ptx_alone "go together" ppo $base --reward-model "$O/rm" --ptx-coef 1
    refused function "did you mean 'number'" grpo $base --reward-funcs numbr:answer
    refused argument "write exact_match:FIELD" grpo $base --reward-funcs exact_match
    refused no_argument "takes no argument" grpo $base --reward-funcs think_format_reward:x
    refused pattern "regex:(" grpo $base --reward-funcs "regex:("
    refused world_seed "expected the seed" rloo $base --reward-funcs world:x
    refused a2po_shaped "the optimal values are those of the rewards as they are" a2po $base --reward-model "$O/rm" --reward-shaping par
    refused nash_groups "num-generations" nash-md $base --reward-funcs world --num-generations 4
    refused nash_mixture "mixture-coef" nash-md $base --reward-funcs world --mixture-coef 1.5
    refused gmpo_level "gmpo clips the ratio of every token" grpo $base --reward-funcs world --loss-type gmpo --importance-sampling-level sequence
    [ ! -e "$O/refused" ] && ok online_refused_leaves_nothing || fail online_refused_leaves_nothing
    refused field 'number:answr needs the field "answr" in the rows' grpo --model "$O/base" --data "$O/sums.jsonl" --reward-funcs number:answr
    refused field_of_world 'the first has "prompt"' rloo --model "$O/base" --data "$O/sums.jsonl" --reward-funcs world
    refused few_prompts "64 prompts are fewer than the 128" grpo $base --reward-funcs world --per-device-train-batch-size 1024
    fails online_reference_scores 1 "take a language model as --ref-model" tenet grpo $base --reward-funcs world --beta 0.1 \
        --ref-model "$O/rm" --dry-run
    other=tests/golden/models/llama # of 61 tokens
    fails online_reference_vocabulary 1 "61 tokens" tenet grpo $base --reward-funcs world --beta 0.1 --ref-model $other --dry-run
    fails online_reference_vocabulary_rloo 1 "61 tokens" tenet rloo $base --reward-funcs world --ref-model $other --dry-run
    fails online_reference_unused 0 "has no effect" tenet grpo $base --reward-funcs world --ref-model $other --dry-run
    for first in "" --precompute-ref-log-probs; do
        fails "online_reference_vocabulary_dpo$first" 1 "one tokenizer" tenet dpo --model "$O/base" --data "$O/rank.jsonl" --ref-model $other $first \
            --output-dir "$O/other$first"
    done
    fails online_dpo_two_references 2 "leave --ref-model out" tenet online-dpo $base --reward-funcs world --reference sampling \
        --ref-model "$O/base" --dry-run
    fails online_rft_keeps_too_many 2 "more than the 4" tenet rft $base --reward-funcs world --num-generations 4 --keep 5 --dry-run
    refused baseline_of_one "must be 2 or more" reinforce $base --reward-funcs world --advantage-estimator reinforce_plus_plus_baseline
    fails online_policy_scores 1 "take another --model" tenet rloo $base --reward-funcs world --model "$O/rm" --dry-run
    fails online_other_seed 2 "world:N" tenet grpo $base --reward-funcs world:9 --max-completion-length 8 --output-dir "$O/seed"
}
[ -z "${e2e_failed:-}" ]
