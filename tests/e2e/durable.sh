# What can happen to a run's folder: full disk, no permission, damaged and exchanged files, a second run,
# another model, other options. Each has its message; what was good stays.
. tests/e2e/lib.sh
pid=
[ -w /dev/shm ] && D=$(mktemp -d /dev/shm/tenet-durable.XXXXXX) && trap '[ -z "$pid" ] || kill -9 $pid 2>/dev/null; umount "$D/disk" 2>/dev/null; rm -rf "$D"' EXIT
D=${D:-$E2E_TMP/durable}
. tests/e2e/tiny.sh "$D"
runs="pretrain sft reward inform odin cost prm dpo kto trdpo orpo simpo ppo grpo rloo lora distill tdpo"
# run RUN STEPS DIR [OPTION...]: a run that checkpoints every step
run() {
    local run=$1 steps=$2 dir=$3
    shift 3
    # shellcheck disable=SC2046
    tenet $(arguments "$run" "$steps") --save-steps 1 --output-dir "$dir" "$@"
}
resume() { run "$@" --resume-from-checkpoint latest; }
same_weights() { # A B
    local f=model.safetensors
    [ -e "$2/$f" ] || f=adapter_$f
    cmp -s "$1/$f" "$2/$f"
}
quiet() { "$@" >"$D/log" 2>&1; }
for run in $runs; do
    quiet run $run 3 "$D/$run" || fail "durable_$run: $(tail -n 1 "$D/log")"
done

# A full disk: files may have only so many blocks of 1,024 bytes.
for run in $runs; do
    for blocks in 1 8 20 60; do
        rm -rf "$D/full"
        (trap '' XFSZ; ulimit -f $blocks; run $run 3 "$D/full" 2>&1 >/dev/null) | cat >"$D/log"
        status=${PIPESTATUS[0]}
        [ "$status" != 0 ] || continue # every file is small
        if [ "$status" != 1 ] || ! grep -q "tenet: error: .*File too large" "$D/log"; then
            fail "durable_full_$run at $blocks kB: status $status, $(tail -n 1 "$D/log")"
            continue 2
        fi
        resume $run 3 "$D/full" >/dev/null 2>"$D/log" && same_weights "$D/full" "$D/$run" ||
            { fail "durable_full_$run at $blocks kB: no resuming, $(tail -n 1 "$D/log")"; continue 2; }
    done
    ok "durable_full_$run"
done
mkdir -p "$D/disk"
if [ "$(id -u)" = 0 ] && mount -t tmpfs -o size=200k tmpfs "$D/disk" 2>/dev/null; then
    fails durable_full_disk 1 "No space left on device" run sft 3 "$D/disk/run"
    rm -rf "$D/disk/run/"*.tmp* "$D"/disk/run/checkpoint-*.tmp
    mount -o remount,size=20m "$D/disk"
    quiet resume sft 3 "$D/disk/run" && cmp -s "$D/disk/run/model.safetensors" "$D/sft/model.safetensors" &&
        ok durable_full_disk_resume || fail "durable_full_disk_resume: $(tail -n 1 "$D/log")"
    mount -o remount,ro "$D/disk"
    fails durable_read_only 1 "Read-only file system" run sft 3 "$D/disk/other"
    fails durable_read_only_resume 1 "Read-only file system" resume sft 3 "$D/disk/run"
    fails durable_read_only_generate 1 "Read-only file system" tenet generate --model "$D/base" --input "$D/pref.jsonl" --out "$D/disk/x"
    umount "$D/disk"
elif [ "$(id -u)" != 0 ]; then
    skip durable_full_disk mounting needs root
    chmod a-w "$D/disk"
    fails durable_read_only 1 "Permission denied" run sft 3 "$D/disk/other"
    chmod u+w "$D/disk"
else
    skip durable_full_disk tmpfs cannot be mounted here
fi

# Every file of a checkpoint cut, changed in one bit, exchanged for another checkpoint's, or missing: refused
# by its name, and the checkpoint before it still serves.
damaged() { # VERB FILE HOW
    local ckpt=$D/hurt/checkpoint-3 file=$2 size
    size=$(wc -c <"$ckpt/$file")
    cp "$ckpt/$file" "$D/good"
    case $3 in
        cut) head -c $((size / 2)) "$D/good" >"$ckpt/$file" ;;
        bit) printf "$(printf '\\%03o' $(($(od -An -tu1 -j $((size / 2)) -N 1 "$D/good") ^ 4)))" |
            dd of="$ckpt/$file" bs=1 seek=$((size / 2)) conv=notrunc 2>/dev/null ;;
        other) cp "$D/hurt/checkpoint-2/$file" "$ckpt/$file" ;;
        gone) rm "$ckpt/$file" ;;
    esac
    local status=0
    if [ "$3" = other ] && cmp -s "$ckpt/$file" "$D/good"; then return; fi # the same in both
    resume "$1" 4 "$D/hurt" >/dev/null 2>"$D/log" || status=$?
    if [ $status != 1 ] || ! grep -q "tenet: error: .*checkpoint-3 is damaged.*\($file\|the manifest says\)" "$D/log"; then
        bad="$bad $file $3: status $status, $(tail -n 1 "$D/log");"
    fi
    cp "$D/good" "$ckpt/$file"
    tried=$((tried + 1))
}
for run in sft reward trdpo ppo grpo lora; do
    bad='' tried=0
    rm -rf "$D/hurt"
    cp -r "$D/$run" "$D/hurt"
    for file in $(cd "$D/hurt/checkpoint-3" && find . -type f | sed 's|^\./||' | sort); do
        for how in cut bit other gone; do damaged $run "$file" $how; done
    done
    rm "$D/hurt/checkpoint-3/optimizer/model.safetensors"
    quiet run $run 3 "$D/hurt" --resume-from-checkpoint "$D/hurt/checkpoint-2" &&
        same_weights "$D/hurt" "$D/$run" || bad="$bad the one before does not serve: $(tail -n 1 "$D/log")"
    if [ -z "$bad" ]; then ok "durable_damaged_$run ($tried files)"; else fail "durable_damaged_$run:$bad"; fi
