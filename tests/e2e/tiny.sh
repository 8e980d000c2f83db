# For end-to-end scripts: `. tests/e2e/tiny.sh DIR` puts a tiny model of the built-in world (base), a reward
# model (rm) and rows of every kind into DIR. `arguments VERB STEPS` prints a training verb's command line.
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
} >"$TINY/log" 2>&1 || fail "tiny_world: $(tail -n 1 "$TINY/log")"
arguments() {
    local common="--learning-rate 1e-3 --seed 3"
    case $1 in
        pretrain) echo "--model $TINY/config --data $TINY/text.jsonl --batch-tokens 512 --max-steps $2 $common" ;;
        sft) echo "--model $TINY/base --data $TINY/sft.jsonl --assistant-only-loss --per-device-train-batch-size 8 --max-steps $2 $common" ;;
        reward) echo "--model $TINY/base --data $TINY/rank.jsonl --kwise --per-device-train-batch-size 6 --max-steps $2 $common" ;;
        dpo) echo "--model $TINY/base --data $TINY/pairs.jsonl --per-device-train-batch-size 6 --max-steps $2 $common" ;;
        ppo) echo "--model $TINY/base --reward-model $TINY/rm --data $TINY/rl.jsonl --iterations $2 --rollouts 12 --minibatch-size 6
            --num-ppo-epochs 2 --response-length 12 --temperature 1 --missing-eos-penalty 1 --kl-target 1 --reward-scale $common" ;;
    esac
}
