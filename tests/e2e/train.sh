# Training verbs from outside, in the built-in world with a tiny model: resume, kill -9, threads, output folder.
. tests/e2e/lib.sh
T=$E2E_TMP/train
mkdir -p "$T"
tenet world config --out "$T/tiny" --hidden-size 32 --layers 1 --heads 2 --intermediate-size 48 2>/dev/null
tenet world text --count 400 --out "$T/text.jsonl"
tenet world sft --count 96 --out "$T/sft.jsonl"
tenet world prompts-pref --count 24 --out "$T/pref.jsonl"
tenet world prompts-rl --count 64 --out "$T/rl.jsonl"
quiet() { "$@" >"$T/log" 2>&1; }
common="--learning-rate 1e-3 --logging-steps 1 --seed 3 --report-to tensorboard"
export SOURCE_DATE_EPOCH=1700000000 # the wall times of event files
quiet tenet pretrain --model "$T/tiny" --data "$T/text.jsonl" --output-dir "$T/base" --batch-tokens 2048 --max-steps 8 \
    --learning-rate 3e-3 --save-steps 0 --save-dtype float32 && ok train_pretrain || fail "train_pretrain: $(tail -1 "$T/log")"
quiet tenet generate --model "$T/base" --input "$T/pref.jsonl" --n 4 --max-new-tokens 12 --out "$T/samples.jsonl" &&
    quiet tenet world rank --input "$T/samples.jsonl" --annotator careful --out "$T/rank.jsonl" --pairs-out "$T/pairs.jsonl" &&
    ok train_rankings || fail "train_rankings: $(tail -1 "$T/log")"
quiet tenet reward --model "$T/base" --data "$T/rank.jsonl" --kwise --output-dir "$T/rm" --max-steps 3 --save-steps 0 \
    --save-dtype float32 || fail "train_reward_model: $(tail -1 "$T/log")"

# The command line of each method; DIR is appended.
sft="sft --model $T/base --data $T/sft.jsonl --assistant-only-loss --per-device-train-batch-size 8 --max-steps 6 $common"
reward="reward --model $T/base --data $T/rank.jsonl --kwise --per-device-train-batch-size 6 --max-steps 6 $common"
dpo="dpo --model $T/base --data $T/pairs.jsonl --per-device-train-batch-size 6 --max-steps 6 $common"
ppo="ppo --model $T/base --reward-model $T/rm --data $T/rl.jsonl --iterations 6 --rollouts 12 --minibatch-size 6 --num-ppo-epochs 2
     --response-length 12 --temperature 1 --missing-eos-penalty 1 --kl-target 1 --reward-scale $common"

tdpo="tdpo --model $T/base --data $T/pairs.jsonl --per-device-train-batch-size 6 --beta 0.5 --use-peft --lora-r 4 --max-steps 6 $common"
grpo="grpo --model $T/base --reward-model $T/rm --data $T/rl.jsonl --per-device-train-batch-size 8 --steps-per-generation 2
      --num-generations 4 --max-steps 6 --max-completion-length 12 --beta 0.05 $common"
rloo="rloo --model $T/base --reward-model $T/rm --data $T/rl.jsonl --per-device-train-batch-size 8 --num-iterations 2 --max-steps 6
      --max-completion-length 12 $common"
online_dpo="online-dpo --model $T/base --reward-model $T/rm --data $T/rl.jsonl --per-device-train-batch-size 6 --num-generations 3
      --max-steps 6 --max-new-tokens 12 --missing-eos-penalty 1 $common"
lora="$sft --use-peft --lora-r 4"
pairs="--model $T/base --data $T/pairs.jsonl --per-device-train-batch-size 6 --max-steps 6 $common"
kto="kto $pairs --gradient-accumulation-steps 2 --precompute-ref-log-probs"
bco="kto --loss-type bco $pairs --train-sampling-strategy random"
orpo="orpo $pairs"
cpo="cpo $pairs"
simpo="simpo $pairs"
aot="dpo --loss-type aot $pairs"
trdpo="dpo --sync-ref-model --ref-model-sync-steps 2 $pairs"
lora_kto="kto $pairs --use-peft --lora-r 4"
distill="distill --model $T/base --teacher-model models/world --data $T/sft.jsonl --per-device-train-batch-size 8 --max-new-tokens 12
         --max-steps 6 $common"
