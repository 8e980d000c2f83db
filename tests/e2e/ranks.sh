# Training on several ranks, by --ranks over shared memory and by mpirun: the same bits for 1, 2 and 4 ranks, checkpoints
# that any number of ranks continues, failures that end all ranks with one message.
. tests/e2e/lib.sh
T=$E2E_TMP/ranks
mkdir -p "$T"
quiet() { "$@" >"$T/log" 2>&1; }
last() { grep -v '^--' "$T/log" | grep . | tail -n 1; }

# Everything in float32: the bits of these runs are the same on every machine.
common="--dtype float32 --micro-batch-tokens 2048 --threads 1 --learning-rate 1e-3 --seed 3"
tenet world config --out "$T/tiny" --hidden-size 32 --layers 1 --heads 2 --intermediate-size 48 2>/dev/null
tenet world text --count 400 --out "$T/text.jsonl"
tenet world sft --count 96 --out "$T/sft.jsonl"
tenet world prompts-pref --count 24 --out "$T/pref.jsonl"
tenet world prompts-rl --count 64 --out "$T/rl.jsonl"
# shellcheck disable=SC2086
{
    quiet tenet pretrain --model "$T/tiny" --data "$T/text.jsonl" --output-dir "$T/base" --batch-tokens 2048 --max-steps 8 \
        $common --learning-rate 3e-3 --save-steps 0 &&
        quiet tenet generate --model "$T/base" --input "$T/pref.jsonl" --n 4 --max-new-tokens 12 --dtype float32 --out "$T/samples.jsonl" &&
        quiet tenet world rank --input "$T/samples.jsonl" --annotator careful --out "$T/rank.jsonl" --pairs-out "$T/pairs.jsonl" &&
        quiet tenet reward --model "$T/base" --data "$T/rank.jsonl" --kwise --output-dir "$T/rm" --max-steps 3 --save-steps 0 $common
} || fail "ranks_set_up: $(last)"

sft="sft --model $T/base --data $T/sft.jsonl --eval-data $T/sft.jsonl --eval-steps 4 --assistant-only-loss --per-device-train-batch-size 8 --max-steps 6 $common"
reward="reward --model $T/base --data $T/rank.jsonl --kwise --per-device-train-batch-size 6 --max-steps 6 $common"
dpo="dpo --model $T/base --data $T/pairs.jsonl --precompute-ref-log-probs --per-device-train-batch-size 6 --max-steps 6 $common"
ppo="ppo --model $T/base --reward-model $T/rm --data $T/rl.jsonl --iterations 6 --rollouts 12 --minibatch-size 6 --num-ppo-epochs 2
     --response-length 12 --temperature 1 --missing-eos-penalty 1 --kl-target 1 --reward-scale $common"

# adapters, one of them with a pretraining mix; several samples of a prompt, several steps of a sampling
sft_lora="$sft --use-peft --lora-r 4 --lora-target-modules all-linear"
ppo_lora="$ppo --use-peft --lora-r 4 --ptx-coef 0.5 --ptx-data $T/sft.jsonl --ptx-batch-size 8"
ppo_safe="$ppo --reward-model $T/rm $T/rm --cost-model $T/rm --macro-action random --macro-loss macro --reward-shaping par --reference-answers 2
          --ensemble uwo"
grpo="grpo --model $T/base --data $T/rl.jsonl --reward-model $T/rm --reward-funcs world --num-generations 4
      --per-device-train-batch-size 8 --steps-per-generation 2 --num-iterations 2 --max-steps 6 --max-completion-length 12
      --beta 0.05 --mask-truncated-completions --top-entropy-quantile 0.5 $common"
gmpo="$grpo --loss-type gmpo"
rloo="rloo --model $T/base --data $T/rl.jsonl --reward-model $T/rm --per-device-train-batch-size 12 --num-iterations 2 --max-steps 6
      --max-completion-length 12 --normalize-advantages $common"
online_dpo="online-dpo --model $T/base --data $T/rl.jsonl --reward-model $T/rm --num-generations 3 --per-device-train-batch-size 5
      --steps-per-generation 2 --max-steps 6 --max-new-tokens 12 $common"
rft="rft --model $T/base --data $T/rl.jsonl --reward-model $T/rm --num-generations 3 --per-device-train-batch-size 5
      --steps-per-generation 2 --max-steps 6 --max-new-tokens 12 $common"
