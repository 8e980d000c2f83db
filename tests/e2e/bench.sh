# bench: every part runs on tiny models and the built-in world's rows and leaves its results; peers are asked over the
# same pipe as peers.py is (here a script that answers), and what is not there is left out with a reason.
. tests/e2e/lib.sh
B=$E2E_TMP/bench
mkdir -p "$B"
if ! make -s build/bench/bench >"$B/log" 2>&1; then
    fail "bench_build: $(tail -n 3 "$B/log")"
    exit 1
fi
cat >"$B/peer" <<'PEER'
#!/bin/sh
# peer SCRIPT serve THREADS | peer SCRIPT trl THREADS METHOD MODEL ROWS STEPS REWARD RESULT MARK
if [ "$2" = serve ]; then
    while read -r line; do
        case $line in
        *'"generate"'*) echo '{"error": "no generation here"}' ;;
        *) echo '{"value": 0.5, "tokens": 7}' ;;
        esac
    done
else
    : >"${10}"
    sleep 0.02
    echo '{"seconds": [9, 2.0], "tokens": [5, 100]}' >"$9"
fi
PEER
chmod +x "$B/peer"
bench() { TENET_BIN=$TENET_BIN build/bench/bench --quick --sizes tiny --work "$B/work" "$@" >"$B/log" 2>&1; }
# has NAME FILE PATTERN: an extended regular expression
has() { if grep -qE -e "$3" "$2"; then ok "$1"; else fail "$1: no '$3' in $2"; fi; }

bench --out "$B/a" --parts "gemm step decode launch sft reward ppo" --only tiny || fail "bench_runs: $(tail -n 2 "$B/log")"
[ -s "$B/a.json" ] && [ -s "$B/a.md" ] && [ -s "$B/a.svg" ] && ok bench_files || fail bench_files
for row in "tiny \| tok/s \| [0-9.]+ .*%" "tiny b=64 \| tok/s" "tiny start to first token \| s" "tiny peak memory \| MB"; do
    has "bench_row: $row" "$B/a.md" "^\| $row"
done
if [ "$(grep -c '"tenet": \[' "$B/a.json")" -ge 14 ]; then ok bench_samples; else fail "bench_samples: $(grep -c '"tenet": \[' "$B/a.json")"; fi

# memory is the run's, not that of the process that watches it (more than 500 MB)
mb=$(sed -n 's/^| tiny peak memory | MB | \([0-9.]*\).*/\1/p' "$B/a.md" | sort -n | tail -n 1)
if awk -v m="${mb:-9999}" 'BEGIN { exit !(m > 1 && m < 300) }'; then ok bench_memory; else fail "bench_memory: $mb MB"; fi

# with a peer: a step of 7 tokens in half a second; TRL's 100 tokens in 2 s; earlier parts stay
bench --out "$B/a" --parts "step decode sft grpo" --only tiny --peers "$B/peer" || fail "bench_peers: $(tail -n 2 "$B/log")"
has bench_peer_step "$B/a.md" '^\| tiny \| tok/s .* 14 \(14–14\)'
has bench_peer_tokens "$B/a.md" "the bare loop's batch has 7 tokens"
has bench_peer_error "$B/a.md" '^- left out: no generation here'
has bench_trl "$B/a.md" '^\| tiny speed \| tok/s .* 50 \|.*UNEQUAL token counts'
has bench_trl_launch "$B/a.md" '^\| tiny launch to first step \| s .*×'
has bench_other_parts_stay "$B/a.md" '^\| tiny start to first token'
fails bench_unknown_part 2 "no part 'speed'" build/bench/bench --parts "step speed" --out "$B/b"
fails bench_no_value 2 "its value is missing" build/bench/bench --parts
[ -z "${e2e_failed:-}" ]
