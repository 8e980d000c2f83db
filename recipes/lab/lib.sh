# For recipes/lab.sh: what experiments in the built-in world share. $seed, $work (this seed's folder: what
# world_start.sh made and the arms) and $tenet are set.
#
# An experiment NAME is recipes/lab/NAME.sh. It sets title, claim, published and against, lists its arms and defines
# arm_ARM, which trains into $1; ${tune:-} is the arm's one tuned number, whose candidates and choice stand beside it.
# `measure ARM DIR`, where an experiment has one, prints a line "key number" for each number of its own about an arm; `columns`
# are those of its table, as in columns=("acc:held-out accuracy:3" length), `metric` the one that arms are compared by. policies=
# (empty) leaves out `tenet eval`, for arms that are not policies; eval_options are more options of it. `against` is an arm, or
# several: win rates against all, differences from the first.
common="--dtype float32 --micro-batch-tokens 2048 --adam-beta2 0.95 --save-steps 0 --save-dtype float32 --seed $seed --overwrite"
# policies that sample: all see the same prompts in the same order
sampled="$common --model $work/sft --data $work/prompts-rl.jsonl --temperature 1 --warmup-steps 5 --train-sampling-strategy sequential"
rewarded="$sampled --reward-model $work/reward"
# "accuracy X" and "ece X" of the reward model in an eval.json with --pairs; means of numbers with the same key.
reward_model() {
    awk '/"reward_model"/ { on = 1 } on && /"rate"/ { r = $2 + 0 } on && /"ece"/ { e = $2 + 0 } END { print "accuracy", r; print "ece", e }' "$1"
}
means() { awk '{ n[$1]++; s[$1] += $2 } END { for (k in n) print k, s[k] / n[k] }'; }

# curve DIR FIRST: DIR/curve.jsonl, true reward at the start (FIRST) and at each of a run's checkpoints, which go. 320 prompts.
curve() {
    [ -e "$1/curve.jsonl" ] && return
    local models="0=$2" c
    for c in $(ls -d "$1"/checkpoint-* | sed 's/.*-//' | sort -n); do models="$models $c=$1/checkpoint-$c"; done
    $tenet eval --world --count 320 --models $models --against 0 --dtype float32 --seed 5 --out "$1/curve" --curve "$1/curve.tmp" >"$1/curve.log" 2>&1
    rm -r "$1"/checkpoint-*
    mv "$1/curve.tmp" "$1/curve.jsonl"
}
# reached DIR LEVEL: the step at which the curve first has true reward LEVEL: means of three neighbours (what one evaluation
# errs by goes down), a straight line between them. Nothing where it never has.
reached() {
    sed 's/.*"step": \([0-9]*\), "true_reward": \([^,]*\).*/\1 \2/' "$1/curve.jsonl" | awk -v level="$2" '
        { step[NR] = $1; r[NR] = $2 }
        END {
            for (i = 1; i <= NR; i++) {
                n = 0; sum = 0
                for (k = i - 1; k <= i + 1; k++) if (k >= 1 && k <= NR) { sum += r[k]; n++ }
                y = i == 1 ? r[1] : sum / n
                if (y >= level) { print i == 1 ? 0 : step[i - 1] + (step[i] - step[i - 1]) * (level - last) / (y - last); exit }
                last = y
            }
        }'
}
# flop DIR [STEP]: GFLOP of a run until STEP, a fraction of one included.
flop() {
    sed -n 's/.*"step": \([0-9]*\),.*"flop": \([0-9]*\).*/\1 \2/p' "$1/timing.jsonl" |
        awk -v end="${2:-1e9}" '{ part = end - $1 + 1; sum += $2 * (part >= 1 ? 1 : part > 0 ? part : 0) } END { print sum / 1e9 }'
}