xpo="xpo --model $T/base --data $T/rl.jsonl --reward-model $T/rm --per-device-train-batch-size 5 --steps-per-generation 2 --alpha 0.01
      --max-new-tokens 12 --max-steps 6 $common"
nash_md="nash-md --model $T/base --data $T/rl.jsonl --reward-model $T/rm --per-device-train-batch-size 5 --steps-per-generation 2
      --max-new-tokens 12 --max-steps 6 $common"
a2po="a2po --model $T/base --data $T/rl.jsonl --reward-model $T/rm --num-value-samples 3 --per-device-train-batch-size 8 --beta2 0.1
      --max-completion-length 12 --max-steps 6 $common"
remax="reinforce --advantage-estimator remax --model $T/base --data $T/rl.jsonl --reward-model $T/rm --num-generations 2
      --per-device-train-batch-size 9 --steps-per-generation 2 --max-steps 6 --max-completion-length 12 $common"

pairs="--model $T/base --data $T/pairs.jsonl --eval-data $T/pairs.jsonl --eval-steps 4 --per-device-train-batch-size 6 --max-steps 6 $common"
kto="kto $pairs --gradient-accumulation-steps 2 --train-sampling-strategy random"
bco="kto --loss-type bco $pairs --precompute-ref-log-probs"
orpo="orpo $pairs"
sed 's/"chosen": \(.*\), "rejected": /"chosen": \1, "reference": \1, "rejected": /' "$T/pairs.jsonl" >"$T/triples.jsonl"
tpo="tpo --model $T/base --data $T/triples.jsonl --eval-data $T/triples.jsonl --eval-steps 4 --per-device-train-batch-size 6 --max-steps 6 $common"
aot="dpo --loss-type aot_unpaired $pairs"
trdpo="dpo --sync-ref-model --ref-model-sync-steps 2 $pairs"

tdpo="tdpo --model $T/base --data $T/pairs.jsonl --per-device-train-batch-size 6 --beta 0.5 --max-steps 6 $common"
distill="distill --model $T/base --teacher-model models/world --data $T/sft.jsonl --eval-data $T/sft.jsonl --eval-steps 4 --per-device-train-batch-size 8
         --max-new-tokens 12 --max-steps 6 $common"
sed 's/}$/, "chosen_safe": true, "rejected_safe": false}/' "$T/pairs.jsonl" >"$T/safety.jsonl"
sed 's/.*"prompt_ids": \(\[[^]]*\]\), "ids": \(\[[^]]*\]\).*/{"prompt_ids": \1, "step_ids": [\2, [7, 8, 9]], "labels": [true, false]}/' "$T/samples.jsonl" >"$T/steps.jsonl"
inform="reward --head inform --model $T/base --data $T/pairs.jsonl --eval-data $T/pairs.jsonl --eval-steps 4 --per-device-train-batch-size 6 --max-steps 6 $common"
odin="reward --head odin --model $T/base --data $T/pairs.jsonl --eval-data $T/pairs.jsonl --eval-steps 4 --per-device-train-batch-size 7 --max-steps 6 $common"
heads="reward --head ensemble --model $T/base --data $T/pairs.jsonl --per-device-train-batch-size 6 --max-steps 6 $common"
cost="cost --model $T/base --data $T/safety.jsonl --per-device-train-batch-size 6 --max-steps 6 $common"
prm="prm --model $T/base --data $T/steps.jsonl --per-device-train-batch-size 6 --max-steps 6 $common"
ensemble="$grpo --reward-model $T/rm $T/rm --ensemble uwo --alarm-latent 1 --alarm-separation 1"

# equal A B: the same weights, moments, metrics, state
equal() {
    local f
    for f in model.safetensors metrics.jsonl trainer_state.json checkpoint-3/trainer_state.json checkpoint-3/model.safetensors \
        checkpoint-3/optimizer/model.safetensors checkpoint-3/critic/optimizer/model.safetensors samples.jsonl values.jsonl alarms.jsonl \
        checkpoint-3/cost-critic/optimizer/model.safetensors checkpoint-3/cost-critic/model.safetensors \
        checkpoint-3/reference/model.safetensors adapter_model.safetensors checkpoint-3/adapter_model.safetensors checkpoint-3/critic/adapter_model.safetensors; do
        [ -e "$1/$f" ] || [ -e "$2/$f" ] || continue
        cmp -s "$1/$f" "$2/$f" || { echo "$f" >"$T/differs"; return 1; }
    done
}

