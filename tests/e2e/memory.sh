# The printed memory plan against the measured peak, within 5 % (or 5 MB: samples that end early leave pages untouched, and
# the small shape has no more than a dozen megabytes of them), for every training verb and both dtypes; and
# what is refused. An embedding that tokens alone reach is in memory as far as they name its rows: data are counted, and of
# samples the plan says what they may name at most, which the peak may fall short of; so with the embedding of a parked model,
# and with the keys and values of micro-batches that hold more responses the shorter these are. Loops on own samples park frozen models
# where the folder is on a disk (parked), and keep them where it is not (held: in /dev/shm). TENET_MEMORY_SHAPES: "small 20M" by default, 135M too where there are 6 GB.
. tests/e2e/lib.sh
[ -w /dev/shm ] && M=$(mktemp -d /dev/shm/tenet-memory.XXXXXX) && trap 'rm -rf "$M"' EXIT
M=${M:-$E2E_TMP/memory}
mkdir -p "$M"
config() { # DIR hidden layers heads kv ffn vocab
    mkdir -p "$1"
    printf '{"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": %d, "num_hidden_layers": %d,
        "num_attention_heads": %d, "num_key_value_heads": %d, "intermediate_size": %d, "vocab_size": %d, "max_position_embeddings": 512,
        "rms_norm_eps": 1e-5, "hidden_act": "silu", "tie_word_embeddings": true}\n' "${@:2}" >"$1/config.json"
}
rows() { # KIND COUNT VOCAB: every row of 128 tokens, so that micro-batches are full
    awk -v kind="$1" -v count="$2" -v vocab="$3" '
        function ids(n, a,   s, i) { s = ""; for (i = 0; i < n; i++) s = s (i ? "," : "") (a * 7919 + i * (a + 13) * 31) % vocab; return s }
        BEGIN { for (r = 1; r <= count; r++)
            if (kind == "sft") printf "{\"prompt_ids\": [%s], \"ids\": [%s]}\n", ids(2, r), ids(126, r + 1)
            else if (kind == "pair") printf "{\"prompt_ids\": [%s], \"chosen_ids\": [%s], \"rejected_ids\": [%s]}\n", ids(2, r), ids(63, r + 1), ids(63, r + 2)
            else if (kind == "taught") printf "{\"prompt_ids\": [%s], \"ids\": [%s], \"teacher_prompt_ids\": [%s]}\n", ids(2, r), ids(94, r + 1), ids(32, r + 2)
            else if (kind == "steps") printf "{\"prompt_ids\": [%s], \"step_ids\": [[%s],[%s]], \"labels\": [true,false]}\n", ids(2, r), ids(63, r + 1), ids(63, r + 2)
            else printf "{\"ids\": [%s]}\n", ids(32, r) }'
}
number() { sed -n 's/^tenet: memory[a-z ]*: \([0-9.]*\) MB.*/\1/p' "$M/log"; }
# held NAME VERB ARGUMENTS...: a short run; prints plan and peak in MB.
held() {
    local name=$1 plan peak maybe out=${out:-$M/out}
    shift
    rm -rf "$out"
    if ! tenet "$@" --output-dir "$out" --save-steps 0 >"$M/log" 2>&1; then fail "$name: $(tail -n 1 "$M/log")"; return; fi
    plan=$(number)
    peak=$(sed -n 's/.*"peak_memory_bytes": \([0-9]*\).*/\1/p' "$out/timing.jsonl" | tail -n 1)
    maybe=$(grep -o '\(sampled rows\|keys and values\|embedding\), at most [0-9.]*' "$M/log" |
        awk '/embed/ { if ($NF > most) most = $NF; next } { s += $NF } END { print s + most + 0 }')
    awk -v plan="$plan" -v peak="$peak" -v maybe="$maybe" 'BEGIN { r = plan * 1e6 / peak; d = plan * 1e6 - peak
        printf "plan %.1f MB, peak %.1f MB, %+.1f %%", plan, peak / 1e6, 100 * (r - 1); if (maybe) printf ", %.1f at most", maybe
        d -= maybe * 1e6; exit !(r > 0.95 && (d < 0.05 * peak || d < 5e6)) }' >"$M/ratio"
    if [ $? = 0 ]; then ok "$name ($(cat "$M/ratio"))"; else fail "$name: $(cat "$M/ratio")"; fi
}
# parked NAME VERB ARGUMENTS...: the same on a disk, and that frozen models were parked there; then once more in memory: the same bytes.
parked() {
    local name=$1 out=$E2E_TMP/on-disk
    shift
    if [ "$(stat -f -c %T "$E2E_TMP")" = tmpfs ]; then skip "$name no disk below $E2E_TMP"; return; fi
    held "$name" "$@"
    grep -q "frozen models are in memory while they are read" "$M/log" || fail "$name: nothing was parked: $(grep frozen "$M/log")"
    [ "$(ls -A "$out" | grep -c parked)" = 0 ] || fail "$name: something is left in $out"
    tenet "$@" --output-dir "$M/out" --save-steps 0 --overwrite --no-offload >"$M/log" 2>&1 || fail "${name}_in_memory: $(tail -n 1 "$M/log")"
    for f in metrics.jsonl samples.jsonl; do cmp -s "$M/out/$f" "$out/$f" || fail "$name: $f differs with --no-offload"; done
    rm -rf "$out"
}
shapes=${TENET_MEMORY_SHAPES:-small 20M}
for shape in $shapes; do
    case $shape in
        small) vocab=2048; config "$M/$shape" 128 3 4 4 344 $vocab ;;
        20M) vocab=49152; config "$M/$shape" 288 6 6 2 768 $vocab ;;
        135M) vocab=49152; config "$M/$shape" 576 30 9 3 1536 $vocab ;;
    esac
    for kind in sft pair steps taught prompt; do rows $kind 32 $vocab >"$M/$kind.jsonl"; done
    held "memory_pretrain_$shape" pretrain --model "$M/$shape" --data "$M/sft.jsonl" --batch-tokens 2048 --max-steps 2 --save-dtype float32
    rm -rf "$M/base-$shape" "$M/rm-$shape"
    mv "$M/out" "$M/base-$shape"
    for dtype in bfloat16 float32; do
        [ $shape != 20M ] || [ $dtype = bfloat16 ] || [ -n "${TENET_MEMORY_SHAPES:-}" ] || continue
        held "memory_sft_${shape}_$dtype" sft --model "$M/base-$shape" --data "$M/sft.jsonl" --per-device-train-batch-size 16 --max-steps 2 --dtype $dtype
        held "memory_reward_${shape}_$dtype" reward --model "$M/base-$shape" --data "$M/pair.jsonl" --per-device-train-batch-size 16 --max-steps 2 --dtype $dtype
        [ -d "$M/rm-$shape" ] || cp -r "$M/out" "$M/rm-$shape"
        for head in inform odin; do
            held "memory_${head}_${shape}_$dtype" reward --head $head --model "$M/base-$shape" --data "$M/pair.jsonl" --per-device-train-batch-size 16 \
                --max-steps 2 --dtype $dtype
        done
        held "memory_prm_${shape}_$dtype" prm --model "$M/base-$shape" --data "$M/steps.jsonl" --per-device-train-batch-size 16 --max-steps 2 --dtype $dtype
        held "memory_dpo_${shape}_$dtype" dpo --model "$M/base-$shape" --data "$M/pair.jsonl" --per-device-train-batch-size 16 --max-steps 2 --dtype $dtype
        held "memory_dpo_precomputed_${shape}_$dtype" dpo --model "$M/base-$shape" --data "$M/pair.jsonl" --per-device-train-batch-size 16 --max-steps 2 \
            --dtype $dtype --precompute-ref-log-probs
        held "memory_kto_${shape}_$dtype" kto --model "$M/base-$shape" --data "$M/pair.jsonl" --per-device-train-batch-size 32 --max-steps 2 --dtype $dtype
        held "memory_orpo_${shape}_$dtype" orpo --model "$M/base-$shape" --data "$M/pair.jsonl" --per-device-train-batch-size 16 --max-steps 2 --dtype $dtype
        held "memory_aot_${shape}_$dtype" dpo --loss-type aot --model "$M/base-$shape" --data "$M/pair.jsonl" --per-device-train-batch-size 16 \
            --max-steps 2 --dtype $dtype
        held "memory_tr_dpo_${shape}_$dtype" dpo --sync-ref-model --ref-model-sync-steps 1 --model "$M/base-$shape" --data "$M/pair.jsonl" \
            --per-device-train-batch-size 16 --max-steps 2 --dtype $dtype
        held "memory_tdpo_${shape}_$dtype" tdpo --model "$M/base-$shape" --data "$M/pair.jsonl" --per-device-train-batch-size 16 --max-steps 2 --dtype $dtype
        held "memory_distill_${shape}_$dtype" distill --model "$M/base-$shape" --teacher-model "$M/base-$shape" --data "$M/sft.jsonl" \
            --per-device-train-batch-size 16 --max-steps 2 --max-new-tokens 32 --lmbda 1 --dtype $dtype
        held "memory_ppo_${shape}_$dtype" ppo --model "$M/base-$shape" --reward-model "$M/rm-$shape" --data "$M/prompt.jsonl" --iterations 2 \
            --rollouts 32 --minibatch-size 32 --num-ppo-epochs 1 --response-length 32 --dtype $dtype
    done
    lora="--use-peft --lora-r 8 --lora-target-modules all-linear"
    # shellcheck disable=SC2086
    {
        held "memory_lora_sft_$shape" sft --model "$M/base-$shape" --data "$M/sft.jsonl" --per-device-train-batch-size 16 --max-steps 2 $lora
        held "memory_lora_reward_$shape" reward --model "$M/base-$shape" --data "$M/pair.jsonl" --per-device-train-batch-size 16 --max-steps 2 $lora
        rm -rf "$M/rm-lora" && cp -r "$M/out" "$M/rm-lora"
        held "memory_lora_dpo_$shape" dpo --model "$M/base-$shape" --data "$M/pair.jsonl" --per-device-train-batch-size 16 --max-steps 2 $lora
        held "memory_lora_tdpo_$shape" tdpo --model "$M/base-$shape" --data "$M/pair.jsonl" --per-device-train-batch-size 16 --max-steps 2 $lora
        held "memory_lora_ppo_$shape" ppo --model "$M/base-$shape" --reward-model "$M/rm-lora" --data "$M/prompt.jsonl" --iterations 2 \
            --rollouts 32 --minibatch-size 32 --num-ppo-epochs 1 --response-length 32 $lora
        held "memory_ppo_safe_$shape" ppo --model "$M/base-$shape" --reward-model "$M/rm-$shape" "$M/rm-$shape" --cost-model "$M/rm-$shape" \
            --data "$M/prompt.jsonl" --iterations 2 --rollouts 32 --minibatch-size 32 --num-ppo-epochs 1 --response-length 32 \
            --macro-action fixed --macro-loss macro --reward-shaping par --reference-answers 2
        held "memory_lora_ppo_safe_$shape" ppo --model "$M/base-$shape" --reward-model "$M/rm-lora" --cost-model "$M/rm-lora" \
            --data "$M/prompt.jsonl" --iterations 2 --rollouts 32 --minibatch-size 32 --num-ppo-epochs 1 --response-length 32 \
            --reward-shaping par $lora
        held "memory_grpo_shaped_$shape" grpo --model "$M/base-$shape" --reward-model "$M/rm-$shape" --data "$M/prompt.jsonl" --max-steps 2 \
            --per-device-train-batch-size 32 --num-generations 4 --max-completion-length 32 --reward-shaping par --reference-answers 2
        held "memory_grpo_$shape" grpo --model "$M/base-$shape" --reward-model "$M/rm-$shape" --data "$M/prompt.jsonl" --max-steps 2 \
            --per-device-train-batch-size 32 --num-generations 4 --max-completion-length 32 --beta 0.04
        held "memory_rloo_$shape" rloo --model "$M/base-$shape" --reward-model "$M/rm-$shape" --data "$M/prompt.jsonl" --max-steps 2 \
            --per-device-train-batch-size 32 --num-generations 4 --max-completion-length 32
        held "memory_online_dpo_$shape" online-dpo --model "$M/base-$shape" --reward-model "$M/rm-$shape" --data "$M/prompt.jsonl" --max-steps 2 \
            --per-device-train-batch-size 8 --num-generations 4 --max-new-tokens 32
        held "memory_sdft_$shape" sdft --model "$M/base-$shape" --data "$M/taught.jsonl" --per-device-train-batch-size 16 --max-steps 2 \
            --max-completion-length 32
        held "memory_sdft_ema_$shape" sdft --model "$M/base-$shape" --data "$M/taught.jsonl" --per-device-train-batch-size 16 --max-steps 2 --lmbda 0 \
            --teacher-model-kind ema
        held "memory_a2po_$shape" a2po --model "$M/base-$shape" --reward-model "$M/rm-$shape" --data "$M/prompt.jsonl" --max-steps 2 \
            --per-device-train-batch-size 32 --num-value-samples 4 --max-completion-length 32
        for verb in xpo nash-md; do
            held "memory_${verb}_$shape" $verb --model "$M/base-$shape" --reward-model "$M/rm-$shape" --data "$M/prompt.jsonl" --max-steps 2 \
                --per-device-train-batch-size 16 --max-new-tokens 32
        done
        held "memory_lora_grpo_$shape" grpo --model "$M/base-$shape" --reward-model "$M/rm-$shape" --data "$M/prompt.jsonl" --max-steps 2 \
            --per-device-train-batch-size 32 --num-generations 4 --max-completion-length 32 --beta 0.04 $lora
        grpo="grpo --model $M/base-$shape --data $M/prompt.jsonl --per-device-train-batch-size 32 --num-generations 4 --max-completion-length 32 --max-steps 2"
        parked "memory_parked_grpo_$shape" $grpo --reward-model "$M/rm-$shape" --beta 0.04
        parked "memory_parked_rloo_$shape" rloo --model "$M/base-$shape" --reward-model "$M/rm-$shape" --data "$M/prompt.jsonl" --max-steps 2 \
            --per-device-train-batch-size 32 --num-generations 4 --max-completion-length 32
        parked "memory_parked_grpo_models_$shape" $grpo --reward-model "$M/rm-$shape" "$M/rm-$shape" --beta 0.04
        parked "memory_parked_grpo_lanes_$shape" $grpo --reward-model "$M/rm-$shape" --beta 0.04 --grad-lanes 4
        parked "memory_parked_grpo_ranks_$shape" $grpo --reward-model "$M/rm-$shape" --beta 0.04 --ranks 2 --grad-lanes 2
        parked "memory_parked_grpo_shaped_$shape" $grpo --reward-model "$M/rm-$shape" --reward-shaping par --reference-answers 2
        parked "memory_parked_lora_grpo_$shape" $grpo --reward-model "$M/rm-$shape" --beta 0.04 $lora
        parked "memory_parked_ppo_$shape" ppo --model "$M/base-$shape" --reward-model "$M/rm-$shape" --data "$M/prompt.jsonl" --iterations 2 \
            --rollouts 32 --minibatch-size 32 --num-ppo-epochs 1 --response-length 32
        parked "memory_parked_ppo_safe_$shape" ppo --model "$M/base-$shape" --reward-model "$M/rm-$shape" "$M/rm-$shape" --cost-model "$M/rm-$shape" \
            --data "$M/prompt.jsonl" --iterations 2 --rollouts 32 --minibatch-size 16 --num-ppo-epochs 2 --response-length 32
        parked "memory_parked_nash_md_$shape" nash-md --model "$M/base-$shape" --reward-model "$M/rm-$shape" --data "$M/prompt.jsonl" --max-steps 2 \
            --per-device-train-batch-size 16 --max-new-tokens 32
        parked "memory_parked_a2po_$shape" a2po --model "$M/base-$shape" --reward-model "$M/rm-$shape" --data "$M/prompt.jsonl" --max-steps 2 \
            --per-device-train-batch-size 32 --num-value-samples 4 --max-completion-length 32
    }
    # moments and levels: each alone, then together
    for less in "--optim adamw_bf16" "--optim adamw_8bit" "--recompute cheap" "--recompute layer" "--optim adamw_8bit --recompute layer"; do
        case $shape-$less in small-* | *8bit*layer) ;; *) continue ;; esac
        name=$(echo "$less" | sed 's/--optim adamw_//; s/--recompute //' | tr ' -' '__')
        # shellcheck disable=SC2086
        {
            held "memory_sft_${shape}_$name" sft --model "$M/base-$shape" --data "$M/sft.jsonl" --per-device-train-batch-size 16 --max-steps 2 $less
            case $name in *_*) ;; *) continue ;; esac
            held "memory_reward_${shape}_$name" reward --model "$M/base-$shape" --data "$M/pair.jsonl" --per-device-train-batch-size 16 --max-steps 2 $less
            held "memory_lora_dpo_${shape}_$name" dpo --model "$M/base-$shape" --data "$M/pair.jsonl" --per-device-train-batch-size 16 --max-steps 2 $less $lora
            held "memory_ppo_${shape}_$name" ppo --model "$M/base-$shape" --reward-model "$M/rm-$shape" --data "$M/prompt.jsonl" --iterations 1 \
                --rollouts 32 --minibatch-size 32 --num-ppo-epochs 1 --response-length 32 $less
            held "memory_grpo_${shape}_$name" grpo --model "$M/base-$shape" --reward-model "$M/rm-$shape" --data "$M/prompt.jsonl" --max-steps 1 \
                --per-device-train-batch-size 32 --num-generations 4 --max-completion-length 32 --beta 0.04 $less
        }
    done
    [ $shape = small ] || rm -rf "$M/base-$shape" "$M/rm-$shape"
