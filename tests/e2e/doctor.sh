# tenet doctor: the page and its JSON say the same, in time, also where nothing can be written.
. tests/e2e/lib.sh
D=$E2E_TMP/doctor
mkdir -p "$D"
t0=$SECONDS
check doctor_runs tenet doctor --folder "$D"
[ $((SECONDS - t0)) -lt 10 ] && ok doctor_in_time || fail "doctor_in_time: $((SECONDS - t0)) s"
cp "$E2E_TMP/check.log" "$D/page"
if [ -z "$(ls -A "$D" | grep -v page)" ]; then ok doctor_leaves_nothing; else fail "doctor_leaves_nothing: $(ls -A "$D")"; fi
tenet doctor --json --no-measure >"$D/json"
kernels=$(sed -n 's/^ *bfloat16 *\([a-z0-9]*\) kernels.*/\1/p' "$D/page")
if [ -n "$kernels" ] && grep -q "\"kernels\": \"$kernels\"" "$D/json"; then ok doctor_json; else fail "doctor_json: $kernels"; fi
check doctor_measures grep -q 'bfloat16 .* GFLOP/s with' "$D/page"
check doctor_disk grep -q 'ms to write and fsync' "$D/page"
check doctor_packages grep -q -e 'libopenmpi-dev' -e 'mpirun' "$D/page"
if grep -q flops "$D/json"; then fail doctor_no_measure; else ok doctor_no_measure; fi
# the kernels named are the ones that run
tenet world prompts-rl --count 1 --out "$D/p.jsonl"
tenet inspect models/world >/dev/null && tenet generate --model models/world --input "$D/p.jsonl" --kernels "$kernels" --max-new-tokens 2 \
    >"$D/out" 2>"$D/log" && ok doctor_kernels_run || fail "doctor_kernels_run: $(tail -1 "$D/log")"
tenet doctor --folder "$D/none" >"$D/page" 2>&1 && grep -q "nothing can be written here" "$D/page" && ok doctor_no_folder || fail doctor_no_folder
