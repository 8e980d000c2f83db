/* tenet completion SHELL: what a shell needs to complete our command lines. */
#include "cmd/verbs.h"
#include <string.h>

/* Readline cuts words at '=': they are put together again, and the part after it is completed. */
static const char bash[] =
    "# bash completion of tenet\n"
    "_tenet() {\n"
    "    local word line kind=:none words=() glue=\n"
    "    for word in \"${COMP_WORDS[@]:1:COMP_CWORD}\"; do\n"
    "        if [[ ${#words[@]} -gt 0 && ( $glue || $word == = ) ]]; then\n"
    "            words[${#words[@]}-1]+=$word\n"
    "        else\n"
    "            words+=(\"$word\")\n"
    "        fi\n"
    "        [[ $word == = ]] && glue=1 || glue=\n"
    "    done\n"
    "    COMPREPLY=()\n"
    "    while IFS= read -r line; do\n"
    "        case $line in\n"
    "        :*) kind=$line ;;\n"
    "        *) COMPREPLY+=(\"${line%%$'\\t'*}\") ;;\n"
    "        esac\n"
    "    done < <(\"$1\" completion words -- \"${words[@]}\" 2>/dev/null)\n"
    "    case $kind in\n"
    "    :files) compopt -o default ;;\n"
    "    :dirs) compopt -o filenames -o plusdirs ;;\n"
    "    esac\n"
    "}\n"
    "complete -F _tenet tenet\n";

static const char zsh[] =
    "#compdef tenet\n"
    "_tenet() {\n"
    "    local line kind=:none word about\n"
    "    local -a found\n"
    "    for line in \"${(@f)$(\"${words[1]}\" completion words -- \"${(@)words[2,CURRENT]}\" "
    "2>/dev/null)}\"; do\n"
    "        case $line in\n"
    "        :*) kind=$line ;;\n"
    "        *)\n"
    "            word=${line%%$'\\t'*} about=\n"
    "            [[ $line == *$'\\t'* ]] && about=:${line#*$'\\t'}\n"
    "            found+=(\"${word//:/\\\\:}$about\")\n"
    "            ;;\n"
    "        esac\n"
    "    done\n"
    "    compset -P '*='\n"
    "    (( $#found )) && _describe -V tenet found\n"
    "    case $kind in\n"
    "    :files) _files ;;\n"
    "    :dirs) _files -/ ;;\n"
    "    esac\n"
    "}\n"
    "if [[ $funcstack[1] == _tenet ]]; then _tenet \"$@\"; else compdef _tenet tenet; fi\n";

static const char fish[] =
    "# fish completion of tenet\n"
    "function __tenet_complete\n"
    "    set -l words (commandline -opc)\n"
    "    set -l now (commandline -ct)\n"
    "    set -l before (string replace -r '[^=]*$' '' -- \"$now\")\n"
    "    set -l rest (string replace -r '^.*=' '' -- \"$now\")\n"
    "    for line in (command $words[1] completion words -- $words[2..-1] \"$now\" 2>/dev/null)\n"
    "        switch $line\n"
    "            case ':files'\n"
    "                printf '%s\\n' \"$before\"(__fish_complete_path \"$rest\")\n"
    "            case ':dirs'\n"
    "                printf '%s\\n' \"$before\"(__fish_complete_directories \"$rest\")\n"
    "            case ':*'\n"
    "            case '*'\n"
    "                printf '%s\\n' \"$before$line\"\n"
    "        end\n"
    "    end\n"
    "end\n"
    "complete -c tenet -f -a '(__tenet_complete)'\n";

static tn_status run(const tn_opts *o, tn_err *e) {
    const char *what = tn_opts_pos(o, 0), *words[512];
    int n = tn_opts_npos(o) - 1;
    if (!strcmp(what, "words")) {
        if (n > 512) n = 512; /* nobody completes by hand what follows */
        for (int i = 0; i < n; i++) words[i] = tn_opts_pos(o, i + 1);
        tn_complete(tn_verbs, words, n, stdout);
        return TN_OK;
    }
    if (n > 0) return tn_fail(e, TN_ARG, "unexpected argument '%s'", tn_opts_pos(o, 1));
    const char *text = !strcmp(what, "bash")   ? bash
                       : !strcmp(what, "zsh")  ? zsh
                       : !strcmp(what, "fish") ? fish
                                               : NULL;
    if (!text) return tn_fail(e, TN_ARG, "completion is for bash, zsh or fish, not '%s'", what);
    fputs(text, stdout);
    return TN_OK;
}

const tn_verb tn_verb_completion = {
    .name = "completion",
    .stage = "Set-up",
    .summary = "command-line completion for bash, zsh or fish",
    .details = "Prints a script that completes verbs, options, their choices, files and folders. "
               "`make install` puts it where\n"
               "the shells look for it; without an installation:\n\n"
               "  source <(tenet completion bash)            in ~/.bashrc\n"
               "  source <(tenet completion zsh)             in ~/.zshrc, after compinit\n"
               "  tenet completion fish | source             in config.fish\n\n"
               "The scripts ask `tenet completion words -- WORD...` what may stand at the last "
               "word.",
    .positional = "SHELL [WORD]...",
    .words = "bash|zsh|fish",
    .run = run};
