#!/bin/sh
# The completion of shells, in the shells themselves: what is typed in front of a tab, and what comes
# of it. A shell that is not there is skipped.
. "${AGENT_TRACE_ROOT:-.}/tests/kit.sh"
unset AGENT_TRACE_ACTOR AGENT_TRACE_PUBLISH PAGER COLUMNS CDPATH ENV BASH_ENV
AGENT_TRACE_PAGER='' TERM=xterm HOME=$WORK
export AGENT_TRACE_PAGER TERM HOME
mkdir "$WORK/bin" "$WORK/store" "$WORK/other" && ln -s "$PROGRAM" "$WORK/bin/agent-trace"
PATH=$WORK/bin:$PATH
cd "$WORK/store" || exit 2
{
    agent-trace init
    agent-trace -C "$WORK/other" init
    agent-trace write plan.md --content 'the plan' --type plan
    agent-trace write 'docs/a name with blanks.md' --content 'blanks'
    agent-trace write 'docs/$(touch evil).md' --content 'evil'
    agent-trace -C "$WORK/other" write elsewhere.md --content 'in the other store'
} >/dev/null 2>&1
for shell in bash zsh fish; do
    agent-trace completion $shell >"$WORK/completion.$shell" || exit 2
done

none() {
    agent-trace completion tcsh >"$WORK/out" 2>"$WORK/err"
    [ $? = 2 ] && [ ! -s "$WORK/out" ] && grep -q "say bash, zsh or fish" "$WORK/err"
}
case_ 'a shell that has none is named' none

# ---- bash ----

complete_bash() { # WORD...: what bash offers for the last one, a line each
    bash --norc --noprofile -c '
        . "$0"
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        _agent_trace 2>"$HOME/complaints"
        cat "$HOME/complaints"
        printf "%s\n" "${COMPREPLY[@]}"' "$WORK/completion.bash" "$@"
}
offers() { # EXPECTED WORD...
    want=$1
    shift
    got=$(complete_bash "$@" | sort | tr '\n' ' ')
    [ "$got" = "$want" ] || { echo "for '$*' it offers: $got" && return 1; }
}
bash_commands() {
    offers 'init ' agent-trace ini && offers 'status ' agent-trace --json sta && offers 'log ' agent-trace --actor agent:x log &&
        offers 'show ' agent-trace -C /tmp --color never sho && offers 'show ' agent-trace help sho
}
bash_options() {
    offers '--type ' agent-trace ls --ty && offers '--deleted ' agent-trace ls --de &&
        offers '--no-pager ' agent-trace log --no && offers ' ' agent-trace status --ty &&
        offers 'context ' agent-trace ls --type con && offers 'plan ' agent-trace ls --type = pl &&
        offers 'process ' agent-trace write x --durability pro && offers 'never ' agent-trace --color nev
}
bash_documents() {
    offers 'plan.md ' agent-trace show pl && offers 'plan.md ' agent-trace log --type plan p &&
        offers 'docs/a name with blanks.md ' agent-trace rm docs/a &&
        offers 'docs/$(touch evil).md ' agent-trace rm 'docs/$' &&
        offers 'elsewhere.md ' agent-trace -C "$WORK/other" show '' &&
        offers ' ' agent-trace show plan.md pl && [ ! -e evil ]
}
bash_nowhere() { # without a store it is silent
    (cd "$WORK" && offers ' ' agent-trace show p)
}
bash_terminal() { # typed at a prompt
    python3 "$ROOT/tests/kit_terminal.py" 80x24 ". $WORK/completion.bash\\n|agent-trace sho	pla	\\n|exit\\n" \
        bash --norc --noprofile -i >"$WORK/out" 2>&1
    grep -aq 'the plan' "$WORK/out" || { cat -v "$WORK/out" && return 1; }
}
if command -v bash >/dev/null 2>&1; then
    case_ 'bash: commands' bash_commands
    case_ 'bash: options and what their values can be' bash_options
    case_ 'bash: documents, whatever they are called' bash_documents
    case_ 'bash: without a store nothing is offered and nothing said' bash_nowhere
    case_ 'bash: on a terminal' bash_terminal
else
    skip 'bash' 'there is none'
fi

# ---- zsh ----

typed_zsh() { # LINE EXPECTED: what comes of the line at a prompt
    python3 "$ROOT/tests/kit_terminal.py" 200x24 "$1|exit\\n" zsh -i >"$WORK/out" 2>&1
    grep -aq "$2" "$WORK/out" || { cat -v "$WORK/out" && return 1; }
}
zsh_all() {
    mkdir -p "$WORK/functions" && cp "$WORK/completion.zsh" "$WORK/functions/_agent-trace" &&
        printf '%s\n' 'fpath=($HOME/functions $fpath)' 'autoload -Uz compinit && compinit -u -d $HOME/dump' \
            'PS1="% "; unsetopt beep' >"$WORK/.zshrc" || return 1
    typed_zsh 'agent-trace stat	\n' 'documents.*3' && typed_zsh 'agent-trace show pla	\n' '^the plan' &&
        typed_zsh 'agent-trace ls --typ	pla	\n' 'plan\.md' &&
        typed_zsh 'agent-trace show docs/a	\n' '^blanks' &&
        typed_zsh "agent-trace -C $WORK/other show els	\\n" '^in the other store' && [ ! -e evil ]
}
zsh_sourced() { # as kubectl's and others': source <(agent-trace completion zsh)
    printf '%s\n' 'autoload -Uz compinit && compinit -u -d $HOME/dump2' "source '$WORK/completion.zsh'" \
        'PS1="% "; unsetopt beep' >"$WORK/.zshrc" || return 1
    typed_zsh 'agent-trace stat	\n' 'documents.*3' && typed_zsh 'agent-trace show pla	\n' '^the plan'
}
if command -v zsh >/dev/null 2>&1; then
    case_ 'zsh: commands, options, values and documents, on a terminal' zsh_all
    case_ 'zsh: the same where it is sourced' zsh_sourced
else
    skip 'zsh' 'there is none'
fi

# ---- fish ----

offers_fish() { # LINE EXPECTED
    got=$(fish --no-config -c 'source $argv[1]; complete -C $argv[2]' "$WORK/completion.fish" "$1" 2>&1 |
        cut -f 1 | sort | tr '\n' ' ')
    [ "$got" = "$2" ] || { echo "for '$1' it offers: $got" && return 1; }
}
fish_all() {
    offers_fish 'agent-trace stat' 'status ' && offers_fish 'agent-trace ls --typ' '--type ' &&
        offers_fish 'agent-trace ls --type con' 'context ' && offers_fish 'agent-trace show pl' 'plan.md ' &&
        offers_fish 'agent-trace --color nev' 'never ' && offers_fish 'agent-trace help sho' 'show ' &&
        offers_fish "agent-trace -C $WORK/other show els" 'elsewhere.md ' &&
        offers_fish 'agent-trace --json stat' 'status ' && [ ! -e evil ]
}
if command -v fish >/dev/null 2>&1; then
    case_ 'fish: commands, options, values and documents' fish_all
else
    skip 'fish' 'there is none'
fi

kit_end
