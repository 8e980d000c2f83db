# tenet distill and tdpo in the built-in world: a tiny student gets closer to a larger teacher on held-out rows, from given answers,
# its own and the teacher's; a student that is its own teacher has nothing to learn; what is refused.
. tests/e2e/lib.sh
D=$E2E_TMP/distill
mkdir -p "$D"
quiet() { "$@" >"$D/log" 2>&1; }
teacher=models/world
{
    tenet world config --out "$D/tiny" --hidden-size 48 --layers 2 --heads 3 --intermediate-size 96
    tenet world text --count 400 --out "$D/text.jsonl"
    tenet world sft --count 480 --seed 5 --out "$D/sft.jsonl"
    tenet world sft --count 64 --seed 6 --out "$D/held.jsonl"
    tenet pretrain --model "$D/tiny" --data "$D/text.jsonl" --output-dir "$D/base" --batch-tokens 2048 --max-steps 12 \
        --learning-rate 3e-3 --save-steps 0 --save-dtype float32
} >"$D/log" 2>&1 || fail "distill_set_up: $(tail -n 1 "$D/log")"
base="distill --model $D/base --teacher-model $teacher --data $D/sft.jsonl --max-new-tokens 24 --save-steps 0 --threads 2"
value() { sed -n "s|.*\"$1\": \([-0-9.e]*\).*|\1|p" "$2" | sed -n "${3:-1}p"; } # KEY FILE [NTH]

# shellcheck disable=SC2086
quiet tenet $base --eval-data "$D/held.jsonl" --max-steps 1 --learning-rate 0 --lmbda 0 --output-dir "$D/start" || fail "distill_start: $(tail -n 1 "$D/log")"
# kl NAME DIVERGENCE OPTIONS...: the held-out divergence at the start and after 60 steps; it falls by a sixth at least
kl() {
    local name=$1 what=$2 first last
    shift 2
    # shellcheck disable=SC2086
    quiet tenet $base --eval-data "$D/held.jsonl" --eval-steps 60 --max-steps 60 --learning-rate 5e-3 --per-device-train-batch-size 8 \
        --output-dir "$D/$name" "$@" || { fail "distill_$name: $(tail -n 1 "$D/log")"; return; }
    first=$(value "eval_$what" "$D/start/metrics.jsonl") last=$(value "eval_$what" "$D/$name/metrics.jsonl")
    if awk -v a="$first" -v b="$last" 'BEGIN { exit !(a > 0 && b > 0 && b < a * 5 / 6) }'; then
        ok "distill_$name ($what $first -> $last)"
    else
        fail "distill_$name: $what $first -> $last"
    fi
}
kl given_answers kl_teacher_student --lmbda 0 --beta 0
kl own_answers kl_teacher_student --lmbda 1 --beta 0
kl own_answers_reverse kl_student_teacher --lmbda 1 --beta 1
kl mixed kl_teacher_student
kl teacher_answers kl_teacher_student --lmbda 0 --seq-kd

# the share of steps with own answers; other steps take the rows'
on=$(grep -c '"on_policy": 1' "$D/mixed/metrics.jsonl")
if [ "$on" -gt 18 ] && [ "$on" -lt 42 ] && [ "$(grep -c '"on_policy": 1' "$D/own_answers/metrics.jsonl")" = 60 ] &&
    ! grep -q '"on_policy"' "$D/given_answers/metrics.jsonl" && [ "$(grep -c mean_length "$D/teacher_answers/metrics.jsonl")" = 60 ]; then
    ok "distill_shares ($on of 60 on-policy)"
else
    fail "distill_shares: $on of 60 on-policy"
fi

# a model beside itself: divergence 0 to the bit, no gradient; the same with an adapter that adds nothing yet, on a shared trunk
for how in whole lora; do
    case $how in lora) more="--use-peft --lora-r 4" ;; *) more= ;; esac
    # shellcheck disable=SC2086
    quiet tenet $base $more --teacher-model "$D/base" --max-steps 1 --beta 0.3 --output-dir "$D/same-$how" || fail "distill_same_$how: $(tail -n 1 "$D/log")"
    if [ "$(value loss "$D/same-$how/metrics.jsonl")$(value grad_norm "$D/same-$how/metrics.jsonl")" = 00 ]; then
        ok "distill_own_teacher_$how"
    else
        fail "distill_own_teacher_$how: $(cat "$D/same-$how/metrics.jsonl")"
    fi
done

