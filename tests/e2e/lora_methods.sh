# Adapters under every method that lora.sh does not take apart: no base is written, a run that goes on from a checkpoint with
# other threads and two ranks end in the same bytes, and the reference is the base (with nothing learned yet, distillation from
# oneself and comparisons with oneself start where they must).
. tests/e2e/lib.sh
L=$E2E_TMP/lora_methods
mkdir -p "$L"
must() { "$@" >"$L/log" 2>&1 || fail "lora_methods: $* : $(tail -n 1 "$L/log")"; }
tenet world config --out "$L/tiny" --hidden-size 32 --layers 2 --heads 2 --intermediate-size 48 2>/dev/null
tenet world text --count 400 --out "$L/text.jsonl"
tenet world sft --count 64 --out "$L/sft.jsonl"
tenet world prompts-pref --count 24 --out "$L/pref.jsonl"
tenet world prompts-rl --count 64 --out "$L/rl.jsonl"
must tenet pretrain --model "$L/tiny" --data "$L/text.jsonl" --output-dir "$L/base" --batch-tokens 2048 --max-steps 8 --learning-rate 3e-3 --save-steps 0 --save-dtype float32
must tenet generate --model "$L/base" --input "$L/pref.jsonl" --n 4 --max-new-tokens 12 --out "$L/samples.jsonl"
must tenet world rank --input "$L/samples.jsonl" --annotator careful --out "$L/rank.jsonl" --pairs-out "$L/pairs.jsonl"
must tenet reward --model "$L/base" --data "$L/rank.jsonl" --kwise --max-steps 3 --output-dir "$L/rm" --save-steps 0
sed 's/"chosen": \(.*\), "rejected": /"chosen": \1, "reference": \1, "rejected": /' "$L/pairs.jsonl" >"$L/triples.jsonl"
sed 's/}$/, "chosen_safe": true, "rejected_safe": false}/' "$L/pairs.jsonl" >"$L/safety.jsonl"
sed -n 's/.*"messages": \[\({"role": "user"[^}]*}\), {"role": "assistant", "content": "\([^"]*\)"}\].*/{"prompt": [\1], "completion": [{"role": "assistant", "content": "\2"}]}/p' "$L/sft.jsonl" >"$L/demos.jsonl"

pairs="--data $L/pairs.jsonl --per-device-train-batch-size 6"
own="--data $L/rl.jsonl --reward-model $L/rm --max-completion-length 12 --per-device-train-batch-size 12"
few="--data $L/rl.jsonl --reward-model $L/rm --max-new-tokens 12 --per-device-train-batch-size 6"
lines="cost --data $L/safety.jsonl --per-device-train-batch-size 6
cpo $pairs
simpo $pairs
orpo $pairs
kto $pairs
tdpo $pairs
tpo --data $L/triples.jsonl --per-device-train-batch-size 6
distill --teacher-model models/world --data $L/sft.jsonl --per-device-train-batch-size 8 --max-new-tokens 12
sdft --data $L/demos.jsonl --per-device-train-batch-size 8 --max-completion-length 12
grpo $own --num-generations 4 --beta 0.04
rloo $own
reinforce $own
online-dpo $few --num-generations 3
rft $few --num-generations 3
a2po $own --num-value-samples 3 --beta2 0.1
xpo $few
nash-md $few"
adapter="--use-peft --lora-r 4 --lora-alpha 8 --lora-target-modules all-linear --learning-rate 3e-3 --logging-steps 1 --seed 3 --max-steps 4 --dtype float32"
equal() { cmp -s "$1/metrics.jsonl" "$2/metrics.jsonl" && cmp -s "$1/adapter_model.safetensors" "$2/adapter_model.safetensors"; }
base_hash=$(sha256sum <"$L/base/model.safetensors")
while read -r verb options; do
    line="$verb --model $L/base $options $adapter"
    # shellcheck disable=SC2086
    must tenet $line --save-steps 2 --save-total-limit 0 --threads 2 --output-dir "$L/$verb"
    if [ -e "$L/$verb/model.safetensors" ] || [ ! -s "$L/$verb/adapter_model.safetensors" ]; then fail "lora_${verb}_writes_the_base"; continue; fi
    cp -r "$L/$verb" "$L/$verb-cut"
    rm -rf "$L/$verb-cut/checkpoint-4" "$L/$verb-cut/adapter_model.safetensors"
    # shellcheck disable=SC2086
    must tenet $line --save-steps 0 --threads 1 --resume-from-checkpoint latest --output-dir "$L/$verb-cut"
    if grep -q "continuing after step 2" "$L/log" && equal "$L/$verb" "$L/$verb-cut"; then ok "lora_${verb}_resumed"; else fail "lora_${verb}_resumed: other bits; $(tail -n 1 "$L/log")"; fi
    # shellcheck disable=SC2086
    for n in 1 2; do must tenet $line --save-steps 0 --ranks $n --grad-lanes 2 --output-dir "$L/$verb-ranks-$n"; done
    if equal "$L/$verb-ranks-1" "$L/$verb-ranks-2"; then ok "lora_${verb}_ranks"; else fail "lora_${verb}_ranks: other bits"; fi
    cp "$L/$verb/adapter_model.safetensors" "$L/of-$verb.safetensors"
done <<<"$lines"
if [ "$base_hash" = "$(sha256sum <"$L/base/model.safetensors")" ] && [ "$(sha256sum "$L"/of-*.safetensors | cut -d' ' -f1 | sort -u | wc -l)" = "$(wc -l <<<"$lines")" ]; then
    ok "lora_methods_all_learn"
else
    fail "lora_methods_all_learn: two have the same adapter, or the base has changed"
fi
first() { head -n 1 "$L/$1/metrics.jsonl"; }
check lora_kto_starts_at_the_base grep -q '"rewards/chosen": 0,' <(first kto)
check lora_tdpo_starts_at_the_base grep -q '"loss": 0.693147' <(first tdpo)
check lora_online_dpo_starts_at_the_base grep -q '"loss": 0.693147' <(first online-dpo)
check lora_grpo_starts_at_the_base grep -q '"kl": 0[,}]' <(first grpo)
fails lora_prm 1 "is trained whole" tenet prm --model "$L/base" --data "$L/sft.jsonl" --use-peft --output-dir "$L/none"
[ -z "${e2e_failed:-}" ]
