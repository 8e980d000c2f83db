# tenet sdft: the numbers of TRL's SDFTTrainer for every kind of teacher; a teacher that reads the student's own prompt teaches
# nothing; own answers bring the two together; any threads and micro-batches; a stop while sampling; what is refused.
. tests/e2e/lib.sh
F=$E2E_TMP/sdft
mkdir -p "$F"
must() { "$@" >"$F/log" 2>&1 || fail "sdft: $* : $(tail -n 1 "$F/log")"; }
value() { sed -n "s|.*\"$1\": \([-0-9.e]*\).*|\1|p" "$2" | sed -n "${3:-1}p"; } # KEY FILE [NTH]
base="sdft --model models/world --dtype float32 --save-steps 0 --logging-steps 1"
context=(--teacher-prompt-template "{prompt} Passage: {privileged_context} Answer:")

# tools/dump_trl_sdft.py: loss and gradient norm of every step
at=0
for how in "base 0.5" "live 1" "ema 0" "ema 0.3"; do
    kind=${how% *} alpha=${how#* } more=
    [ "$kind" != ema ] || more="--teacher-update-rate 0.3 --teacher-sync-steps 2"
    # shellcheck disable=SC2086
    must tenet $base "${context[@]}" --data tests/golden/trl_sdft/rows.jsonl --max-steps 10 --learning-rate 1e-3 --per-device-train-batch-size 4 \
        --lr-scheduler-type linear --train-sampling-strategy sequential --lmbda 0 --distillation-alpha "$alpha" --teacher-model-kind "$kind" $more \
        --output-dir "$F/trl-$kind-$alpha"
    worst=$(grep -o '"loss": [^,]*, "grad_norm": [^,]*' "$F/trl-$kind-$alpha/metrics.jsonl" | tr -d ',' | paste -d' ' - <(tail -n +$((at + 1)) tests/golden/trl_sdft/steps.txt | head -n 10) |
        awk 'function abs(x) { return x < 0 ? -x : x } { n++; d = abs($2 / $7 - 1) + abs($4 / $8 - 1); if (d > w) w = d } END { print n == 10 ? w : "bad" }')
    # weights move far at this rate: float32's differences grow
    if awk -v w="$worst" 'BEGIN { exit !(w + 0 == w && w < 1e-3) }'; then ok "sdft_trl_${kind}_$alpha (within $worst)"; else fail "sdft_trl_${kind}_$alpha: $worst"; fi
    at=$((at + 10))
done

# the student's own prompt: divergence 0 to the bit; another one: not
rows() { for i in 7 8 9 10; do echo "{\"prompt_ids\": [1, 4, $((i + 20)), 5], \"ids\": [$((i + 30)), $((i + 40)), 2], \"teacher_prompt_ids\": [1, 4$1, $((i + 20)), 5]}"; done; }
rows "" >"$F/same.jsonl"
rows ", 17" >"$F/other.jsonl"
# shellcheck disable=SC2086
for kind in base live; do
    must tenet $base --data "$F/same.jsonl" --lmbda 0.5 --max-completion-length 8 --max-steps 3 --teacher-model-kind $kind --output-dir "$F/same-$kind"
    must tenet $base --data "$F/other.jsonl" --lmbda 0 --max-steps 1 --teacher-model-kind $kind --output-dir "$F/other-$kind"
    if [ "$(value loss "$F/same-$kind/metrics.jsonl")$(value grad_norm "$F/same-$kind/metrics.jsonl")$(value loss "$F/same-$kind/metrics.jsonl" 3)" = 000 ] &&
        awk -v a="$(value loss "$F/other-$kind/metrics.jsonl")" 'BEGIN { exit !(a > 1e-3) }'; then
        ok "sdft_same_prompt_$kind"
    else
        fail "sdft_same_prompt_$kind: $(head -n 1 "$F/same-$kind/metrics.jsonl")"
    fi
done

# demonstrations as contexts, own answers: the divergence falls
tenet world sft --seed 4 --count 800 | sed -n 's/.*"messages": \[\({"role": "user"[^}]*}\), {"role": "assistant", "content": "\([^"]*\)"}\].*/{"prompt": [\1], "completion": [{"role": "assistant", "content": "\2"}]}/p' >"$F/demos.jsonl"
own="$base --data $F/demos.jsonl --per-device-train-batch-size 16 --max-completion-length 24 --learning-rate 3e-4"
# shellcheck disable=SC2086
must tenet $own "${context[@]}" --max-steps 24 --output-dir "$F/own"
if [ "$(wc -l <"$F/demos.jsonl")" -gt 400 ] && [ "$(grep -c '"on_policy": 1' "$F/own/metrics.jsonl")" = 24 ] &&
    awk -v a="$(value loss "$F/own/metrics.jsonl" 1)" -v b="$(value loss "$F/own/metrics.jsonl" 24)" 'BEGIN { exit !(b > 0 && b < 0.8 * a) }'; then
    ok "sdft_own_answers ($(value loss "$F/own/metrics.jsonl" 1) -> $(value loss "$F/own/metrics.jsonl" 24))"
else
    fail "sdft_own_answers: $(value loss "$F/own/metrics.jsonl" 1) -> $(value loss "$F/own/metrics.jsonl" 24)"
fi
# shellcheck disable=SC2086
for how in "1 --gen-batch-size 3" "2 --gen-batch-size 64"; do
    must tenet $own "${context[@]}" --max-steps 3 --teacher-model-kind ema --threads $how --output-dir "$F/threads-${how%% *}"
done
check sdft_any_threads cmp "$F/threads-1/model.safetensors" "$F/threads-2/model.safetensors"
# micro-batches that hold one teacher's side each
# shellcheck disable=SC2086
must tenet $own "${context[@]}" --max-steps 3 --teacher-model-kind ema --micro-batch-tokens 48 --output-dir "$F/micro"
if awk -v a="$(value loss "$F/micro/metrics.jsonl" 3)" -v b="$(value loss "$F/threads-1/metrics.jsonl" 3)" 'BEGIN { exit !(a > 0 && (a / b - 1) ^ 2 < 1e-8) }'; then
    ok sdft_micro_batches
else
    fail "sdft_micro_batches: $(value loss "$F/micro/metrics.jsonl" 3) and $(value loss "$F/threads-1/metrics.jsonl" 3)"
fi

# pairs: the teacher is shown the right answer at the tokens of the wrong one; the same rows written out
echo '{"prompt": [{"role": "user", "content": "what is 3 + 4 + 5 ?"}], "chosen": "the sum is 12 .", "rejected": "the sum is 13 ."}' >"$F/pair.jsonl"
echo '{"prompt": [{"role": "user", "content": "what is 3 + 4 + 5 ?"}], "privileged_context": "the sum is 12 .", "completion": [{"role": "assistant", "content": "the sum is 13 ."}]}' >"$F/pair-out.jsonl"
for rows in pair pair-out; do
    # shellcheck disable=SC2086
    must tenet $base "${context[@]}" --data "$F/$rows.jsonl" --lmbda 0 --distillation-alpha 1 --max-steps 2 --learning-rate 1e-4 --output-dir "$F/$rows"
done
check sdft_pairs cmp "$F/pair/model.safetensors" "$F/pair-out/model.safetensors"

# killed between steps: the moving teacher is a part of the checkpoint
# shellcheck disable=SC2086
{
    must tenet $own "${context[@]}" --max-steps 6 --teacher-model-kind ema --save-steps 2 --output-dir "$F/whole"
    "$TENET_BIN" $own "${context[@]}" --max-steps 6 --teacher-model-kind ema --save-steps 2 --output-dir "$F/cut" >"$F/log" 2>&1 &
    pid=$!
    n=0
    while [ ! -e "$F/cut/checkpoint-2" ] && kill -0 $pid 2>/dev/null && [ $n -lt 6000 ]; do sleep 0.01; n=$((n + 1)); done
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null || true
    must tenet $own "${context[@]}" --max-steps 6 --teacher-model-kind ema --save-steps 2 --output-dir "$F/cut" --resume-from-checkpoint latest --threads 1
}
if grep -q "continuing after step" "$F/log" && cmp -s "$F/whole/model.safetensors" "$F/cut/model.safetensors" && cmp -s "$F/whole/metrics.jsonl" "$F/cut/metrics.jsonl"; then
    ok sdft_killed
else
    fail "sdft_killed: $(tail -n 1 "$F/log")"
fi

# refusals
# shellcheck disable=SC2086
{
    fails sdft_template 2 "must have both {prompt} and {privileged_context}" tenet $base --data "$F/demos.jsonl" --teacher-prompt-template "{prompt}" --output-dir "$F/none"
    fails sdft_rate 2 "are of --teacher-model-kind ema" tenet $base --data "$F/demos.jsonl" --teacher-sync-steps 3 --output-dir "$F/none"
    bad() { # NAME TEXT ROW
        echo "$3" >"$F/bad.jsonl"
        fails "sdft_$1" 1 "$2" tenet $base --data "$F/bad.jsonl" --output-dir "$F/none"
    }
    bad no_context 'needs "privileged_context"' '{"prompt": "a"}'
    bad no_prompt 'needs "prompt"' '{"messages": [{"role": "user", "content": "a"}]}'
    bad context_of_numbers "the privileged context must be a string" '{"prompt": "a", "privileged_context": 7, "completion": "b"}'
    bad ends_with_answer "must end with a user's message" '{"prompt": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "privileged_context": "a"}'
    bad ids_without_teacher '"teacher_prompt_ids"' '{"prompt_ids": [1, 4], "ids": [5]}'
}
[ -z "${e2e_failed:-}" ]