# TDPO: the first step is DPO's (no divergence yet), later ones are not; margins grow
{
    tenet world prompts-pref --count 24 --out "$D/pref.jsonl"
    tenet generate --model $teacher --input "$D/pref.jsonl" --n 4 --max-new-tokens 24 --out "$D/samples.jsonl"
    tenet world rank --input "$D/samples.jsonl" --annotator careful --out "$D/rank.jsonl" --pairs-out "$D/pairs.jsonl"
} >"$D/log" 2>&1 || fail "distill_pairs: $(tail -n 1 "$D/log")"
for verb in dpo tdpo; do
    quiet tenet $verb --model $teacher --data "$D/pairs.jsonl" --max-steps 12 --learning-rate 4e-4 --dtype float32 --save-steps 0 \
        --output-dir "$D/$verb" || fail "distill_$verb: $(tail -n 1 "$D/log")"
done
if [ "$(value loss "$D/dpo/metrics.jsonl")" = "$(value loss "$D/tdpo/metrics.jsonl")" ] && [ "$(value kl/margins "$D/tdpo/metrics.jsonl")" = 0 ] &&
    [ "$(value loss "$D/dpo/metrics.jsonl" 12)" != "$(value loss "$D/tdpo/metrics.jsonl" 12)" ] &&
    awk -v m="$(value rewards/margins "$D/tdpo/metrics.jsonl" 12)" -v k="$(value kl/rejected "$D/tdpo/metrics.jsonl" 12)" 'BEGIN { exit !(m > 0.05 && k > 0) }'; then
    ok "distill_tdpo (margin $(value rewards/margins "$D/tdpo/metrics.jsonl" 12))"
else
    fail "distill_tdpo: $(tail -n 1 "$D/tdpo/metrics.jsonl")"
fi

# the reference backend gives the bits of the kernels
for backend in cpu ref; do
    # shellcheck disable=SC2086
    quiet tenet $base --dtype float32 --max-steps 1 --lmbda 0 --max-rows 4 --backend $backend --output-dir "$D/$backend" || fail "distill_$backend: $(tail -n 1 "$D/log")"
done
if cmp -s "$D/cpu/model.safetensors" "$D/ref/model.safetensors" && cmp -s "$D/cpu/metrics.jsonl" "$D/ref/metrics.jsonl"; then
    ok distill_reference_backend_same_bits
else
    fail distill_reference_backend_same_bits
fi

# TERM while answers are sampled: a checkpoint of the last whole step, from which the run ends in the same bytes
long="$base --lmbda 1 --max-new-tokens 120 --temperature 2 --per-device-train-batch-size 48 --max-steps 4"
# shellcheck disable=SC2086
quiet tenet $long --output-dir "$D/whole" || fail "distill_whole: $(tail -n 1 "$D/log")"
# shellcheck disable=SC2086
"$TENET_BIN" $long --output-dir "$D/cut" >"$D/log" 2>&1 &
pid=$!
n=0
while [ ! -s "$D/cut/metrics.jsonl" ] && kill -0 $pid 2>/dev/null && [ $n -lt 3000 ]; do sleep 0.01; n=$((n + 1)); done
sleep 0.05
kill -TERM $pid 2>/dev/null
status=0
wait $pid || status=$?
# shellcheck disable=SC2086
if [ $status = 130 ] && quiet tenet $long --output-dir "$D/cut" --resume-from-checkpoint latest &&
    cmp -s "$D/whole/model.safetensors" "$D/cut/model.safetensors" && cmp -s "$D/whole/metrics.jsonl" "$D/cut/metrics.jsonl"; then
    ok distill_stop_while_sampling
else
    fail "distill_stop_while_sampling: status $status; $(tail -n 1 "$D/log")"
fi

# refusals
fails distill_no_teacher 2 "--teacher-model is missing" tenet distill --model "$D/base" --data "$D/sft.jsonl" --output-dir "$D/none"
cp -r "$teacher" "$D/other" && printf '\n' >>"$D/other/tokenizer.json"
# shellcheck disable=SC2086
fails distill_teacher_nowhere 1 "there is no such folder" tenet $base --teacher-model "$D/nowhere" --output-dir "$D/none"
# shellcheck disable=SC2086
fails distill_other_tokenizer 1 "have different tokenizers" tenet $base --teacher-model "$D/other" --output-dir "$D/none"
# text without a prompt is continued from its first token
check distill_text tenet distill --model "$D/base" --teacher-model $teacher --data "$D/text.jsonl" --output-dir "$D/text" --lmbda 1 \
    --max-steps 2 --save-steps 0
[ -z "${e2e_failed:-}" ]
