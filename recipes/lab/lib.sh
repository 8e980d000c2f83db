# For recipes/lab.sh: what experiments in the built-in world share. $seed, $work (this seed's folder: what
# world_start.sh made and the arms) and $tenet are set.
#
# An experiment NAME is recipes/lab/NAME.sh. It sets title, claim, published and against, lists its arms and defines
# arm_ARM, which trains into $1; ${tune:-} is the arm's one tuned number, whose candidates and choice stand beside it.
# `measure ARM DIR`, where an experiment has one, prints a line "key number" for each number of its own about an arm; `columns`
# are those of its table, as in columns=("acc:held-out accuracy:3" length), `metric` the one that arms are compared by. policies=
# (empty) leaves out `tenet eval`, for arms that are not policies.
common="--dtype float32 --micro-batch-tokens 2048 --adam-beta2 0.95 --save-steps 0 --save-dtype float32 --seed $seed --overwrite"
# policies that sample: all see the same prompts in the same order
sampled="$common --model $work/sft --data $work/prompts-rl.jsonl --temperature 1 --warmup-steps 5 --train-sampling-strategy sequential"
rewarded="$sampled --reward-model $work/reward"
# "accuracy X" and "ece X" of the reward model in an eval.json with --pairs; means of numbers with the same key.
reward_model() {
    awk '/"reward_model"/ { on = 1 } on && /"rate"/ { r = $2 + 0 } on && /"ece"/ { e = $2 + 0 } END { print "accuracy", r; print "ece", e }' "$1"
}
means() { awk '{ n[$1]++; s[$1] += $2 } END { for (k in n) print k, s[k] / n[k] }'; }