# One lane on one rank: the bits that runs have always had, on every machine.
check_hash() {
    local method=$1 want=$2 line=${!1} got
    # shellcheck disable=SC2086
    quiet tenet $line --output-dir "$T/$method-plain" --save-steps 3 || { fail "ranks_${method}_one_lane: $(last)"; return; }
    got=$(cat "$T/$method-plain/model.safetensors" "$T/$method-plain/checkpoint-3/optimizer/model.safetensors" | sha256sum | cut -c1-16)
    if [ "$got" = "$want" ]; then ok "ranks_${method}_one_lane_bits"; else fail "ranks_${method}_one_lane_bits: $got, expected $want"; fi
}
check_hash sft 0fd0629953d9ec52
check_hash reward a4328deb2cb49365
check_hash dpo ac74cb4eff967c21
check_hash ppo 1ea3792e5b0ebb1f

mpi=
if ! command -v mpirun >/dev/null 2>&1; then
    mpi_missing="no mpirun (Debian: openmpi-bin)"
elif [ ! -e "${TENET_BIN%/*}/tenet-mpi.so" ]; then
    mpi_missing="no tenet-mpi.so (Debian: libopenmpi-dev, then make)"
else
    mpi=mpirun
    if mpirun --version 2>&1 | grep -q "Open MPI"; then
        mpi="mpirun --oversubscribe --bind-to none"
        export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    fi
fi

for method in sft reward inform odin heads cost prm dpo kto bco orpo tpo aot trdpo ppo ppo_safe sft_lora ppo_lora grpo gmpo ensemble rloo online_dpo rft a2po xpo nash_md remax distill tdpo; do
    line=${!method}
    bad=
    for n in 1 2 4; do
        # shellcheck disable=SC2086
        quiet tenet $line --grad-lanes 4 --ranks $n --output-dir "$T/$method-$n" --save-steps 3 || bad="$bad $n ranks: $(last)"
        [ $n = 1 ] || equal "$T/$method-1" "$T/$method-$n" || bad="$bad $n ranks: other bits in $(cat "$T/differs")"
    done
    [ -e "$T/$method-plain" ] && cmp -s "$T/$method-1/model.safetensors" "$T/$method-plain/model.safetensors" && bad="$bad four lanes have the bits of one"
    if [ -z "$bad" ]; then ok "ranks_${method}_1_2_4_same_bits"; else fail "ranks_${method}_1_2_4_same_bits:$bad"; fi
    [ -n "$mpi" ] || { skip "ranks_${method}_mpirun" "$mpi_missing"; continue; }
    bad=
    for n in 2 4; do
        # shellcheck disable=SC2086
        quiet $mpi -np $n "$TENET_BIN" $line --grad-lanes 4 --output-dir "$T/$method-mpi$n" --save-steps 3 || bad="$bad $n ranks: $(last)"
        equal "$T/$method-1" "$T/$method-mpi$n" || bad="$bad $n ranks: other bits in $(cat "$T/differs")"
    done
    if [ -z "$bad" ]; then ok "ranks_${method}_mpirun_same_bits"; else fail "ranks_${method}_mpirun_same_bits:$bad"; fi
done

# the default number of lanes is that of the ranks, and a resumed run keeps it
# shellcheck disable=SC2086
quiet tenet $sft --ranks 4 --output-dir "$T/auto" --save-steps 3 && equal "$T/sft-1" "$T/auto" && rm -r "$T/auto/checkpoint-6" &&
    quiet tenet $sft --output-dir "$T/auto" --save-steps 3 --resume-from-checkpoint latest && grep -q "4 gradient lanes" "$T/log" &&
    equal "$T/sft-1" "$T/auto" && ok ranks_lanes_are_kept || fail "ranks_lanes_are_kept: $(last)"

