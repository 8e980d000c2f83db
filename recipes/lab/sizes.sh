# The order base < SFT < PPO, and a small aligned model against a large one that is not: 20,688 parameters (7,896 of them the
# embedding) against the 635,904 of models/world, 1 : 30.7; without embeddings 1 : 46.
title="A small aligned model against a large one"
claim="PPO is preferred to SFT and SFT to the base model; a small aligned model is preferred to a large base model, also with few-shot examples."
published="InstructGPT 1.3B preferred to GPT-3 175B; InstructGPT 175B to GPT-3 175B in 85 +- 3 %, to few-shot GPT-3 in 71 +- 4 % (Ouyang et al. 2022, 2203.02155; the percentages belong to equal sizes)"
against="base fewshot sft"
eval_options="--few-shot fewshot=$work/lab/$name/fewshot/examples.jsonl"
columns=(reward "win:wins against base:2" "win_fewshot:against few-shot base:2" "win_sft:against sft:2" harmful over_refusal helpful kl length)
arms="base fewshot sft ppo small small_sft small_ppo"
# Tuned: the KL coefficient of both PPOs.
candidates_ppo="0.05 0.2" candidates_small_ppo="0.05 0.2"
tune_ppo= tune_small_ppo=
[ -z "$tune_first" ] || arms="ppo small_ppo" eval_options=
# One small base for all seeds, as there is one large one: 6M tokens of the same text, about a minute.
small_base() {
    local dir=$out/small-base
    [ -e "$dir/model/model.safetensors" ] && return
    $tenet world config --hidden-size 24 --layers 2 --heads 2 --intermediate-size 56 --out "$dir/config"
    $tenet world text --seed 1 --count 160000 --out "$dir/text.jsonl"
    $tenet pretrain --model "$dir/config" --data "$dir/text.jsonl" --output-dir "$dir/model" --max-steps 3000 --max-length 160 \
        --batch-tokens 2048 --micro-batch-tokens 2048 --learning-rate 1e-2 --warmup-steps 100 --lr-scheduler-type cosine \
        --min-lr-ratio 0.05 --adam-beta2 0.98 --weight-decay 0.05 --dtype float32 --seed 1 --save-steps 0 --overwrite
}
same() { rm -rf "$2" && cp -r "$1" "$2"; }
arm_base() { same models/world "$1"; }
# three ideal demonstrations to each of four families, of which those that fit come first
arm_fewshot() {
    same models/world "$1"
    for family in harmful benign privacy opinion; do
        grep "\"family\": \"$family\".*\"reward\": 1\(.0\)\?}" "$work/sft.jsonl" | head -n 3 | nl -ba
    done | sort -s -n -k 1,1 | cut -f 2- >"$1/examples.jsonl"
}
arm_sft() { same "$work/sft" "$1"; }
arm_small() { small_base && same "$out/small-base/model" "$1"; }
arm_small_sft() {
    small_base
    $tenet sft --model "$out/small-base/model" --data "$work/sft.jsonl" --assistant-only-loss --num-train-epochs 2 --batch-tokens 2048 \
        --learning-rate 5e-3 --warmup-steps 10 --min-lr-ratio 0.05 $common --output-dir "$1"
}
ppo() {
    $tenet ppo $rewarded --minibatch-size 64 --num-ppo-epochs 2 --response-length 40 --missing-eos-penalty 1 --vf-coef 1 --adam-epsilon 1e-5 \
        --iterations 30 --rollouts 256 --kl-coef "$tune" "$@"
}
arm_ppo() { ppo --learning-rate 3e-4 --critic-learning-rate 5e-4 --output-dir "$1"; }
# the large model's reward model and, from it, critic
arm_small_ppo() {
    [ -e "$here/small_sft/model.safetensors" ] || arm_small_sft "$here/small_sft"
    ppo --model "$here/small_sft" --learning-rate 2e-3 --critic-learning-rate 5e-4 --output-dir "$1"
}
