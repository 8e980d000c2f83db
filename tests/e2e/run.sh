# tenet run from outside: a pipeline with every kind of stage; the same bytes as its commands by hand, after kill -9 at many
# instants, TERM and crashes; what runs again and what does not; refusals before anything runs.
. tests/e2e/lib.sh
O=$E2E_TMP/run
mkdir -p "$O/bin"
bin=$(cd "$(dirname "$TENET_BIN")" && pwd)/$(basename "$TENET_BIN")
ln -s "$bin" "$O/bin/tenet"
root=$PWD
cat >"$O/r.yaml" <<'YAML'
name: small
vars: {base: ~, rate: 1e-3, extra: false}
options: {seed: 3, dtype: float32, prompts: prompts/world, constitution: constitutions/world.json, kind-key: family, save-steps: 3}
stages:
  - name: rows
    about: demonstrations
    world sft: {count: 200, out: "${out}/rows.jsonl"}
    makes: rows.jsonl
  - name: sft
    about: a model
    sft: {model: "${base}", data: "${out}/rows.jsonl", output-dir: "${out}/models/sft", max-steps: 24, save-dtype: float32}
    makes: models/sft
  - name: prompts
    world prompts-rl: {count: 160, out: "${out}/prompts.jsonl"}
    makes: prompts.jsonl
  - name: red
    select: {data: "${out}/prompts.jsonl", where: ["family=harmful,privacy"], out: "${out}/red.jsonl"}
    makes: red.jsonl
  - name: critique
    critique: {model: "${base}", data: "${out}/red.jsonl", rounds: 2, max-new-tokens: 32, max-critique-tokens: 20, repeat-words: 0,
               longest-ratio: 0, batch-size: 4, output-dir: "${out}/critique"}
    makes: critique
  - name: pairs
    generate: {model: "${out}/models/sft", input: "${out}/prompts.jsonl", n: 2, max-new-tokens: 30, batch-size: 8, grouped: true, out: "${out}/pairs.jsonl"}
    makes: pairs.jsonl
  - name: label
    label: {model: "${base}", input: "${out}/pairs.jsonl", out: "${out}/labels.jsonl"}
    makes: [labels.jsonl, labels.jsonl.replies.jsonl]
  - name: reward
    reward: {model: "${out}/models/sft", data: "${out}/labels.jsonl", output-dir: "${out}/models/reward", max-steps: 12, learning-rate: "${rate}"}
    makes: models/reward
  - name: eval
    about: side by side
    eval: {world: true, count: 64, models: ["base=${base}", "sft=${out}/models/sft"], reward-model: "${out}/models/reward", out: "${out}/eval"}
    makes: eval
    prints: table.txt
  - name: extra
    when: ${extra}
    inspect ${out}/models/sft:
    prints: inspected.txt
YAML
# in DIR COMMAND...: the same relative paths everywhere, since records have them
in_dir() { local d=$1; shift; mkdir -p "$O/$d" && env -C "$O/$d" "$@"; }
go() { local d=$1; shift; in_dir "$d" "$bin" run ../r.yaml --out out --set "base=$root/models/world" "$@"; }
ran() { sed -n 's/^tenet: \[[0-9]*\/[0-9]*\] \([a-z]*\) \.\.\. .*/\1/p' "$1" | tr '\n' ' '; }
# all that was made, and the record of it; checkpoints that TERM left are more
same() { diff -rq -x .lock -x logs -x timing.jsonl "$@" >"$O/diff"; }
whole=$O/whole/out