sed 's/}$/, "chosen_safe": true, "rejected_safe": false}/' "$T/pairs.jsonl" >"$T/safety.jsonl"
sed 's/.*"prompt_ids": \(\[[^]]*\]\), "ids": \(\[[^]]*\]\).*/{"prompt_ids": \1, "step_ids": [\2, [7, 8, 9]], "labels": [true, false]}/' "$T/samples.jsonl" >"$T/steps.jsonl"
inform="reward --head inform --model $T/base --data $T/pairs.jsonl --per-device-train-batch-size 6 --max-steps 6 $common"
odin="reward --head odin --model $T/base --data $T/pairs.jsonl --per-device-train-batch-size 6 --max-steps 6 $common"
heads="reward --head ensemble --model $T/base --data $T/pairs.jsonl --per-device-train-batch-size 6 --max-steps 6 $common"
cost="cost --model $T/base --data $T/safety.jsonl --per-device-train-batch-size 6 --max-steps 6 $common"
prm="prm --model $T/base --data $T/steps.jsonl --per-device-train-batch-size 6 --max-steps 6 $common"
lora_inform="$inform --use-peft --lora-r 4"

# The same metrics, the same events, the same weights.
equal() {
    local weights=model.safetensors
    [ -e "$1/$weights" ] || weights=adapter_model.safetensors
    for file in metrics.jsonl runs/events.out.tfevents.tenet $weights; do
        [ -s "$1/$file" ] && cmp -s "$1/$file" "$2/$file" || return 1
    done
}

for method in sft reward inform odin heads cost prm dpo ppo grpo rloo online_dpo lora lora_inform kto bco orpo cpo simpo aot trdpo lora_kto distill tdpo; do
    line=${!method}
    # shellcheck disable=SC2086
    quiet tenet $line --output-dir "$T/$method-whole" --save-steps 0 || fail "train_${method}: $(tail -1 "$T/log")"
    # stop after three steps (SIGTERM at the first checkpoint), resume, compare
    # shellcheck disable=SC2086
    "$TENET_BIN" $line --output-dir "$T/$method-cut" --save-steps 3 --threads 1 >"$T/log" 2>&1 &
    pid=$!
    n=0
    while [ ! -d "$T/$method-cut/checkpoint-3" ] && kill -0 $pid 2>/dev/null && [ $n -lt 600 ]; do sleep 0.02; n=$((n + 1)); done
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null
    rm -rf "$T/$method-cut/checkpoint-6" # when it was faster than the kill
    # shellcheck disable=SC2086
    quiet tenet $line --output-dir "$T/$method-cut" --save-steps 0 --resume-from-checkpoint latest --threads 3 ||
        fail "train_${method}_resume: $(tail -1 "$T/log")"
    if equal "$T/$method-whole" "$T/$method-cut"; then ok "train_${method}_kill_resume_threads"; else fail "train_${method}_kill_resume_threads: other bits"; fi
done

# statistics that no loss asked for are computed or absent, never whatever lay in memory
# FLOP of a step: the same after kill -9 and for any threads; a reference costs its forward
flop() { sed -n 's/.*"step": \([0-9]*\),.*"flop": \([0-9]*\).*/\1 \2/p' "$T/$1/timing.jsonl"; }
if [ -n "$(flop sft-whole)" ] && [ "$(flop sft-whole)" = "$(flop sft-cut)" ] && [ "$(flop ppo-whole)" = "$(flop ppo-cut)" ] &&
    [ "$(flop simpo-whole)" = "$(flop cpo-whole)" ] &&
    flop dpo-whole | awk -v other="$(flop simpo-whole | awk '{ s += $2 } END { print s }')" '{ s += $2 } END { exit !(s > 1.15 * other && s < 1.5 * other) }'; then
    ok train_flop
else
    fail "train_flop: sft $(flop sft-whole | tail -1), resumed $(flop sft-cut | tail -1), ppo $(flop ppo-whole | tail -1), $(flop ppo-cut | tail -1); dpo $(flop dpo-whole | tail -1), simpo $(flop simpo-whole | tail -1)"
fi
if ! grep -q '"policy/entropy_avg": [1-9]' "$T/ppo-whole/metrics.jsonl"; then fail train_ppo_entropy; else ok train_ppo_entropy; fi

# float32 on the reference backend gives the same bits as on cpu
# shellcheck disable=SC2086
quiet tenet $dpo --output-dir "$T/dpo-cpu" --dtype float32 --max-steps 2 --save-steps 0
# shellcheck disable=SC2086
quiet tenet $dpo --output-dir "$T/dpo-ref" --dtype float32 --max-steps 2 --save-steps 0 --backend ref
if equal "$T/dpo-cpu" "$T/dpo-ref"; then ok train_reference_backend_same_bits; else fail train_reference_backend_same_bits; fi

