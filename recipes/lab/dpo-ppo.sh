# What DPO saves against PPO: floating-point operations and CPU seconds until the policy first has the same true reward, with
# and without those of PPO's reward model. Both know the same 2,000 rankings and start from the same SFT model.
title="DPO and PPO: the cost of the same true reward"
claim="DPO reaches the same true reward with 40 to 60 % less computation than PPO."
published="40 to 60 % less is often quoted without a primary source; by parameter counts 27 % at one PPO epoch, 53 % with the reward model, 77 % at four epochs (2N a token forward, 4N backward)"
against=ppo
arms="dpo ppo"
# Tuned elsewhere on seed 11: DPO's beta (reference-free.sh), PPO's KL coefficient (critic-free.sh).
candidates_dpo=0.3 candidates_ppo=0.05
tune_dpo=0.3 tune_ppo=0.05
level=0.65 # of true reward; SFT has about .33, both end above .7
timed() { TIMEFORMAT="%U %S"; { time "${@:2}" >&3 2>&4; } 3>&1 4>&2 2>"$1"; }
arm_dpo() {
    timed "$1.cpu" $tenet dpo --model "$work/sft" --data "$work/rankings.jsonl" --per-device-train-batch-size 15 --num-train-epochs 1 \
        --learning-rate 3e-4 --warmup-steps 20 --min-lr-ratio 0.05 --beta "$tune" $common --save-steps 16 --save-total-limit 0 --output-dir "$1"
}
arm_ppo() {
    timed "$1-reward.cpu" $tenet reward --model "$work/sft" --data "$work/rankings.jsonl" --eval-data "$work/rankings-heldout.jsonl" \
        --reward-l2 0.001 --head-init 0 --per-device-train-batch-size 32 --num-train-epochs 2 --learning-rate 5e-4 --weight-decay 0.01 \
        --min-lr-ratio 0.05 $common --output-dir "$1-reward"
    timed "$1.cpu" $tenet ppo $sampled --reward-model "$1-reward" --minibatch-size 64 --num-ppo-epochs 2 --response-length 40 \
        --missing-eos-penalty 1 --vf-coef 1 --adam-epsilon 1e-5 --iterations 20 --rollouts 256 --kl-coef "$tune" --learning-rate 3e-4 \
        --critic-learning-rate 5e-4 --save-steps 3 --save-total-limit 0 --output-dir "$1"
}
cpu() { awk '{ print $1 + $2 }' "$1.cpu"; }
number() { awk "BEGIN { print $1 }"; }
columns=(reward kl "gflop:GFLOP to .65:0" "gflop_rm:with the reward model:0" "saved:DPO saves of it:3" "saved_rm:of it with the reward model:3"
    "cpu:CPU s to .65:1" "cpu_rm:with the reward model:1" "all:GFLOP in all:0")
metric=gflop
measure() {
    curve "$2" "$work/sft"
    local at=$(reached "$2" $level) all=$(flop "$2") to rm=0 rm_cpu=0 seconds
    echo all "$all"
    [ -n "$at" ] || return 0
    to=$(flop "$2" "$at") seconds=$(number "$(cpu "$2") * $to / $all")
    if [ "$1" = ppo ]; then rm=$(flop "$2-reward") rm_cpu=$(cpu "$2-reward"); fi
    echo gflop "$to"
    echo gflop_rm "$(number "$to + $rm")"
    echo cpu "$seconds"
    echo cpu_rm "$(number "$seconds + $rm_cpu")"
    [ "$1" = ppo ] && at=$(reached "${2%ppo}dpo" $level) && [ -n "$at" ] || return 0
    at=$(flop "${2%ppo}dpo" "$at")
    echo saved "$(number "1 - $at / $to")"
    echo saved_rm "$(number "1 - $at / ($to + $rm)")"
}
