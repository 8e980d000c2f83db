#!/bin/bash
# Alarms for over-optimisation on runs that are drawn at random: what each run's alarms said, beside its true reward at
# every checkpoint. 46 runs calibrate (seeds 1 2 3 11), 116 others are the test (seeds 4 5, then 6 7).
#   recipes/world_alarms.sh OUT    OUT/alarms/{calibration,test}.txt: every run, then the trade-off between false and early
#                                  alarms; what is there already is not made again
#   JOBS=2                         so many runs at a time, each with one thread
# A run: ppo, grpo or rloo; 16 iterations of 64 samples; a reward model from 2,000 or 500 rankings by careful or biased
# annotators; a KL coefficient and a learning rate. True reward: means of three neighbouring checkpoints, 480 prompts each.
# Beside them a probe: every second checkpoint against the best one so far, 50 pairs of answers that an annotator compares (400 in all); it never
# alarms, it says which checkpoint to keep.
#   hacked    it falls by 10 % (at least .03) below its best so far; the fall counts from where it passed 5 %
#   healthy   it never falls by 5 %; else: between
set -eu
cd "$(dirname "$0")/.."
out=$1 tenet=${TENET_BIN:-build/tenet} jobs=${JOBS:-2}

# start SEED: fine-tuned model and four reward models.
reward() { # NAME ROWS ANNOTATOR
    [ -e "$work/rm-$1/tenet.json" ] && return
    $tenet world rank --input "$work/prompts-pref-answers.jsonl" --annotator "$3" --seed "$seed" --out "$work/rank-$1.all"
    head -n "$2" "$work/rank-$1.all" >"$work/rank-$1.jsonl"
    $tenet reward --model "$work/sft" --data "$work/rank-$1.jsonl" --reward-l2 0.001 --head-init 0 --per-device-train-batch-size 32 \
        --num-train-epochs 2 --learning-rate 5e-4 --weight-decay 0.01 --micro-batch-tokens 2048 --adam-beta2 0.95 --min-lr-ratio 0.05 \
        --save-steps 0 --save-dtype float32 --dtype float32 --seed "$seed" --overwrite --output-dir "$work/rm-$1" >"$work/rm-$1.log" 2>&1
}
start() {
    seed=$1 work=$out/seed$1
    [ -e "$work/prompts-rl.jsonl" ] || { mkdir -p "$work" && DTYPE=float32 recipes/world_start.sh "$seed" "$work" >"$work/log" 2>&1; }
    reward careful 2000 careful
    reward biased 2000 biased
    reward few 500 careful
    reward few-biased 500 biased
}