done

# a reward model with a tokenizer of its own: other sequences, and a critic that is the policy's
tenet world prompts-rl --count 64 --out "$M/world.jsonl" 2>/dev/null
tenet world prompts-pref --count 24 --out "$M/pref.jsonl" 2>/dev/null
tenet generate --model models/world --input "$M/pref.jsonl" --n 4 --max-new-tokens 12 --out "$M/samples.jsonl" 2>/dev/null
tenet world rank --input "$M/samples.jsonl" --annotator careful --out "$M/rank.jsonl" 2>/dev/null
tenet reward --model models/world --data "$M/rank.jsonl" --output-dir "$M/rm-own" --max-steps 1 --save-steps 0 >"$M/log" 2>&1 || fail "memory_own_rm: $(tail -n 1 "$M/log")"
printf '\n' >>"$M/rm-own/tokenizer.json"
held memory_ppo_own_tokenizer ppo --model models/world --reward-model "$M/rm-own" --data "$M/world.jsonl" --iterations 2 \
    --rollouts 64 --minibatch-size 32 --num-ppo-epochs 1 --response-length 24
grep -q "its own tokenizer" "$M/log" || fail "memory_own_tokenizer: it was the policy's"
held memory_grpo_own_tokenizer grpo --model models/world --reward-model "$M/rm-own" --data "$M/world.jsonl" --max-steps 2 \
    --per-device-train-batch-size 64 --num-generations 4 --max-completion-length 24

