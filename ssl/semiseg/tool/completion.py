"""Names and flags for the completion of shells, and the few lines that teach bash and zsh to ask for them."""

import contextlib
import io
import os
import re
from collections.abc import Callable, Mapping

from semiseg.refusals import require

FLAG = re.compile(r"(?:^ *|│ )(?:-\w, )?(--[a-z][\w.-]*\w)(?:, (--[a-z][\w.-]*\w))?(?: \[*\{([\w,.-]+)\}(?!\|))?", re.MULTILINE)
"""A flag, its opposite and its choices where a line of help begins with them: of argparse, or in one of tyro's boxes."""
NARROW = "80"
"""Columns of a help in which tyro puts no boxes side by side."""

BASH = """\
declare -gA _semiseg_known
_semiseg() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} name=${COMP_WORDS[1]} line offered=
    COMPREPLY=()
    if (( COMP_CWORD == 1 )); then
        COMPREPLY=($(compgen -W "$("${COMP_WORDS[0]}" --names 2>/dev/null)" -- "$word"))
        return
    fi
    [[ -n ${_semiseg_known[$name]+known} ]] || _semiseg_known[$name]=$("${COMP_WORDS[0]}" --flags "$name" 2>/dev/null)
    while read -r line; do
        if [[ $line == "$before "* ]]; then offered=${line#* }; break; fi
        if [[ $word == -* ]]; then offered+=" ${line%% *}"; fi
    done <<< "${_semiseg_known[$name]}"
    COMPREPLY=($(compgen -W "$offered" -- "$word"))
}
complete -o default -o bashdefault -F _semiseg semiseg
"""
ZSH = """\
typeset -gA _semiseg_known
_semiseg() {
    local word=$words[CURRENT] before=$words[CURRENT-1] name=$words[2] line
    local -a offered
    if (( CURRENT == 2 )); then
        compadd -- ${(f)"$($words[1] --names 2>/dev/null)"}
        return
    fi
    (( ${+_semiseg_known[$name]} )) || _semiseg_known[$name]="$($words[1] --flags $name 2>/dev/null)"
    for line in ${(f)_semiseg_known[$name]}; do
        if [[ $line == "$before "* ]]; then offered=(${(s: :)line#* }); break; fi
        if [[ $word == -* ]]; then offered+=(${line%% *}); fi
    done
    if (( $#offered )); then compadd -- $offered; else _files; fi
}
compdef _semiseg semiseg
"""
SHELLS: Mapping[str, str] = {"bash": BASH, "zsh": ZSH}


def script_for(shell: str) -> str:
    """What a shell evaluates: `eval "$(semiseg --completion bash)"`. SettingError for a shell that is not known."""
    require(shell in SHELLS, "completion", shell, ", ".join(SHELLS))
    return SHELLS[shell]


def flags(run: Callable[[list[str]], int]) -> str:
    """A line for each flag that `run(["--help"])` prints, with its choices behind it where it has some."""
    said = io.StringIO()
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = NARROW
    try:
        with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
            run(["--help"])
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before
    return offered(said.getvalue())


def offered(help_text: str) -> str:
    """The flags in a help, each on a line of its own, with their choices.

    >>> offered("  --a INT\\n  -q, --quick, --no-quick\\n  --vary {None,both}")
    '--a\\n--quick\\n--no-quick\\n--vary None both'
    """
    found: dict[str, str] = {}
    for flag, opposite, choices in FLAG.findall(help_text):
        found |= {name: choices.replace(",", " ") for name in (flag, opposite) if name}
    return "\n".join(" ".join([name, *choices.split()]) for name, choices in found.items())
