# tenet chat without a terminal: answers equal `tenet generate`, commands, Ctrl-C.
. tests/e2e/lib.sh
C=$E2E_TMP/chat
mkdir -p "$C"
M=models/world
tenet world prompts-rl --count 3 --seed 4 | sed 's/.*"content": "\([^"]*\)".*/\1/' >"$C/questions"
q() { sed -n "$1p" "$C/questions"; }
texts() { sed 's/.*"text": "\([^"]*\)".*/\1/' "$1"; }

# three turns, and the three prompts that they were for as rows of generate: answer k is row k's
for how in "--temperature 0" "--temperature 1 --seed 7" "--temperature 0.8 --top-p 0.9 --seed 3 --dtype float32"; do
    rm -f "$C/turns"
    printf '%s\n/save %s\n%s\n/save %s\n%s\n/save %s\n' "$(q 1)" "$C/turns" "$(q 2)" "$C/turns" "$(q 3)" "$C/turns" |
        tenet chat --model $M --max-new-tokens 40 $how >"$C/answers" 2>"$C/log"
    sed 's/, {"role": "assistant", "content": "[^"]*"}\]}$/]}/' "$C/turns" >"$C/prompts"
    tenet generate --model $M --input "$C/prompts" --max-new-tokens 40 $how >"$C/rows" 2>"$C/log2"
    texts "$C/rows" >"$C/want"
    if [ "$(wc -l <"$C/want")" = 3 ] && [ "$(grep -c '"user".*"user".*"user"' "$C/prompts")" = 1 ] && cmp -s "$C/want" "$C/answers"; then
        ok "chat_equals_generate $how"
    else
        fail "chat_equals_generate $how: $(diff "$C/want" "$C/answers" | head -4) $(tail -1 "$C/log")"
    fi
done

# commands
printf '%s\n/undo\n/system be brief\n%s\n/save %s\n/reset\n/save %s\n/system\n/save %s\n//slash\n/save %s\n/temperature 0\n/quit\nnever\n' \
    "$(q 1)" "$(q 2)" "$C/a" "$C/b" "$C/c" "$C/d" | tenet chat --model $M --temperature 0 >"$C/answers" 2>"$C/log"
status=$?
saved() { if [ "$(cat "$C/$2")" = "$3" ] || grep -q "$3" "$C/$2"; then ok "chat_$1"; else fail "chat_$1: $(cat "$C/$2")"; fi; }
saved system a '^{"messages": \[{"role": "system", "content": "be brief"}, {"role": "user", "content": "'"$(q 2)"'"}, {"role": "assistant", "content": "[^"]*"}\]}$'
saved reset b '{"messages": [{"role": "system", "content": "be brief"}]}'
saved no_system c '{"messages": []}'
saved slash d '^{"messages": \[{"role": "user", "content": "/slash"}, '
if [ $status = 0 ] && [ "$(wc -l <"$C/answers")" = 3 ]; then ok chat_quit; else fail "chat_quit: status $status, $(cat "$C/answers" "$C/log")"; fi
printf 'one \\\ntwo\n/save %s' "$C/e" | tenet chat --model $M --system hi >"$C/answers" 2>"$C/log"
saved lines_go_on e '"system", "content": "hi"}, {"role": "user", "content": "one \\ntwo"}'

# refusals
run() { printf '%s\n' "$1" >"$C/in"; shift; "$TENET_BIN" chat --model $M "$@" <"$C/in"; }
fails chat_unknown_command 2 "did you mean /reset?" run /rset
fails chat_undo_nothing 2 "nothing to take back" run /undo
fails chat_temperature 2 "a number from 0 to 100" run "/temperature hot"
fails chat_save_nowhere 1 "cannot open" run "/save $C/none/x"
fails chat_too_long 2 "leaves no room for an answer" run "$(q 1)" --max-length 8
fails chat_not_utf8 1 "not valid UTF-8" run "$(printf 'a\377b')"
cp -r $M "$C/plain" && rm "$C/plain/chat_template.jinja" && sed -i '/chat_template/d' "$C/plain/tokenizer_config.json"
fails chat_no_template 2 "has no chat template" tenet chat --model "$C/plain"
fails chat_no_model 2 "--model is missing" tenet chat

# Ctrl-C stops an answer, not the program; what there was is part of the conversation
tenet world config --out "$C/tiny" --hidden-size 32 --layers 1 --heads 2 --intermediate-size 48 --context 100000 2>/dev/null
tenet world text --count 20 --out "$C/text.jsonl"
tenet pretrain --model "$C/tiny" --data "$C/text.jsonl" --output-dir "$C/base" --max-steps 1 --save-steps 0 >"$C/log" 2>&1
mkfifo "$C/pipe"
"$TENET_BIN" chat --model "$C/base" --temperature 0 --max-length 90000 --max-new-tokens 80000 <"$C/pipe" >"$C/answers" 2>"$C/log" &
pid=$!
exec 9>"$C/pipe"
spoken() { local n=0 was; was=$(wc -c <"$C/answers"); while [ "$(wc -c <"$C/answers")" -lt $((was + 400)) ] && [ $n -lt 600 ]; do sleep 0.02; n=$((n + 1)); done; }
printf '%s\n' "$(q 1)" >&9
spoken
kill -INT $pid
printf '/save %s\n%s\n' "$C/stopped" "$(q 2)" >&9
spoken
kill -INT $pid
exec 9>&-
status=0
wait $pid || status=$?
if [ $status = 0 ] && [ "$(wc -l <"$C/answers")" = 2 ] && [ "$(head -1 "$C/answers")" = "$(sed 's/.*"content": "\(.*\)"}\]}$/\1/' "$C/stopped")" ]; then
    ok chat_ctrl_c
else
    fail "chat_ctrl_c: status $status, $(wc -l <"$C/answers") answers; $(tail -1 "$C/log")"
fi
