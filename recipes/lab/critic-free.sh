# Policy gradients with and without a critic, and fine-tuning on the best samples: the same reward model, about the same
# number of sampled responses (7,680).
title="With and without a critic"
claim="Methods without a critic reach what PPO reaches at the same number of samples."
published="RLOO k=4 77.9, RAFT 73.2, PPO 67.6 win rate on TL;DR (Ahmadian et al. 2024, 2402.14740)"
against=ppo
arms="ppo grpo rloo reinforce remax rft"
# Tuned: the KL coefficient, of .05 .2 .5 (rft: the learning rate, of 1e-4 3e-4 1e-3); learning rate 3e-4 for all else.
candidates="0.05 0.2 0.5"
candidates_rft="1e-4 3e-4 1e-3"
tune_ppo=0.05 tune_grpo=0.5 tune_rloo=0.2 tune_reinforce=0.2 tune_remax=0.5 tune_rft=1e-4
steps="--per-device-train-batch-size 128 --max-completion-length 40 --learning-rate 3e-4 --max-steps 60"
arm_ppo() {
    $tenet ppo $rewarded --minibatch-size 64 --num-ppo-epochs 2 --response-length 40 --missing-eos-penalty 1 --vf-coef 1 \
        --adam-epsilon 1e-5 --iterations 30 --rollouts 256 --kl-coef "$tune" --learning-rate 3e-4 --critic-learning-rate 5e-4 --output-dir "$1"
}
arm_grpo() { $tenet grpo $rewarded $steps --num-generations 8 --beta "$tune" --output-dir "$1"; }
arm_rloo() { $tenet rloo $rewarded $steps --num-generations 8 --beta "$tune" --output-dir "$1"; }
arm_reinforce() { $tenet reinforce $rewarded $steps --kl-coef "$tune" --output-dir "$1"; }
arm_remax() { $tenet reinforce --advantage-estimator remax $rewarded $steps --kl-coef "$tune" --output-dir "$1"; }
arm_rft() {
    $tenet rft $rewarded --per-device-train-batch-size 16 --num-generations 8 --steps-per-generation 10 --max-new-tokens 40 \
        --learning-rate "$tune" --max-steps 60 --output-dir "$1"
}
