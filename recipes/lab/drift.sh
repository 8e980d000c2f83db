# What a reward model is worth on policies that left its data behind: checkpoints of PPO without a KL penalty.
title="Reward accuracy and calibration as the policy drifts"
claim="On pairs from a policy farther from the data a reward model is less accurate and worse calibrated."
published="PM calibration decays on samples of RLHF policies (Bai et al. 2022, 2204.05862, 4.5); proxies fail with distance (Gao et al. 2022, 2210.10760)"
against=k0
arms="k0 k7 k14 k21 k35"
metric=truth
columns=(reward proxy "distance:sqrt(KL):2" "truth:pairs right by the oracle:3" "accuracy:by its annotator:3" "ece:calibration error:3" "pairs:pairs:0")
# Nothing is tuned: the first half of the world's pipeline's run without a KL penalty (recipes/world_pipeline.sh).
drifting() {
    [ -e "$here/run/model.safetensors" ] && return
    $tenet ppo $rewarded --overwrite --minibatch-size 64 --num-ppo-epochs 2 --response-length 40 --missing-eos-penalty 1 --vf-coef 1 \
        --adam-epsilon 1e-5 --iterations 35 --rollouts 128 --kl-coef 0 --learning-rate 5e-4 --critic-learning-rate 5e-4 \
        --lr-scheduler-type constant --save-steps 7 --save-total-limit 0 --on-alarm warn --output-dir "$here/run"
}
arm_k0() { cp -r "$work/sft" "$1"; }
for k in 7 14 21 35; do eval "arm_k$k() { drifting && cp -r \"\$here/run/checkpoint-$k\" \"\$1\"; }"; done
# truth: accuracy on pairs by true reward; accuracy, ece: on labels of the annotator that the model learnt from
measure() {
    local d=$2.pairs who
    mkdir -p "$d"
    $tenet world prompts-pref-heldout --seed "$seed" --first 400 --count 1000 --out "$d/prompts.jsonl"
    $tenet generate --model "$2" --input "$d/prompts.jsonl" --n 4 --max-new-tokens 40 --seed "$seed" --dtype float32 --out "$d/answers.jsonl"
    for who in exact careful; do
        $tenet world pairs --input "$d/answers.jsonl" --annotator $who --seed "$seed" --annotator-seed $((seed + 3000)) --out "$d/$who.jsonl"
        $tenet eval --input "$d/prompts.jsonl" --count 1 --models "$work/sft" --reward-model "$work/reward" --pairs "$d/$who.jsonl" \
            --dtype float32 --out "$d/$who" >/dev/null
    done
    reward_model "$d/exact/eval.json" | sed -n 's/accuracy/truth/p'
    reward_model "$d/careful/eval.json"
    wc -l <"$d/exact.jsonl" | awk '{ print "pairs", $1 }'
    awk -v arm="\"$1\"" '/"name"/ { on = index($0, arm) } on && /"kl"/ { kl = 1 } on && kl && /"mean"/ { print "distance", sqrt($2 > 0 ? $2 : 0); exit }' \
        "$here/eval/eval.json"
}
