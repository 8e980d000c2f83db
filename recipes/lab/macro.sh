# PPO on macro actions of several tokens, against PPO on tokens: iterations to the same true reward. The control: token PPO
# with lambda 1, whose advantages reach over the whole response without macros.
title="Macro actions in PPO"
claim="Macro actions reach the same reward in fewer updates, because credit has fewer steps to cross."
published="MA-RLHF: parity with token PPO 1.7 to 2 times faster (Chai et al. 2024, 2410.02743, abstract); no control with lambda 1 is reported"
against=token
arms="token token_lambda1 ngram perplexity"
# 20 iterations of 256, KL coefficient .05. Tuned: the learning rate.
candidates="2e-4 4e-4"
tune_token= tune_token_lambda1= tune_ngram= tune_perplexity=
level=0.6
ppo() {
    $tenet ppo $rewarded --minibatch-size 64 --num-ppo-epochs 2 --response-length 40 --missing-eos-penalty 1 --vf-coef 1 \
        --adam-epsilon 1e-5 --iterations 20 --rollouts 256 --kl-coef 0.05 --critic-learning-rate 5e-4 --learning-rate "$tune" \
        --save-steps 2 --save-total-limit 0 --output-dir "$@"
}
arm_token() { ppo "$1"; }
arm_token_lambda1() { ppo "$1" --lam 1; }
arm_ngram() { ppo "$1" --macro-action fixed --macro-length 5; }
arm_perplexity() { ppo "$1" --macro-action perplexity; }
# Iterations to the true reward `level`; mean true reward over the 20 iterations.
columns=("iterations:iterations to .6:1" "area:mean of the curve:3" reward kl length)
metric=iterations
measure() {
    curve "$2" "$work/sft"
    echo iterations "$(reached "$2" $level)"
    sed 's/.*"true_reward": \([^,]*\).*/\1/' "$2/curve.jsonl" | awk '{ s += $1 } END { print "area", s / NR }'
}