# Runs with enough steps to be interrupted; checkpoints of grpo lie within a sampling. `long` is the one in hand.
long_sft="sft --model $T/base --data $T/sft.jsonl --max-steps 400 --save-steps 20 --per-device-train-batch-size 8 --grad-lanes 4 $common"
long_lora="$long_sft --use-peft --lora-r 4"
long_grpo="$grpo --max-steps 200 --save-steps 14 --grad-lanes 4"
for long in sft lora grpo; do
    line=long_$long
    # shellcheck disable=SC2086
    quiet tenet ${!line} --output-dir "$T/long_$long" || fail "ranks_long_$long: $(last)"
done

# start RUN DIR LAUNCHER...: the long run in the background, until its first checkpoint; $pid is the launcher's.
start() {
    local dir=$2 n=0
    long=long_$1
    shift 2
    rm -rf "$dir"
    # shellcheck disable=SC2086
    "$@" "$TENET_BIN" ${!long} --output-dir "$dir" $more >"$T/log" 2>&1 &
    pid=$!
    while [ -z "$(find "$dir" -maxdepth 1 -name 'checkpoint-*[0-9]' 2>/dev/null)" ] && kill -0 $pid 2>/dev/null && [ $n -lt 3000 ]; do
        sleep 0.02
        n=$((n + 1))
    done
}
# ended SECONDS: waits for the launcher; $status
ended() {
    local n=0
    status=0
    while kill -0 $pid 2>/dev/null && [ $n -lt $((20 * $1)) ]; do sleep 0.05; n=$((n + 1)); done
    [ $n -lt $((20 * $1)) ] || { kill -9 $pid; return 1; }
    wait $pid 2>/dev/null || status=$?
}
# rank I: process id of the launcher's I-th child
rank() {
    local child n=0
    for child in $(cat "/proc/$pid/task/$pid/children"); do
        [ "/proc/$child/exe" -ef "$TENET_BIN" ] || continue
        n=$((n + 1))
        [ $n != "$1" ] || echo "$child"
    done
}
# goes_on NAME DIR LAUNCHER...: resumed, that run ends in the bytes of the uninterrupted one
goes_on() {
    local name=$1 dir=$2
    shift 2
    # shellcheck disable=SC2086
    if ! quiet "$@" "$TENET_BIN" ${!long} --output-dir "$dir" --resume-from-checkpoint latest $more; then
        fail "$name: $(last)"
    elif equal "$dir" "$T/$long"; then
        ok "$name"
    else
        fail "$name: other bits in $(cat "$T/differs")"
    fi
}

# kill -9 of a rank ends the run with a message; another number of ranks continues it. RUN, victim, ranks afterwards
while read -r run victim ranks; do
    more="--ranks 4" start "$run" "$T/kill"
    kill -9 "$(rank "$((victim + 1))")"
    if ended 60 && [ $status = 1 ] && grep -q "rank $victim of 4 was killed by signal 9" "$T/log" && [ "$(grep -c error "$T/log")" = 1 ]; then
        ok "ranks_${run}_kill_9_of_rank_$victim"
    else
        fail "ranks_${run}_kill_9_of_rank_$victim: status $status; $(last)"
    fi
    more="--ranks $ranks" goes_on "ranks_${run}_resume_after_kill_of_rank_$victim" "$T/kill"
done <<END
sft 0 1
sft 2 2
lora 3 1
grpo 1 2
END
if [ -n "$mpi" ]; then
    more="" start sft "$T/mkill" $mpi -np 4
    kill -9 "$(rank 2)"
    if ended 60 && [ $status != 0 ]; then ok ranks_mpirun_kill_9; else fail "ranks_mpirun_kill_9: status $status; $(last)"; fi
    more="" goes_on ranks_mpirun_resume_after_kill "$T/mkill" $mpi -np 2
else
    skip ranks_mpirun_kill_9 "$mpi_missing"
fi

