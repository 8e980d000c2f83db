# kill -9 and TERM (as Ctrl-C: checkpoint and stop) at random instants of every training run: no half checkpoint is
# ever seen, and what was resumed (once for every kill) ends in the bytes of an undisturbed run.
# TENET_CRASH_ROUNDS: kills per run; TENET_CRASH_RUNS: these runs only.
# An instant is drawn in two parts, so that runs get on however fast or loaded the machine is: 0 to 2 checkpoints more
# than there were at the start, and then up to two steps' time.
. tests/e2e/lib.sh
rounds=${TENET_CRASH_ROUNDS:-16}
# A kill leaves the page cache alone, so memory does as well as a disk and is faster.
[ -w /dev/shm ] && C=$(mktemp -d /dev/shm/tenet-crash.XXXXXX) && trap 'rm -rf "$C"' EXIT
C=${C:-$E2E_TMP/crash}
. tests/e2e/tiny.sh "$C"

# Every folder called checkpoint-N is complete.
whole_checkpoints() {
    local d
    for d in "$1"/checkpoint-*; do
        case $d in *.tmp | *.old | *\*) continue ;; esac
        tenet inspect "$d" >/dev/null 2>"$C/inspect" || { head -n 1 "$C/inspect"; return 1; }
    done
}
newest_step() { # DIR: of its whole checkpoints; 0 without one
    local d n=0
    for d in "$1"/checkpoint-*; do
        d=${d##*/checkpoint-}
        case $d in *[!0-9]*) continue ;; esac
        [ "$d" -gt $n ] && n=$d
    done
    echo $n
}
same_run() { # A B: weights, logs and state, and all of the last checkpoint but options (whose hash is in manifests)
    local f
    f=checkpoint-$(newest_step "$1")
    diff -rq -x tenet.json -x manifest.json "$1/$f" "$2/$f" 2>&1 || return 1
    for f in model.safetensors adapter_model.safetensors generation_config.json metrics.jsonl samples.jsonl trainer_state.json; do
        [ ! -e "$1/$f" ] || cmp -s "$1/$f" "$2/$f" || { echo "$f differs"; return 1; }
    done
}

seconds() { printf '%d.%03d' $(($1 / 1000)) $(($1 % 1000)); } # of milliseconds

# crash NAME VERB OPTIONS...: as many kills as asked for; a run that comes to its end is compared and begun anew.
crash() {
    local name=$1 kills=0 stops=0 ends=0 resumed=0 bad='' t0 time pid status at from how
    shift
    t0=$(date +%s%N)
    tenet "$@" --output-dir "$C/$name-whole" --save-steps 1 >"$C/log" 2>&1 || { fail "crash_$name: $(tail -n 1 "$C/log")"; return; }
    time=$((($(date +%s%N) - t0) / 1000000))
    while [ $kills -lt "$rounds" ] && [ -z "$bad" ]; do
        from=$(newest_step "$C/$name")
        at=$((from + RANDOM % 3))
        "$TENET_BIN" "$@" --output-dir "$C/$name" --save-steps 1 --resume-from-checkpoint latest \
            --threads $((RANDOM % 3 + 1)) >"$C/log" 2>&1 &
        pid=$!
        [ $at = "$from" ] && sleep "$(seconds $((RANDOM % (time / 2 + 1))))"
        while [ "$(newest_step "$C/$name")" -lt $at ] && kill -0 $pid 2>/dev/null; do sleep 0.002; done
        sleep "$(seconds $((RANDOM % (time / 12 + 1))))"
        how=KILL
        [ $((RANDOM % 2)) = 0 ] || how=TERM
        kill -$how $pid 2>/dev/null
        status=0
        wait $pid 2>/dev/null || status=$?
        grep -q "continuing after step" "$C/log" && resumed=$((resumed + 1))
        bad=$(whole_checkpoints "$C/$name")
        if [ $status = 0 ]; then # faster than the kill
            bad=$bad$(same_run "$C/$name-whole" "$C/$name")
            ends=$((ends + 1))
            rm -rf "${C:?}/$name"
        elif [ $status = 137 ] || [ $status = 143 ]; then # 143: before anything was set up
            kills=$((kills + 1))
        elif [ $status = 130 ] && [ $how = TERM ]; then
            kills=$((kills + 1)) stops=$((stops + 1))
        else
            bad="status $status: $(tail -n 1 "$C/log")"
        fi
    done
    if [ -z "$bad" ]; then
        tenet "$@" --output-dir "$C/$name" --save-steps 1 --resume-from-checkpoint latest >"$C/log" 2>&1 ||
            bad=$(tail -n 1 "$C/log")
        bad=$bad$(same_run "$C/$name-whole" "$C/$name")
        # nothing of the killed processes is left
        bad=$bad$(find "$C/$name" -name '*.tmp*' -o -name '*.old')
    fi
    rm -rf "${C:?}/$name"
    [ $resumed -gt 0 ] || bad="$bad no run was resumed"
    if [ -z "$bad" ]; then ok "crash_$name ($kills kills, $stops of them asked to stop, $resumed resumed runs, $ends ends before the last)"; else fail "crash_$name after $kills kills: $bad"; fi
}

for run in ${TENET_CRASH_RUNS:-pretrain sft reward inform odin cost prm dpo kto bco aot trdpo orpo simpo ppo ppo_safe grpo rloo online_dpo a2po nash_md lora distill tpo tdpo}; do
    # shellcheck disable=SC2046
    crash $run $(arguments $run 24)
done