# rewards of steps, and pairs of steps, which have no folder: their peak is in what they say
tenet world prompts-rl --count 1200 --out "$M/all.jsonl"
grep '"family": "arith"' "$M/all.jsonl" | head -n 64 >"$M/sums.jsonl"
tenet generate --model models/world --input "$M/sums.jsonl" --n 2 --max-new-tokens 32 --out "$M/sums-said.jsonl" 2>/dev/null
tenet world steps --input "$M/sums-said.jsonl" --out "$M/sums-steps.jsonl"
tenet prm --model models/world --data "$M/sums-steps.jsonl" --step-separator " ." --max-steps 1 --save-steps 0 --output-dir "$M/prm" >"$M/log" 2>&1 || fail "memory_prm: $(tail -n 1 "$M/log")"
held memory_grpo_steps grpo --model models/world --process-reward-model "$M/prm" --data "$M/sums.jsonl" --max-steps 2 --per-device-train-batch-size 64 \
    --num-generations 4 --max-completion-length 24
held memory_ppo_steps ppo --model models/world --reward-model "$M/rm-own" --process-reward-model "$M/prm" --data "$M/sums.jsonl" --iterations 2 --rollouts 64 \
    --minibatch-size 32 --num-ppo-epochs 1 --response-length 24
for kind in live base ema; do
    held memory_sdpo_$kind sdpo --model models/world --reward-funcs world --success-reward-threshold 0.5 --teacher-model-kind $kind --data "$M/sums.jsonl" \
        --max-steps 2 --per-device-train-batch-size 64 --num-generations 4 --max-completion-length 24
