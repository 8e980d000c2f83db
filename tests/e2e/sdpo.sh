# tenet sdpo: the numbers of TRL's SDPOTrainer on our own samples for every kind of teacher; who is shown what; the same bytes after
# kill -9, with any threads, ranks and sampling batches; what is learned; what is refused.
. tests/e2e/lib.sh
D=$E2E_TMP/sdpo
mkdir -p "$D"
quiet() { "$@" >"$D/log" 2>&1; }
must() { quiet "$@" || fail "sdpo: $* : $(tail -n 1 "$D/log")"; }
value() { sed -n "s|.*\"$1\": \([-0-9.e]*\).*|\1|p" "$2" | sed -n "${3:-1}p"; } # KEY FILE [NTH]
base="sdpo --model models/world --dtype float32 --reward-funcs number:answer"
texts=(--reprompt-template "{prompt} {solution} {feedback}" --solution-template "Passage: {successful_previous_attempt}" --feedback-template "User: {feedback_raw}")

# tools/dump_trl_sdpo.py: loss, gradient norm and share of taught answers of every step; TRL's numbers are those of these samples
at=0
for case in sampled jsd both; do
    case $case in
    sampled) how="--teacher-model-kind ema --teacher-update-rate 0.3 --teacher-sync-steps 2" ;;
    jsd) how="--teacher-model-kind base --distillation-mode full_logits --distillation-alpha 0.5" ;;
    both) how="--teacher-model-kind live --distillation-mode full_logits --distillation-alpha 0 --distillation-weight 0.5
               --include-environment-feedback --environment-feedback-only-without-solution" ;;
    esac
    # shellcheck disable=SC2086
    must tenet $base "${texts[@]}" --data tests/golden/trl_sdpo/rows.jsonl --save-steps 0 --logging-steps 1 --max-steps 10 --learning-rate 1e-3 --seed 7 \
        --per-device-train-batch-size 8 --num-generations 4 --max-completion-length 24 --lr-scheduler-type linear --train-sampling-strategy sequential \
        --log-samples 8 --temperature 1.3 $how --output-dir "$D/trl-$case"
    said=$(sed 's/.*"response": "\([^"]*\)".*/\1/' "$D/trl-$case/samples.jsonl" | tr -d '\n' | sha256sum | cut -c1-16)
    grep -qx "$case $said" tests/golden/trl_sdpo/samples.txt || fail "sdpo_trl_${case}_samples: other answers than those that TRL was given ($said)"
    worst=$(sed 's/.*"loss": \([^,]*\), "grad_norm": \([^,]*\),.*"self_distillation\/reprompt_sample_fraction": \([0-9.]*\).*/\1 \2 \3/' "$D/trl-$case/metrics.jsonl" |
        paste -d' ' - <(tail -n +$((at + 1)) tests/golden/trl_sdpo/steps.txt | head -n 10) | awk '
        function gap(a, b) { d = a - b; if (d < 0) d = -d; return d / ((b < 0 ? -b : b) + 1e-6) }
        { n++; d = gap($1, $5) + gap($2, $6); if (d > w) w = d; if (gap($3, $7) > 1e-5) w = "shares" } END { print n == 10 ? w : "bad" }')
    if awk -v w="$worst" 'BEGIN { exit !(w + 0 == w && w < 2e-3) }'; then ok "sdpo_trl_$case (within $worst)"; else fail "sdpo_trl_$case: $worst"; fi
    at=$((at + 10))
done

# A sampling of two steps, each taken twice, and a teacher that moves: killed in the middle of it.
cut="$base --data tests/golden/trl_sdpo/rows.jsonl --learning-rate 1e-3 --seed 3 --max-completion-length 20 --num-generations 4 --per-device-train-batch-size 12
     --steps-per-generation 2 --num-iterations 2 --max-steps 7 --temperature 1.3 --include-environment-feedback"
ema="$cut --teacher-update-rate 0.2"
both="$cut --teacher-model-kind base --distillation-mode full_logits --distillation-alpha 0.3 --distillation-weight 0.7 --mask-truncated-completions"
equal() { cmp -s "$1/metrics.jsonl" "$2/metrics.jsonl" && cmp -s "$1/samples.jsonl" "$2/samples.jsonl" && cmp -s "$1/model.safetensors" "$2/model.safetensors"; }
for name in ema both; do
    line=${!name} n=0
    # shellcheck disable=SC2086
    must tenet $line "${texts[@]}" --output-dir "$D/$name" --save-steps 3 --save-total-limit 0 --threads 2
    # shellcheck disable=SC2086
    "$TENET_BIN" $line "${texts[@]}" --output-dir "$D/$name-cut" --save-steps 3 --threads 1 --save-total-limit 0 >"$D/log" 2>&1 &
    pid=$!
    while [ ! -d "$D/$name-cut/checkpoint-6" ] && kill -0 $pid 2>/dev/null && [ $n -lt 6000 ]; do sleep 0.01; n=$((n + 1)); done
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null
    rm -rf "$D/$name-cut/checkpoint-7"
    # shellcheck disable=SC2086
    must tenet $line "${texts[@]}" --output-dir "$D/$name-cut" --save-steps 3 --resume-from-checkpoint latest --threads 1 --gen-batch-size 5
    if grep -q "continuing after step 6" "$D/log" && equal "$D/$name" "$D/$name-cut"; then ok "sdpo_${name}_killed"; else fail "sdpo_${name}_killed: $(tail -n 1 "$D/log")"; fi
    for n in 1 2 4; do
        # shellcheck disable=SC2086
        must tenet $line "${texts[@]}" --output-dir "$D/$name-$n" --ranks $n --grad-lanes 4
    done
    if equal "$D/$name-1" "$D/$name-2" && equal "$D/$name-1" "$D/$name-4"; then ok "sdpo_${name}_ranks"; else fail "sdpo_${name}_ranks"; fi
done

# nobody succeeds, and nobody says anything: nothing is learned
# shellcheck disable=SC2086
must tenet $base --data tests/golden/trl_sdpo/rows.jsonl --max-completion-length 8 --num-generations 4 --per-device-train-batch-size 8 --max-steps 2 \
    --success-reward-threshold 5 --save-steps 0 --output-dir "$D/none"
if [ "$(value loss "$D/none/metrics.jsonl")$(value grad_norm "$D/none/metrics.jsonl")$(value self_distillation/reprompt_sample_fraction "$D/none/metrics.jsonl")" = 000 ]; then
    ok sdpo_no_teachers
else
    fail "sdpo_no_teachers: $(head -n 1 "$D/none/metrics.jsonl")"
fi

# an adapter, whose teacher is the policy with it, or without
for kind in live base; do
    # shellcheck disable=SC2086
    must tenet $cut "${texts[@]}" --max-steps 2 --use-peft --lora-r 4 --teacher-model-kind $kind --save-steps 0 --output-dir "$D/lora-$kind"
done
if [ -s "$D/lora-live/adapter_model.safetensors" ] && ! cmp -s "$D/lora-live/adapter_model.safetensors" "$D/lora-base/adapter_model.safetensors"; then
    ok sdpo_lora
else
    fail "sdpo_lora: $(tail -n 1 "$D/log")"
fi

# refusals
# shellcheck disable=SC2086
{
    dry="$base --data tests/golden/trl_sdpo/rows.jsonl --dry-run"
    fails sdpo_alpha 2 "needs full_logits" tenet $dry --distillation-alpha 0.5
    fails sdpo_template 2 "must have {solution}" tenet $dry --reprompt-template "{prompt}"
    fails sdpo_shown_nothing 2 "would be shown nothing" tenet $dry --no-use-successful-as-teacher
    fails sdpo_beta 1 "the teacher's here" tenet $dry --beta 0.1
    fails sdpo_ema_adapter 1 "cannot move" tenet $dry --use-peft
    echo '{"prompt_ids": [1, 4, 5]}' >"$D/ids.jsonl"
    for _ in 1 2 3; do cat "$D/ids.jsonl"; done >"$D/more.jsonl"
    fails sdpo_ids 1 "as text or messages" tenet sdpo --model models/world --data "$D/more.jsonl" --reward-funcs regex:e --dry-run
}
[ -z "${e2e_failed:-}" ]