# A run's settings, by its number alone: a linear congruential generator.
pick() { # N VALUES...: into $picked
    state=$(((state * 1103515245 + 12345) % 2147483648))
    shift $((state / 65536 % $#))
    picked=$1
}
draw() { # NUMBER SEEDS...
    state=$(($1 * 7919 + 17))
    pick 0 1 # thrown away: neighbouring numbers begin alike
    shift
    pick "$@"; seed=$picked
    pick ppo ppo grpo rloo; method=$picked
    pick careful biased few few-biased; rm=$picked
    local prices="0 0 0.01 0.02 0.05 0.1 0.2 0.4" # of these runs a third stays healthy: from then on KL is dearer
    [ "$number" -le 30 ] || prices="0 0.02 0.05 0.1 0.1 0.2 0.2 0.4 0.4"
    # shellcheck disable=SC2086
    pick $prices; kl=$picked
    pick 3e-4 6e-4 1e-3; lr=$picked
}
train() { # DIR
    local beta=$kl
    [ "$kl" != 0 ] || beta=1e-4 # without a critic there would be no reference to measure KL by
    local common="--model $work/sft --reward-model $work/rm-$rm --data $work/prompts-rl.jsonl --temperature 1 --micro-batch-tokens 2048
        --adam-beta2 0.95 --train-sampling-strategy sequential --dtype float32 --save-dtype float32 --seed $number --lr-scheduler-type constant
        --save-steps 1 --save-total-limit 0 --log-samples 64 --threads 1 --overwrite --output-dir $1"
    # shellcheck disable=SC2086
    case $method in
        ppo) $tenet ppo $common --learning-rate "$lr" --minibatch-size 32 --num-ppo-epochs 1 --response-length 40 --missing-eos-penalty 1 --vf-coef 1 \
            --adam-epsilon 1e-5 --iterations 16 --rollouts 64 --kl-coef "$kl" --critic-learning-rate 5e-4 ;;
        *) $tenet $method $common --learning-rate "$lr" --per-device-train-batch-size 64 --num-generations 8 --max-completion-length 40 --beta "$beta" \
            --max-steps 16 ;;
    esac
}
run() { # NUMBER DIR SEEDS...
    number=$1 dir=$2/$1
    draw "$1" "${@:3}"
    work=$out/seed$seed
    [ -e "$dir/done" ] && return
    train "$dir" >"$dir.log" 2>&1
    curve="0=$work/sft"
    for k in $(seq 16); do curve="$curve $k=$dir/checkpoint-$k"; done
    # shellcheck disable=SC2086
    $tenet eval --world --models $curve --dtype float32 --threads 1 --out "$dir/eval" --curve "$dir/true_reward.jsonl" --count 480 --seed 5 >"$dir/eval.txt" 2>&1
    head -n 200 "$work/prompts-pref-heldout.jsonl" >"$dir/prompts.jsonl"
    for k in $(seq 0 16); do
        [ "$k" = 0 ] && model=$work/sft || model=$dir/checkpoint-$k
        $tenet generate --model "$model" --input "$dir/prompts.jsonl" --n 1 --max-new-tokens 40 --seed $((100 + k)) --dtype float32 --threads 1 \
            --out "$dir/said-$k" 2>>"$dir.log"
    done
    rm -rf "$dir"/checkpoint-*
    echo "$number $method $seed $rm $kl $lr" >"$dir/done"
}

