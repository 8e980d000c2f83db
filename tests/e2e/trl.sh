# Thirty steps of every preference loss in float32, at each the loss (within 1e-4) and gradient norm (within 1e-3) of TRL
# 1.16's own trainers: same model, rows and order. tests/golden/trl_runs is made by tools/compare_trl.py --dump.
. tests/e2e/lib.sh
T=$E2E_TMP/trl
G=tests/golden/trl_runs
mkdir -p "$T"
for file in "$G"/*.txt; do
    name=$(basename "$file" .txt)
    # shellcheck disable=SC2046
    tenet $(sed -n 1p "$file") --model models/world --data "$G/$(sed -n 2p "$file")" --output-dir "$T/$name" --dtype float32 \
        --max-steps 30 --learning-rate 3e-4 --warmup-steps 5 --max-length 128 --per-device-train-batch-size 4 \
        --train-sampling-strategy sequential --save-steps 0 >"$T/log" 2>&1 || { fail "trl_$name: $(tail -n 1 "$T/log")"; continue; }
    sed -n 's/.*"loss": \([^,]*\), "grad_norm": \([^,]*\),.*/\1 \2/p' "$T/$name/metrics.jsonl" >"$T/ours"
    if sed 1,2d "$file" | paste -d ' ' - "$T/ours" | awk '
        function apart(a, b) { return (a > b ? a - b : b - a) / (a > 0 ? a : -a) }
        { l = apart($1, $3); g = apart($2, $4); if (l > loss) loss = l; if (g > norm) norm = g; if (NF != 4 || !(l < 1e-4 && g < 1e-3)) bad = bad " " NR }
        END { printf "loss within %.1e, gradient norm within %.1e, %d steps%s\n", loss, norm, NR, bad ? "; differs at" bad : ""; exit bad || NR != 30 }' >"$T/result"; then
        ok "trl_$name ($(cat "$T/result"))"
    else
        fail "trl_$name: $(cat "$T/result")"
    fi
done
[ -z "${e2e_failed:-}" ]