# the first TERM ends the step on all ranks and checkpoints; a rank that hangs is noticed by the others
more="--ranks 2" start sft "$T/term"
kill -TERM $pid
if ended 60 && [ $status = 130 ] && grep -q "resume-from-checkpoint latest" "$T/log"; then ok ranks_stop; else fail "ranks_stop: status $status; $(last)"; fi
more="--ranks 4" goes_on ranks_resume_after_stop "$T/term"
# the process that started them is killed, then one of them: nobody tells the other, which does not wait for long
more="--ranks 2" start sft "$T/orphan"
first=$(rank 1) second=$(rank 2)
kill -STOP "$second"
kill -9 $pid
wait $pid 2>/dev/null
kill -9 "$second"
n=0
while kill -0 "$first" 2>/dev/null && [ $n -lt 400 ]; do sleep 0.05; n=$((n + 1)); done
kill -9 "$first" 2>/dev/null
if [ $n -lt 400 ] && grep -q "rank 1 of 2 is gone, and so is the process that started the ranks" "$T/log"; then ok ranks_orphan; else fail "ranks_orphan: $(last)"; fi
more="--ranks 4" goes_on ranks_resume_after_orphan "$T/orphan"
more="--ranks 2 --comm-timeout 5" start sft "$T/hang"
kill -STOP "$(rank 2)"
if ended 60 && [ $status = 1 ] && grep -q "rank 0 of 2 has waited 5 seconds for rank 1, which does not come" "$T/log"; then
    ok ranks_watch_dog
else
    fail "ranks_watch_dog: status $status; $(last)"
fi

# one message, whoever fails
# shellcheck disable=SC2086
fails ranks_no_model 1 "there is no such folder" tenet $sft --model "$T/nowhere" --ranks 4 --output-dir "$T/none"
if [ "$(grep -c "error:" "$E2E_TMP/check.log")" = 1 ]; then ok ranks_one_message; else fail "ranks_one_message: $(grep -c "error:" "$E2E_TMP/check.log")"; fi
# shellcheck disable=SC2086
fails ranks_first_rank_fails_alone 1 "cannot" tenet $sft --ranks 2 --output-dir "$T/sft.jsonl/folder"
# shellcheck disable=SC2086
fails ranks_folder_in_use 1 "already holds a run" tenet $sft --ranks 2 --output-dir "$T/sft-1"
# shellcheck disable=SC2086
fails ranks_three 2 "must be a power of two" tenet $sft --ranks 3 --output-dir "$T/none"
# shellcheck disable=SC2086
fails ranks_too_few_lanes 2 "2 ranks have no work with 1 gradient lane" tenet $sft --ranks 2 --grad-lanes 1 --output-dir "$T/none"
# shellcheck disable=SC2086
fails ranks_lanes_no_power 2 "--grad-lanes 6" tenet $sft --grad-lanes 6 --output-dir "$T/none"
fails ranks_verb_of_one 2 "'tenet generate' runs as one process" env OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=2 "$TENET_BIN" generate \
    --model "$T/base" --input "$T/pref.jsonl"
mkdir -p "$T/alone" && cp "$TENET_BIN" "$T/alone/tenet"
# shellcheck disable=SC2086
fails ranks_without_plugin 1 "install an MPI library" env PMI_RANK=0 PMI_SIZE=2 "$T/alone/tenet" $sft --output-dir "$T/none"
# shellcheck disable=SC2086
quiet env PMI_RANK=0 PMI_SIZE=2 "$T/alone/tenet" $sft --comm self --output-dir "$T/self" && ok ranks_comm_self || fail "ranks_comm_self: $(last)"
# shellcheck disable=SC2086
quiet tenet $sft --grad-lanes 4 --dry-run && grep -q "gradients, 3 at once" "$T/log" && ok ranks_dry_run || fail "ranks_dry_run: $(last)"
if [ -n "$mpi" ] && [ "$mpi" != mpirun ]; then
    # ranks that were given different rows, and one that fails on its own
    # shellcheck disable=SC2086
    fails ranks_mpirun_other_rows 1 "rank 1 of 2 has another hash of the rows" $mpi -np 1 "$TENET_BIN" $sft --output-dir "$T/none" : \
        -np 1 "$TENET_BIN" $sft --data "$T/text.jsonl" --output-dir "$T/none"
    # shellcheck disable=SC2086
    fails ranks_mpirun_one_fails 1 "rank 1 of 2: cannot open" $mpi -np 1 "$TENET_BIN" $sft --output-dir "$T/none" : \
        -np 1 "$TENET_BIN" $sft --data "$T/nowhere.jsonl" --output-dir "$T/none"
    # shellcheck disable=SC2086
    fails ranks_srun_without_pmi 1 "2 processes were started, but" env SLURM_PROCID=0 SLURM_STEP_NUM_TASKS=2 "$TENET_BIN" $sft --output-dir "$T/none"
else
    skip ranks_mpirun_failures "${mpi_missing:-no Open MPI}"
fi
[ -z "${e2e_failed:-}" ]
