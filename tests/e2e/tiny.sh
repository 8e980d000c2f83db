# For end-to-end scripts: `. tests/e2e/tiny.sh DIR` puts a tiny model of the built-in world (base), a reward
# model (rm) and rows of every kind into DIR. `arguments RUN STEPS` prints a training command: of a verb, or of
# `lora`, sft with an adapter, `bco`, kto's running mean, `aot`, a loss on whole steps, `trdpo`, a reference that moves.
TINY=$1
mkdir -p "$TINY"
{
    tenet world config --out "$TINY/config" --hidden-size 32 --layers 1 --heads 2 --intermediate-size 48
    tenet world text --count 400 --out "$TINY/text.jsonl"
    tenet world sft --count 96 --out "$TINY/sft.jsonl"
    tenet world prompts-pref --count 24 --out "$TINY/pref.jsonl"
    tenet world prompts-rl --count 64 --out "$TINY/rl.jsonl"
    tenet pretrain --model "$TINY/config" --data "$TINY/text.jsonl" --output-dir "$TINY/base" --batch-tokens 2048 \
        --max-steps 8 --learning-rate 3e-3 --save-steps 0 --save-dtype float32
    tenet generate --model "$TINY/base" --input "$TINY/pref.jsonl" --n 4 --max-new-tokens 12 --out "$TINY/samples.jsonl"
    tenet world rank --input "$TINY/samples.jsonl" --annotator careful --out "$TINY/rank.jsonl" --pairs-out "$TINY/pairs.jsonl"
    tenet reward --model "$TINY/base" --data "$TINY/rank.jsonl" --kwise --output-dir "$TINY/rm" --max-steps 3 --save-steps 0 \
        --save-dtype float32
    sed 's/}$/, "chosen_safe": true, "rejected_safe": false}/' "$TINY/pairs.jsonl" >"$TINY/safety.jsonl"
    sed 's/"chosen": \(.*\), "rejected": /"chosen": \1, "reference": \1, "rejected": /' "$TINY/pairs.jsonl" >"$TINY/triples.jsonl"
    awk 'BEGIN { srand(9); for (i = 0; i < 64; i++) { m = 1 + i % 4; s = l = ""
        for (k = 0; k < m; k++) { s = s (k ? "," : "") "["; l = l (k ? "," : "") (rand() < 0.5 ? "true" : "false")
            for (t = 0; t < 3 + (i + k) % 5; t++) s = s 50 + int(rand() * 100) ","; s = s "7]" }
        printf "{\"prompt_ids\":[1,4,%d,5],\"step_ids\":[%s],\"labels\":[%s]}\n", 50 + int(rand() * 100), s, l } }' >"$TINY/steps.jsonl"
} >"$TINY/log" 2>&1 || fail "tiny_world: $(tail -n 1 "$TINY/log")"
arguments() {
    local common="--learning-rate 1e-3 --seed 3" sft="--data $TINY/sft.jsonl --assistant-only-loss --per-device-train-batch-size 8
        --eval-data $TINY/sft.jsonl --eval-steps 5 --micro-batch-tokens 512"
    local pairs="--data $TINY/pairs.jsonl --eval-data $TINY/pairs.jsonl --eval-steps 5 --per-device-train-batch-size 6"
    local prompts="--model $TINY/base --data $TINY/rl.jsonl"
    case $1 in
        pretrain) echo "pretrain --model $TINY/config --data $TINY/text.jsonl --batch-tokens 512 --max-steps $2 $common" ;;
        sft) echo "sft --model $TINY/base $sft --max-steps $2 $common" ;;
        lora) echo "sft --model $TINY/base $sft --max-steps $2 $common --use-peft --lora-r 4 --lora-target-modules all-linear" ;;
        reward) echo "reward --model $TINY/base --data $TINY/rank.jsonl --eval-data $TINY/rank.jsonl --kwise --per-device-train-batch-size 6
            --max-steps $2 $common" ;;
        inform | odin | ensemble) echo "reward --head $1 --model $TINY/base --data $TINY/pairs.jsonl --eval-data $TINY/pairs.jsonl --eval-steps 5
            --per-device-train-batch-size 6 --max-steps $2 $common" ;;
        cost) echo "cost --model $TINY/base --data $TINY/safety.jsonl --eval-data $TINY/safety.jsonl --per-device-train-batch-size 6
            --max-steps $2 $common" ;;
        prm) echo "prm --model $TINY/base --data $TINY/steps.jsonl --per-device-train-batch-size 6 --max-steps $2 $common" ;;
        dpo) echo "dpo --model $TINY/base --data $TINY/pairs.jsonl --precompute-ref-log-probs --per-device-train-batch-size 6
            --max-steps $2 $common" ;;
        kto) echo "kto --model $TINY/base $pairs --train-sampling-strategy random --gradient-accumulation-steps 2 --max-steps $2 $common" ;;
        bco) echo "kto --loss-type bco --model $TINY/base $pairs --train-sampling-strategy random --max-steps $2 $common" ;;
        aot) echo "dpo --loss-type aot --model $TINY/base $pairs --max-steps $2 $common" ;;
        trdpo) echo "dpo --sync-ref-model --ref-model-sync-steps 2 --model $TINY/base $pairs --max-steps $2 $common" ;;
        orpo) echo "orpo --model $TINY/base $pairs --max-steps $2 $common" ;;
        cpo) echo "cpo --model $TINY/base $pairs --max-steps $2 $common" ;;
        simpo) echo "simpo --model $TINY/base $pairs --max-steps $2 $common" ;;
        tpo) echo "tpo --model $TINY/base --data $TINY/triples.jsonl --eval-data $TINY/triples.jsonl --eval-steps 5
            --per-device-train-batch-size 6 --max-steps $2 $common" ;;
        tdpo) echo "tdpo --model $TINY/base --data $TINY/pairs.jsonl --per-device-train-batch-size 6 --beta 0.5 --max-steps $2 $common" ;;
        distill) echo "distill --model $TINY/base --teacher-model models/world $sft --seq-kd --max-new-tokens 12 --max-steps $2 $common" ;;
        ppo) echo "ppo $prompts --reward-model $TINY/rm --iterations $2 --rollouts 12 --minibatch-size 6 --num-ppo-epochs 2
            --response-length 12 --temperature 1 --missing-eos-penalty 1 --kl-target 1 --reward-scale $common" ;;
        # a cost critic and its multiplier, macros, an ensemble with shaped scores, an alarm that raises the KL coefficient
        ppo_safe) echo "$(arguments ppo "$2") --reward-model $TINY/rm $TINY/rm --cost-model $TINY/rm --macro-action random --macro-loss macro
            --reward-shaping par --ensemble worst --alarm-divergence 1e-3 --on-alarm raise-kl" ;;
        # two steps of a sampling, each taken twice: three of four checkpoints lie within one
        grpo) echo "grpo $prompts --reward-model $TINY/rm --reward-funcs world --num-generations 4 --per-device-train-batch-size 8
            --steps-per-generation 2 --num-iterations 2 --max-steps $2 --max-completion-length 12 --beta 0.05
            --mask-truncated-completions --top-entropy-quantile 0.5 $common" ;;
        rloo) echo "rloo $prompts --reward-model $TINY/rm --per-device-train-batch-size 12 --num-iterations 2 --max-steps $2
            --max-completion-length 12 $common" ;;
        online_dpo) echo "online-dpo $prompts --reward-model $TINY/rm --num-generations 3 --per-device-train-batch-size 4
            --steps-per-generation 2 --num-iterations 2 --max-steps $2 --max-new-tokens 12 $common" ;;
        a2po) echo "a2po $prompts --reward-funcs world --per-device-train-batch-size 12 --num-value-samples 2 --max-steps $2
            --max-completion-length 12 $common" ;;
        xpo | nash_md) echo "$(echo "$1" | tr _ -) $prompts --reward-model $TINY/rm --per-device-train-batch-size 4 --steps-per-generation 2
            --max-steps $2 --max-new-tokens 12 $common" ;;
    esac
}