if go whole >"$O/out" 2>"$O/log"; then ok run_whole; else fail "run_whole: $(tail -n 2 "$O/log")"; fi
if [ "$(ran "$O/log")" = "rows sft prompts red critique pairs label reward eval " ]; then ok run_stages; else fail "run_stages: $(ran "$O/log")"; fi
if grep -q "^base " "$whole/table.txt" && grep -q "^base " "$whole/logs/eval.log" && grep -q "^out/models/sft	a model" "$O/out"; then ok run_prints; else fail run_prints; fi
if [ "$(wc -l <"$whole/timing.jsonl")" = 9 ] && ! grep -q "$O" "$whole/run.json" && [ ! -e "$whole/inspected.txt" ]; then ok run_records; else fail run_records; fi
cp -r "$whole" "$O/copy"
touch "$whole"/*.jsonl "$whole"/models/sft/*
go whole >"$O/out" 2>"$O/log"
if [ "$(ran "$O/log")" = "" ] && same "$whole" "$O/copy"; then ok run_complete_runs_nothing; else fail "run_complete_runs_nothing: $(ran "$O/log") $(cat "$O/diff")"; fi
# the commands that --dry-run prints, by hand
mkdir -p "$O/hand"
go hand --dry-run >"$O/hand/commands"
(cd "$O/hand" && mkdir -p out/models && PATH="$O/bin:$PATH" bash -e commands) >"$O/log" 2>&1 || fail "run_by_hand: $(tail -n 1 "$O/log")"
if same -x run.json "$whole" "$O/hand/out"; then ok run_by_hand; else fail "run_by_hand: $(cat "$O/diff")"; fi
# a copy elsewhere is complete there, too
mkdir -p "$O/moved"
cp -r "$O/copy" "$O/moved/other"
in_dir moved "$bin" run ../r.yaml --out other --set "base=$root/models/world" >"$O/out" 2>"$O/log"
if [ "$(ran "$O/log")" = "" ]; then ok run_moved; else fail "run_moved: $(ran "$O/log")"; fi

# ---- interruptions ----
# start DIR: in the background; $pid
start() { mkdir -p "$O/$1"; (cd "$O/$1" && exec "$bin" run ../r.yaml --out out --set "base=$root/models/world") >"$O/log" 2>&1 & pid=$!; }
# again DIR: to the end; the dead run's stage may be dying yet
again() {
    local n=0
    while ! go "$1" >"$O/out" 2>"$O/log"; do
        n=$((n + 1))
        grep -q "is in use by another run" "$O/log" && [ $n -lt 200 ] || return 1
        sleep 0.02
    done
}
# kill_when NAME CONDITION: kill -9 as soon as it holds (or the run is over)
kill_when() {
    local n=0
    start "$1"
    while ! eval "$2" 2>/dev/null && kill -0 $pid 2>/dev/null && [ $n -lt 20000 ]; do sleep 0.002; n=$((n + 1)); done
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null
    cp "$O/log" "$O/first"
    if again "$1" && same "$whole" "$O/$1/out"; then ok "run_killed_$1"; else fail "run_killed_$1: $(tail -n 1 "$O/log") $(cat "$O/diff")"; fi
    [ -z "$(find "$O/$1/out" -name '*.tmp*' -o -name '*.old' -o -name '*.part')" ] || fail "run_killed_$1: $(find "$O/$1/out" -name '*.tmp*' -o -name '*.old' -o -name '*.part')"
}
kill_when sft '[ -e "$O/sft/out/models/sft/checkpoint-6" ]'
if grep -q "continuing after step" "$O/log" && grep -q "\[2/9\] sft: a model (goes on)" "$O/log"; then ok run_goes_on; else fail "run_goes_on: $(cat "$O/log")"; fi
kill_when begun 'grep -q begun "$O/begun/out/run.json"'
kill_when critique '[ -s "$O/critique/out/critique/replies.jsonl" ]'
kill_when pairs 'ls "$O/pairs/out/" | grep -q pairs.jsonl.tmp-'
kill_when label '[ -e "$O/label/out/labels.jsonl.replies.jsonl" ]'
kill_when labels '[ -e "$O/labels/out/labels.jsonl" ]'
kill_when reward '[ -e "$O/reward/out/models/reward/checkpoint-3" ]'
kill_when trained '[ -e "$O/trained/out/models/reward/model.safetensors" ]'
kill_when eval '[ -e "$O/eval/out/eval" ]'
# again and again in one folder, at any instant
kills=0
while [ $kills -lt 12 ]; do
    start chain
    sleep "0.$((RANDOM % 5))$((RANDOM % 10))"
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null
    kills=$((kills + 1))
done
if again chain && same "$whole" "$O/chain/out"; then ok run_killed_12_times; else fail "run_killed_12_times: $(tail -n 1 "$O/log") $(cat "$O/diff")"; fi
# TERM is passed on: the stage saves a checkpoint, and the run ends with 130
start term
n=0
while [ ! -e "$O/term/out/models/sft/checkpoint-6" ] && [ $n -lt 5000 ]; do sleep 0.002; n=$((n + 1)); done
kill -TERM $pid
wait $pid
status=$?
if [ $status = 130 ] && grep -q "stopped after step" "$O/log" && grep -q "stopped in stage 'sft'; the same command goes on" "$O/log"; then ok run_term; else fail "run_term: $status $(tail -n 2 "$O/log")"; fi
fails run_from_begun 1 "stage 'sft' was interrupted, and what it makes is not whole" go term --from prompts
if again term && cmp -s "$whole/models/sft/model.safetensors" "$O/term/out/models/sft/model.safetensors" && same -x 'checkpoint-*' "$whole" "$O/term/out"; then ok run_term_goes_on; else fail "run_term_goes_on: $(cat "$O/diff")"; fi
# a stage that dies: its end has a message; two runs in one folder
start crash
n=0
while [ ! -e "$O/crash/out/models/sft/checkpoint-3" ] && [ $n -lt 5000 ]; do sleep 0.002; n=$((n + 1)); done
fails run_second_refused 1 "is in use by another run" go crash
child=$(cat /proc/$pid/task/$pid/children 2>/dev/null)
if [ -n "$child" ]; then
    # shellcheck disable=SC2086
    kill -9 $child
    wait $pid
    status=$?
    if [ $status = 1 ] && grep -q "stage 'sft' was killed by signal 9 (Killed); its log is out/logs/sft.log" "$O/log"; then ok run_crash; else fail "run_crash: $status $(tail -n 1 "$O/log")"; fi
    if again crash && same "$whole" "$O/crash/out"; then ok run_crash_goes_on; else fail "run_crash_goes_on: $(cat "$O/diff")"; fi
else
    wait $pid
    skip run_crash no list of children
fi

# ---- what runs again ----
go whole --set rate=2e-3 >"$O/out" 2>"$O/log"
if [ "$(ran "$O/log")" = "reward eval " ] && grep -q "reward (its command is another: --learning-rate 0.002 was 0.001)" "$O/log"; then ok run_changed_option; else fail "run_changed_option: $(ran "$O/log")"; fi
go whole >"$O/out" 2>"$O/log"
if same "$whole" "$O/copy"; then ok run_changed_back; else fail "run_changed_back: $(cat "$O/diff")"; fi
go whole --set extra=true >"$O/out" 2>"$O/log"
if [ "$(ran "$O/log")" = "extra " ] && [ -s "$whole/inspected.txt" ]; then ok run_when; else fail "run_when: $(ran "$O/log")"; fi
rm -r "$whole"/models/sft/checkpoint-*
go whole --set extra=true >"$O/out" 2>"$O/log"
if [ "$(ran "$O/log")" = "" ]; then ok run_without_checkpoints; else fail "run_without_checkpoints: $(ran "$O/log")"; fi
rm "$whole/red.jsonl"
go whole >"$O/out" 2>"$O/log"
if [ "$(ran "$O/log")" = "red " ] && cmp -s "$whole/red.jsonl" "$O/copy/red.jsonl"; then ok run_gone; else fail "run_gone: $(ran "$O/log")"; fi
# somebody's work is not overwritten, and can be gone on with
head -n 100 "$O/copy/pairs.jsonl" >"$whole/pairs.jsonl"
fails run_edited 1 "out/pairs.jsonl was changed since its stage made it; remove it to have it made, or take it as it is with --from label" go whole
[ "$(wc -l <"$whole/pairs.jsonl")" = 100 ] || fail run_edited_stays
go whole --from label --until reward >"$O/out" 2>"$O/log"
if [ "$(ran "$O/log")" = "label reward " ] && [ "$(wc -l <"$whole/pairs.jsonl")" = 100 ]; then ok run_from_until; else fail "run_from_until: $(ran "$O/log")"; fi
go whole >"$O/out" 2>"$O/log"
if [ "$(ran "$O/log")" = "eval " ]; then ok run_adopted; else fail "run_adopted: $(ran "$O/log")"; fi
mkdir -p "$O/foreign/out"
echo mine >"$O/foreign/out/red.jsonl"
fails run_foreign 1 "out/red.jsonl is there, and no stage of this folder's runs made it" go foreign
if [ "$(cat "$O/foreign/out/red.jsonl")" = mine ] && [ ! -e "$O/foreign/out/rows.jsonl" ]; then ok run_foreign_stays; else fail run_foreign_stays; fi
fails run_from_nothing 1 "--from sft takes what earlier stages make as it is: stage 'rows' has left no out/rows.jsonl" go nothing --from sft
go list --list >"$O/out"
if grep -q "^  --set rate=0.001" "$O/out" && grep -q "^  2  sft  *to do  *a model" "$O/out"; then ok run_list; else fail run_list; fi
go whole --list >"$O/out"
if grep -q "^  2  sft  *complete  *a model" "$O/out"; then ok run_list_state; else fail run_list_state; fi

# ---- refusals ----
refuse() { fails "$1" 2 "$2" env -C "$O" "$bin" run "$3" --out never "${@:4}"; [ ! -e "$O/never" ] || fail "$1: something ran"; }
sed 's/max-steps: 24/max-stpes: 24/' "$O/r.yaml" >"$O/bad.yaml"
refuse run_unknown_option "unknown option 'max-stpes' in bad.yaml:11:89; did you mean 'max-steps'?" bad.yaml --set "base=$root/models/world"
refuse run_without_value "r.yaml:2:8: no value of 'base'; give --set base=VALUE" r.yaml
refuse run_no_such_base "r.yaml:11:11: 'nowhere' is not there" r.yaml --set base=nowhere
refuse run_unknown_variable "did you mean 'rate'?" r.yaml --set "base=$root/models/world" rat=3
refuse run_unknown_stage "has no stage 'rewrad'; did you mean 'reward'?" r.yaml --set "base=$root/models/world" --from rewrad
refuse run_backwards "--from eval comes after --until sft" r.yaml --set "base=$root/models/world" --from eval --until sft
fails run_no_out 2 "--out is missing" env -C "$O" "$bin" run r.yaml --set "base=$root/models/world"
fails run_no_file 1 "cannot open" tenet run "$O/none.yaml" --out "$O/never"
printf 'name: a\nstages:\n  - name: short\n    world sft: {count: 3, out: "${out}/a"}\n    makes: [a, b]\n' >"$O/short.yaml"
fails run_makes_less 1 "stage 'short' has left no $O/short/b, which its 'makes' promises" tenet run "$O/short.yaml" --out "$O/short"
printf 'name: a\nstages:\n  - name: none\n    select: {data: README.md, out: "${out}/a"}\n    makes: a\n' >"$O/none.yaml"
fails run_failing 1 "stage 'none' failed with exit status 1; its log is $O/failing/logs/none.log" tenet run "$O/none.yaml" --out "$O/failing"
printf 'name: other\nstages:\n  - name: a\n    world sft: {count: 3, out: "${out}/a"}\n    makes: a\n' >"$O/other.yaml"
fails run_other_recipe 1 "holds a run of the recipe 'a', not of 'other'" tenet run "$O/other.yaml" --out "$O/short"

# failing system calls and allocations end in a message, and what they leave can be gone on with
printf 'name: f\nstages:\n  - name: a\n    world sft: {count: 20, out: "${out}/d/a"}\n    makes: d/a\n  - name: b\n    select: {data: "${out}/d/a", first: 5, out: "${out}/b"}\n    makes: b\n' >"$O/f.yaml"
tenet run "$O/f.yaml" --out "$O/f-whole" >/dev/null 2>&1
bad='' failures=0
for ((n = 1; n < 2400; n += n < 40 ? 3 : 61)); do
    status=0
    rm -rf "$O/f"
    TENET_FAULT=$n:5 tenet run "$O/f.yaml" --out "$O/f" >/dev/null 2>"$O/log" || status=$?
    [ $status = 0 ] || failures=$((failures + 1))
    if { [ $status != 0 ] && [ $status != 1 ]; } || { [ $status = 1 ] && ! grep -q "tenet: error:" "$O/log"; }; then bad="$bad $n:$status"; fi
    tenet run "$O/f.yaml" --out "$O/f" >/dev/null 2>"$O/log" && same "$O/f-whole" "$O/f" || bad="$bad $n:again"
done
if [ -z "$bad" ] && [ $failures -gt 10 ]; then ok "run_faults ($failures calls failed in turn)"; else fail "run_faults:$bad ($failures)"; fi

# the example of docs/recipes.md
sed -n '/^```yaml$/,/^```$/p' docs/recipes.md | grep -v '^```' >"$O/docs.yaml"
check run_docs_example tenet run "$O/docs.yaml" --out "$O/docs" --until rankings --set people=exact
check run_shipped_recipe tenet run recipes/constitutional.yaml --dry-run
if [ "$(tenet run recipes/constitutional.yaml --list | grep -c '^ *[0-9]')" = 28 ]; then ok run_shipped_stages; else fail run_shipped_stages; fi
exit ${e2e_failed:-0}
