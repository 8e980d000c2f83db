# Preference optimisation on given answers, in rounds, and on line. All arms know the same 2,000 rankings: the first
# directly, the others through the reward model made from them.
title="Online, iterative and offline DPO"
claim="Preference optimisation on the policy's own samples beats the same loss on given ones; rounds lie between."
published="online DPO preferred to offline DPO in about 66 % of comparisons (Guo et al. 2024, 2402.04792)"
against=offline
arms="offline iterative online"
# 48 x 8 samples a step where there are any; 60 steps. Tuned: beta, at one learning rate for all.
candidates="0.1 0.3 1 3"
tune_offline=0.3 tune_iterative=3 tune_online=1
arm_offline() {
    $tenet dpo --model "$work/sft" --data "$work/rankings.jsonl" --beta "$tune" --per-device-train-batch-size 15 --num-train-epochs 1 \
        --learning-rate 3e-4 --warmup-steps 20 --min-lr-ratio 0.05 $common --output-dir "$1"
}
own="--per-device-train-batch-size 48 --num-generations 8 --max-new-tokens 40 --max-steps 60 --learning-rate 3e-4 --missing-eos-penalty 1"
arm_iterative() { $tenet online-dpo $rewarded $own --steps-per-generation 20 --reference sampling --beta "$tune" --output-dir "$1"; }
arm_online() { $tenet online-dpo $rewarded $own --beta "$tune" --output-dir "$1"; }