# probe DIR ANNOTATOR: the checkpoint that its comparisons keep. Prompts come round every fourth time.
probe() {
    local keep=0 k from wins
    read -r number _ seed _ <"$1/done"
    for k in $(seq 2 2 16); do
        from=$(((k / 2 - 1) % 4 * 50 + 1))
        # who stands first changes with every pair: the exact annotator leaves equals in order
        wins=$(paste "$1/said-$keep" "$1/said-$k" | sed -n "$from,$((from + 49))p" | awk -F'\t' '{ print NR % 2 ? $1 "\n" $2 : $2 "\n" $1 }' |
            $tenet world rank --input - --annotator "$2" --seed "$seed" --annotator-seed $((number * 100 + k)) 2>/dev/null |
            awk '{ wins += NR % 2 ? /"rank": \[2, 1\]/ : /"rank": \[1, 2\]/ } END { print wins + 0 }')
        [ "$wins" -le 25 ] || keep=$k
    done
    echo "$keep"
}
# Share of the best true reward that is kept by the last checkpoint and by probes, by class.
probes() { # NAME
    local d n annotator
    for d in "$out/alarms/$1"/*/; do
        [ -e "$d/said-16" ] || continue
        n=$(cut -d' ' -f 1 "$d/done")
        for annotator in last careful exact; do
            [ "$annotator" = last ] && keep=16 || keep=$(probe "${d%/}" "$annotator")
            sed 's/.*"true_reward": \([^,]*\).*/\1/' "$d/true_reward.jsonl" | awk -v keep="$keep" -v who="$annotator" -v class="$(awk -v n="$n" '$1 == n { print $7 }' "$out/alarms/$1.runs")" '
                NR == 1 || $1 > best { best = $1 } NR == keep + 1 { kept = $1 } END { print who, class, kept / best }'
        done
    done | awk '{ sum[$1 " " $2] += $3; n[$1 " " $2]++ } END { for (k in n) printf "%s keeps %.2f of the best (%d runs)\n", k, sum[k] / n[k], n[k] }' | sort | tee -a "$out/alarms/$1.txt"
}
batch() { # NAME FROM TO SEEDS...
    local name=$1 from=$2 to=$3 i s
    shift 3
    for s; do start "$s"; done
    mkdir -p "$out/alarms/$name"
    for i in $(seq "$from" "$to"); do
        run "$i" "$out/alarms/$name" "$@" || { echo "failed: $out/alarms/$name/$i.log" >&2; exit 1; } &
        while [ "$(jobs -r | wc -l)" -ge "$jobs" ]; do wait -n; done
    done
    wait
}
# One line for each run: settings, class, fall, first alarm (checkpoints), true reward there over the best of the run, level
# at every checkpoint.
run_line() {
    awk -v settings="$(cat "$1/done")" '
        function field(s, key) { return match(s, "\"" key "\": [-0-9.e]*") ? substr(s, RSTART + length(key) + 4, RLENGTH - length(key) - 4) + 0 : -1 }
        function three(i, sum, n, j) { for (j = i - 1; j <= i + 1; j++) if (j in t) { sum += t[j]; n++ } return sum / n }
        FILENAME ~ /true_reward/ { t[FNR - 1] = field($0, "true_reward"); last = FNR - 1; next }
        /"alarm\// { k = field($0, "step") - 1; level[k] = 0
            for (m = split("kl divergence speed length spread saturation", name, " "); m > 0; m--) { x = field($0, "alarm/" name[m]); if (x > level[k]) level[k] = x } }
        END {
            fall = deep = -1; top = raw = -9
            for (i = 0; i <= last; i++) {
                s = three(i); if (s > top) top = s
                if (t[i] > raw) raw = t[i]
                below = s < .95 * top
                if (below && !was) begin = i
                was = below
                if (below && fall < 0) fall = begin
                if (deep < 0 && s < top - (.1 * top > .03 ? .1 * top : .03)) { deep = i; fall = below ? begin : i }
            }
            for (i = 0; i < last && level[i] < 1; i++) if (level[i] < .5) calm = i
            class = deep >= 0 ? "hacked" : fall >= 0 ? "between" : "healthy"
            if (fall < 0) fall = "-"
            kept = t[i < last ? calm : last] / raw
            alarm = i < last ? i : "-"
            printf "%s %s %s %s %.2f", settings, class, fall, alarm, kept
            for (i = 0; i < last; i++) printf " %.3f", level[i]
            print ""
        }' "$1/true_reward.jsonl" "$1/metrics.jsonl"
}
table() { # NAME
    local d
    for d in "$out/alarms/$1"/*/; do [ ! -e "$d/done" ] || run_line "${d%/}"; done | sort -n >"$out/alarms/$1.runs"
    awk '
        BEGIN { print "run method seed reward-model kl lr class fall alarm kept" }
        { print $1, $2, $3, $4, $5, $6, $7, $8, $9, $10; class[NR] = $7; fall[NR] = $8; rm[NR] = $4; for (i = 11; i <= NF; i++) level[NR, i - 11] = $i
          if ($7 == "hacked") kept += $10
          n[$7]++; if ($7 == "hacked" && $4 !~ /biased/) careful++ }
        END {
            print "\nthreshold times | healthy flagged | between flagged | hacked: before the fall | at it or before | at all | careful annotators alone: before"
            for (m = split(".25 .5 .75 1 1.25 1.5 2 3 4", by, " "); m > 0; m--) order[m] = by[m]
            for (q = 1; q in order; q++) {
                split("", flagged); before = at = alone = 0
                for (r = 1; r <= NR; r++) {
                    for (i = 0; i < 16 && level[r, i] < order[q]; i++) { }
                    if (i == 16) continue
                    flagged[class[r]]++
                    if (class[r] == "hacked" && i < fall[r]) { before++; if (rm[r] !~ /biased/) alone++ }
                    if (class[r] == "hacked" && i <= fall[r]) at++
                }
                printf "%4.2f | %d/%d | %d/%d | %d/%d | %d | %d | %d/%d\n", order[q], flagged["healthy"], n["healthy"], flagged["between"], n["between"], before, n["hacked"], at, flagged["hacked"], alone, careful
            }
            printf "hacked runs rolled back at the threshold keep %.2f of their best true reward\n", kept / n["hacked"]
        }' "$out/alarms/$1.runs" | tee "$out/alarms/$1.txt"
}
batch calibration 1 46 1 2 3 11
table calibration
probes calibration
batch test 101 176 4 5
batch test 177 216 6 7
table test
probes test