# output folders
# shellcheck disable=SC2086
fails train_folder_in_use 1 "already holds a run" tenet $sft --output-dir "$T/sft-whole"
fails train_other_rows 1 "was trained on other rows" tenet sft --model "$T/base" --data "$T/text.jsonl" --output-dir "$T/sft-cut" --resume-from-checkpoint latest
fails train_no_data 2 "--data is missing" tenet sft --model "$T/base" --output-dir "$T/none"
fails train_nothing_to_compare 2 "give --eval-data and --eval-steps" tenet sft --model "$T/base" --data "$T/sft.jsonl" --output-dir "$T/none" \
    --load-best-model-at-end
fails train_no_model 1 "there is no such folder" tenet sft --model "$T/nowhere" --data "$T/sft.jsonl" --output-dir "$T/none"
printf '{"prompt": "x"}\n' >"$T/bad.jsonl"
fails train_bad_row 1 "bad.jsonl:1: the row has \"prompt\" but no \"completion\"" tenet sft --model "$T/base" --data "$T/bad.jsonl" --output-dir "$T/none1"
# shellcheck disable=SC2086
fails train_truncated_sampling 2 "truncated-logp" tenet $ppo --output-dir "$T/none2" --top-p 0.9
# shellcheck disable=SC2086
quiet tenet $sft --output-dir "$T/dry" --dry-run && [ ! -e "$T/dry" ] && grep -q "memory:" "$T/log" && ok train_dry_run || fail train_dry_run

# evaluation: every model side by side, a table and two files
quiet tenet eval --world --count 16 --models base="$T/base" sft="$T/sft-whole" --ref-model "$T/base" --reward-model "$T/rm" --baselines \
    --pairs "$T/pairs.jsonl" --out "$T/eval" && [ -s "$T/eval/eval.json" ] && [ "$(wc -l <"$T/eval/samples.jsonl")" = 16 ] &&
    grep -q "true reward" "$T/log" && ok train_eval || fail "train_eval: $(tail -1 "$T/log")"

# a reward model with its own tokenizer (the same one, differently written) gives the same run
quiet tenet reward --model models/world --data "$T/rank.jsonl" --output-dir "$T/rm-world" --max-steps 3 --save-steps 0 --save-dtype float32
cp -r "$T/rm-world" "$T/rm-own" && printf '\n' >>"$T/rm-own/tokenizer.json"
for r in rm-world rm-own; do
    quiet tenet ppo --model models/world --reward-model "$T/$r" --critic policy --data "$T/rl.jsonl" --iterations 2 --rollouts 8 \
        --minibatch-size 4 --response-length 12 --temperature 1 --save-steps 0 --output-dir "$T/ppo-$r"
done
if grep -q "its own tokenizer" "$T/log" && cmp -s "$T/ppo-rm-world/metrics.jsonl" "$T/ppo-rm-own/metrics.jsonl"; then
    ok train_reward_model_own_tokenizer
else
    fail "train_reward_model_own_tokenizer: $(tail -1 "$T/log")"
fi

# few-shot examples for one of two names of the same model; win rates against both
head -3 "$T/sft.jsonl" >"$T/shots.jsonl"
quiet tenet eval --world --count 16 --models base="$T/base" few="$T/base" sft="$T/sft-whole" --few-shot few="$T/shots.jsonl" --against base few \
    --out "$T/eval-few" && [ "$(grep -c '"shots"' "$T/eval-few/eval.json")" = 1 ] && grep -q '"win_few"' "$T/eval-few/eval.json" &&
    grep -q "few: [23]\.[0-9] examples before a prompt" "$T/log" && ok train_eval_few_shot || fail "train_eval_few_shot: $(tail -1 "$T/log")"
fails train_eval_few_shot_name 2 "once for a name of --models" tenet eval --world --models base="$T/base" --few-shot other="$T/shots.jsonl" --out "$T/none"
fails train_eval_against 2 "no model has that name" tenet eval --world --models base="$T/base" --against base other --out "$T/none"
quiet tenet generate --model "$T/base" --input "$T/eval-few/prompts.jsonl" --few-shot "$T/shots.jsonl" --num-fewshot 1 --max-new-tokens 4 --out "$T/few.jsonl" &&
    grep -q "1.0 examples before a prompt" "$T/log" && ok train_generate_few_shot || fail "train_generate_few_shot: $(tail -1 "$T/log")"

# evaluation while training: entries, early stopping, the best weights stay
quiet tenet sft --model "$T/base" --data "$T/sft.jsonl" --eval-data "$T/sft.jsonl" --eval-steps 1 --max-steps 40 --learning-rate 0.5 \
    --max-grad-norm 0 --early-stopping-patience 3 --load-best-model-at-end --save-steps 0 --output-dir "$T/best"