done
pairs="step-pairs --model models/world --input $M/sums.jsonl --step-separator"
for how in world prm; do
    more=
    [ $how = world ] || more="--reward-model $M/prm"
    # shellcheck disable=SC2086
    if ! tenet $pairs " ." --localise $how $more --n 8 --max-new-tokens 40 --batch-size 8 --score-tokens 256 --out "$M/pairs-$how" >"$M/log" 2>&1; then fail "memory_step_pairs_$how: $(tail -n 1 "$M/log")"; continue; fi
    sed -n 's/^tenet: memory: \([0-9.]*\) MB.*/\1/p; s/^tenet: peak of memory: \([0-9.]*\) MB.*/\1/p' "$M/log" | tr '\n' ' ' |
        awk '{ d = $1 - $2; printf "plan %s MB, peak %s MB", $1, $2; exit !(NF == 2 && d > -0.05 * $2 && (d < 0.05 * $2 || d < 4)) }' >"$M/ratio"
    if [ $? = 0 ]; then ok "memory_step_pairs_$how ($(cat "$M/ratio"))"; else fail "memory_step_pairs_$how: $(cat "$M/ratio")"; fi
done
# shellcheck disable=SC2086
fails memory_step_pairs_max 1 "--max-memory allows" tenet $pairs " ." --localise world --max-memory 10MB --out "$M/none"