done
# weights or moments of another run, in a folder that looks complete
cp -r "$D/sft" "$D/mixed"
cp "$D/dpo/checkpoint-3/optimizer/model.safetensors" "$D/mixed/checkpoint-3/optimizer/"
fails durable_moments_of_another_run 1 "it was changed or is of another checkpoint" resume sft 4 "$D/mixed"
fails durable_inspect 1 "it was changed or is of another checkpoint" tenet inspect "$D/mixed/checkpoint-3"

# two runs in one folder
# shellcheck disable=SC2046
"$TENET_BIN" $(arguments sft 100000) --output-dir "$D/busy" --save-steps 0 >"$D/log" 2>&1 &
pid=$!
n=0
while [ ! -s "$D/busy/metrics.jsonl" ] && [ $n -lt 600 ]; do sleep 0.02; n=$((n + 1)); done
for run in $runs; do
    fails "durable_second_run_$run" 1 "is in use by another run (process" run $run 3 "$D/busy" --overwrite
done
kill -9 $pid
wait $pid 2>/dev/null
pid=
[ -s "$D/busy/metrics.jsonl" ] || fail durable_second_run_leaves_the_first

# another verb, model, reward model or rows: refused; other options: named
fails durable_resume_other_verb 1 'was made by `tenet sft`' tenet pretrain --model "$D/base" --data "$D/text.jsonl" --output-dir "$D/sft" \
    --resume-from-checkpoint latest
# shellcheck disable=SC2046
{
    fails durable_resume_other_model 1 "was trained with another --model" tenet $(arguments dpo 4) --output-dir "$D/dpo" \
        --resume-from-checkpoint latest --model "$D/sft"
    cp -r "$D/base" "$D/moved" # the same weights elsewhere are the same model
    check durable_resume_moved_model tenet $(arguments dpo 3) --output-dir "$D/dpo" --resume-from-checkpoint latest --model "$D/moved"
    fails durable_resume_other_reward_model 1 "was trained with another --reward-model" tenet $(arguments ppo 4) \
        --output-dir "$D/ppo" --resume-from-checkpoint latest --reward-model "$D/reward"
    fails durable_resume_other_reward_models 1 "was trained with another --reward-model" tenet $(arguments grpo 4) \
        --output-dir "$D/grpo" --resume-from-checkpoint latest --reward-model "$D/reward"
    fails durable_resume_other_teacher 1 "was trained with another --teacher-model" tenet $(arguments distill 4) \
        --output-dir "$D/distill" --resume-from-checkpoint latest --teacher-model "$D/sft"
    fails durable_resume_other_adapter 2 "--lora-r: the adapter in $D/lora/checkpoint-3 has rank 4" tenet $(arguments lora 4) \
        --output-dir "$D/lora" --resume-from-checkpoint latest --lora-r 8
    fails durable_resume_without_adapter 1 "holds an adapter; go on with --use-peft" tenet $(arguments sft 4) \
        --output-dir "$D/lora" --resume-from-checkpoint latest
    fails durable_resume_other_rows 1 "was trained on other rows" tenet $(arguments reward 4) --output-dir "$D/reward" \
        --resume-from-checkpoint latest --max-rows 20
}
quiet resume dpo 5 "$D/dpo" --beta 0.3 --threads 1 --save-total-limit 9
if grep -q "warning.*--beta is 0.3, and was 0.1" "$D/log" && grep -q "warning.*--max-steps is 5, and was 3" "$D/log" &&
    [ "$(grep -c warning "$D/log")" = 2 ] && [ -s "$D/dpo/checkpoint-5/manifest.json" ]; then
    ok durable_resume_other_options
else
    fail "durable_resume_other_options: $(grep warning "$D/log")"
fi
fails durable_resume_nowhere 2 "no trainer_state.json there" run sft 3 "$D/none" --resume-from-checkpoint "$D/base/../pref.jsonl"

# numbers that are not finite: every run stops, says where, and leaves its checkpoints
cp -r "$D/base" "$D/nan-base"
size=$(wc -c <"$D/nan-base/model.safetensors")
printf '\377\377\377\177' | dd of="$D/nan-base/model.safetensors" bs=1 seek=$((size - 4)) conv=notrunc 2>/dev/null
for run in sft reward dpo kto bco aot orpo cpo simpo ppo grpo rloo lora distill tdpo; do
    # shellcheck disable=SC2046
    fails "durable_not_finite_$run" 1 "finite" tenet $(arguments $run 3) --model "$D/nan-base" --output-dir "$D/nan-$run"
    [ -z "$(find "$D/nan-$run" -name "*.safetensors")" ] || fail "durable_not_finite_$run: a model was written"
done
quiet run sft 400 "$D/blowup" --learning-rate 10 --weight-decay 10 --save-total-limit 1
# what is left, the last checkpoint and the best, is whole
damaged=0
for d in "$D"/blowup/checkpoint-*; do tenet inspect "$d" >/dev/null || damaged=1; done
if [ ! -e "$D/blowup/model.safetensors" ] && [ $damaged = 0 ] && grep -q "finite" "$D/log"; then
    ok durable_blow_up
else
    fail "durable_blow_up: $(tail -n 1 "$D/log")"
fi