steps=$(grep -c '"grad_norm"' "$T/best/metrics.jsonl")
if [ "$steps" -lt 40 ] && grep -q eval_loss "$T/best/metrics.jsonl" && grep -q "kept the weights of step" "$T/log"; then
    ok train_early_stopping_keeps_best
else
    fail "train_early_stopping_keeps_best: $steps steps; $(tail -1 "$T/log")"
fi

# Ctrl-C: the first one ends the step, checkpoints and leaves with 130
"$TENET_BIN" sft --model "$T/base" --data "$T/sft.jsonl" --max-steps 100000 --save-steps 0 --output-dir "$T/int" >"$T/log" 2>&1 &
pid=$!
n=0
while [ "$(wc -l 2>/dev/null <"$T/int/metrics.jsonl" || echo 0)" -lt 3 ] && [ $n -lt 600 ]; do sleep 0.05; n=$((n + 1)); done
kill -INT $pid
status=0
wait $pid || status=$?
step=$(tail -1 "$T/int/metrics.jsonl" | sed 's/.*"step": \([0-9]*\).*/\1/')
if [ $status = 130 ] && [ -s "$T/int/checkpoint-$step/model.safetensors" ] && grep -q "resume-from-checkpoint latest" "$T/log"; then
    ok train_ctrl_c
else
    fail "train_ctrl_c: status $status; $(tail -1 "$T/log")"
fi

# within an evaluation and the reference's log-probs, too, on one rank and on two; what was not finished is done again
# stops NAME FILE COMMAND...: TERM once FILE has something in it (a folder's FILE: is there) ends the run soon, with 130
stops() {
    local name=$1 file=$2 n=0 t0
    shift 2
    "$TENET_BIN" "$@" --output-dir "$T/$name" --save-steps 0 >"$T/log" 2>&1 &
    pid=$!
    while [ ! -$file "$T/$name/metrics.jsonl" ] && [ $n -lt 600 ]; do sleep 0.01; n=$((n + 1)); done
    t0=$(date +%s%N)
    kill -TERM $pid
    status=0
    wait $pid || status=$?
    echo $((($(date +%s%N) - t0) / 1000000)) >"$T/took"
    [ $status = 130 ] && grep -q "resume-from-checkpoint latest" "$T/log"
}
tenet world sft --count 2000 --out "$T/many.jsonl"
for ranks in 1 2; do
    name=train_ctrl_c_evaluation_$ranks
    if stops $name s sft --model models/world --data "$T/sft.jsonl" --eval-data "$T/many.jsonl" --max-steps 1 --ranks $ranks &&
        [ -s "$T/$name/checkpoint-1/model.safetensors" ] && ! grep -q eval_loss "$T/$name/metrics.jsonl"; then
        ok "$name ($(cat "$T/took") ms)"
    else
        fail "$name: status $status; $(tail -1 "$T/log")"
    fi
done
quiet tenet sft --model models/world --data "$T/sft.jsonl" --eval-data "$T/many.jsonl" --max-steps 1 --ranks 2 --save-steps 0 \
    --output-dir "$T/$name" --resume-from-checkpoint latest
if [ "$(grep -c eval_loss "$T/$name/metrics.jsonl")" = 1 ] && [ -s "$T/$name/model.safetensors" ]; then
    ok train_evaluation_is_done_again
else
    fail "train_evaluation_is_done_again: $(tail -1 "$T/log")"
fi
for i in $(seq 40); do cat "$T/pairs.jsonl"; done >"$T/many-pairs.jsonl"
name=train_ctrl_c_reference
if stops $name e dpo --model models/world --data "$T/many-pairs.jsonl" --precompute-ref-log-probs && [ ! -s "$T/$name/metrics.jsonl" ]; then
    ok "$name ($(cat "$T/took") ms)"
else
    fail "$name: status $status; $(tail -1 "$T/log")"
fi

# numbers that are not finite stop the run with where and what to try; nothing is written
cp -r "$T/base" "$T/nan-base"
size=$(wc -c <"$T/nan-base/model.safetensors")
printf '\377\377\377\177' | dd of="$T/nan-base/model.safetensors" bs=1 seek=$((size - 4)) conv=notrunc 2>/dev/null
fails train_not_finite 1 "expected a finite number" tenet sft --model "$T/nan-base" --data "$T/sft.jsonl" --max-steps 3 --save-steps 0 --output-dir "$T/nan"
if [ ! -e "$T/nan/model.safetensors" ]; then ok train_not_finite_writes_nothing; else fail train_not_finite_writes_nothing; fi