# 2,048 rows of a vocabulary of 131,072: [T,V] in float32 would be 1,074 MB
config "$M/wide" 64 1 2 2 128 131072
rows sft 16 131072 >"$M/wide.jsonl"
held memory_wide_vocabulary pretrain --model "$M/wide" --data "$M/wide.jsonl" --batch-tokens 2048 --micro-batch-tokens 2048 --max-steps 2 \
    --no-completion-only-loss
peak=$(sed -n 's/.*"peak_memory_bytes": \([0-9]*\).*/\1/p' "$M/out/timing.jsonl" | tail -n 1)
if [ "$peak" -lt $(($(number | cut -d. -f1) * 1000000 + 64000000)) ] && [ "$peak" -lt 400000000 ]; then
    ok "memory_wide_vocabulary_peak ($((peak / 1000000)) MB)"
else
    fail "memory_wide_vocabulary_peak: $((peak / 1000000)) MB"
fi

# refusals: before anything is loaded, with the numbers and what helps
rows sft 32 2048 >"$M/sft.jsonl"
sft="sft --model $M/base-small --data $M/sft.jsonl --max-steps 1 --output-dir $M/refused"
# shellcheck disable=SC2086
{
    fails memory_max_memory 1 "--max-memory allows 0.01 GB" tenet $sft --max-memory 10MB
    fails memory_max_memory_dry_run 1 "what helps is a smaller --micro-batch-tokens" tenet $sft --max-memory 10MiB --dry-run
    fails memory_max_memory_unit 2 "a number with KB, MB, GB" tenet $sft --max-memory much
    check memory_max_memory_fits tenet $sft --max-memory 1GB --overwrite
    (ulimit -v 80000 && tenet $sft --threads 1 --overwrite --per-device-train-batch-size 32 --micro-batch-tokens 4096 >"$M/log" 2>&1)
    if [ $? = 1 ] && grep -q "this process can have" "$M/log"; then ok memory_address_space; else fail "memory_address_space: $(tail -n 1 "$M/log")"; fi
}
