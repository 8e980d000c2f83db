# What is said to stop reward hacking, each alone: no arm but kl has a KL penalty. All arms have the same 640 rankings by
# annotators who pay for length, closers and agreement, and 24 iterations, in which plain PPO passes its best.
title="What stops reward hacking"
claim="A KL penalty, conservative ensembles, InfoRM, ODIN and PAR each end with more true reward than plain PPO, near their best."
published="PAR keeps its peak where raw reward falls (2502.18770); worst-case and UWO ensembles need a twentieth of a single model's KL coefficient (Coste et al., 2310.02743); InfoRM wins 54.5, ties 33.5, loses 12.0 against a standard model (2402.09345); ODIN: correlation of score and length .45 -> -.03 (2402.07319)"
against=plain
arms="plain kl mean worst uwo inform odin par"
# Tuned: each arm's own number, two candidates; plain, mean and worst have none.
candidates=none
candidates_kl="0.01 0.1"        # coefficient
candidates_uwo="0.1 0.5"        # price of variance
candidates_inform="0.001 0.01"  # weight of the bottleneck
candidates_odin="1 3"           # weight of both correlations with length
candidates_par="1 3"            # slope of the sigmoid
tune_kl=0.01 tune_uwo=0.1 tune_inform=0.001 tune_odin=3 tune_par=1
columns=(reward "peak:best checkpoint:3" "share:end / best:2" kl length "closers:closers:2" "proxy_own:own proxy:2")

ranked() {
    [ -e "$here/rankings.jsonl" ] && return
    $tenet world rank --input "$work/prompts-pref-answers.jsonl" --annotator biased --seed "$seed" --out "$here/rankings.all"
    head -n 640 "$here/rankings.all" >"$here/rankings.tmp" && mv "$here/rankings.tmp" "$here/rankings.jsonl"
}
# model NAME SEED OPTIONS...: a reward model, once
model() {
    [ -e "$here/rm-$1/tenet.json" ] && return
    ranked
    $tenet reward --model "$work/sft" --data "$here/rankings.jsonl" --per-device-train-batch-size 32 --num-train-epochs 2 \
        --learning-rate 5e-4 --weight-decay 0.01 --min-lr-ratio 0.05 $common --output-dir "$here/rm-$1" --seed "$2" "${@:3}"
}
members() { for k in 1 2 3; do model "member$k" $((seed * 10 + k)) --reward-l2 0.001; done; }
three() { echo --reward-model "$here/rm-member1" "$here/rm-member2" "$here/rm-member3" --ensemble "$1"; }
policy() { # DIR OPTIONS...
    $tenet ppo $sampled --kl-coef 0 "${@:2}" --minibatch-size 32 --num-ppo-epochs 1 --response-length 40 --missing-eos-penalty 1 --vf-coef 1 --adam-epsilon 1e-5 \
        --iterations 24 --rollouts 64 --learning-rate 6e-4 --critic-learning-rate 5e-4 --lr-scheduler-type constant \
        --save-steps 4 --save-total-limit 0 --log-samples 64 --output-dir "$1"
    curve="0=$work/sft"
    for k in 4 8 12 16 20 24; do curve="$curve $k=$1/checkpoint-$k"; done
    $tenet eval --world --models $curve --dtype float32 --out "$1/along" --curve "$1/true_reward.jsonl" --seed 6
    rm -rf "$1"/checkpoint-*
}
arm_plain() { members && policy "$1" --reward-model "$here/rm-member1"; }
arm_kl() { members && policy "$1" --reward-model "$here/rm-member1" --kl-coef "$tune"; }
arm_mean() { members && policy "$1" $(three mean); }
arm_worst() { members && policy "$1" $(three worst); }
arm_uwo() { members && policy "$1" $(three uwo) --ensemble-lambda "$tune"; }
arm_inform() { model "inform-$tune" "$seed" --head inform --latents 16 --ib-weight "$tune" && policy "$1" --reward-model "$here/rm-inform-$tune"; }
arm_odin() { model "odin-$tune" "$seed" --head odin --length-weight "$tune" && policy "$1" --reward-model "$here/rm-odin-$tune"; }
arm_par() { members && policy "$1" --reward-model "$here/rm-member1" --reward-shaping par --shaping-slope "$tune"; }
measure() {
    awk -F'[:,]' '{ r = $4; if (NR == 1 || r > best) best = r } END { print "peak", best; print "share", r / best }' "$2/true_reward.jsonl"
    tail -n 64 "$2/samples.jsonl" | grep -c '"response": "[^"]*\(hope\|nice\|please\)' | awk '{ print "closers", $1 / 64 }'
    tail -n 1 "$2/metrics.jsonl" | grep -o '"objective/raw_scores": [-0-9.e]*' | awk '{ print "proxy_own", $2 }'
}
