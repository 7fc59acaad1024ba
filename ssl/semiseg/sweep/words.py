"""Words of a command line as settings, refused in one line where tyro would draw a box."""

import contextlib
import io
import re
import sys
from collections.abc import Sequence
from typing import Any, TypeVar

import tyro

from semiseg.config import SettingError

T = TypeVar("T")
KINDS = {"INT": "a whole number", "FLOAT": "a number", "STR": "a text", "PATH": "a path", "BOOL": "True or False"}
"""What tyro calls the kinds of values -> what is allowed."""
SEE = "what --help shows"


def read_words(kind: Any, default: T, words: Sequence[str], description: str) -> T:
    """The default with what the words change. SettingError, one line, for words that say nothing; --help prints and ends."""
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            return tyro.cli(kind, default=default, args=words, description=description, config=(tyro.conf.AvoidSubcommands,))
    except SystemExit as ended:
        if ended.code in (None, 0):
            raise
        raise SettingError(refusal(box.getvalue(), words)) from None
    finally:
        if box.getvalue() and sys.exc_info()[0] is None:
            print(box.getvalue(), end="", file=sys.stderr)  # a warning


def refusal(box: str, words: Sequence[str]) -> str:
    """`field: got VALUE; allowed: ...` out of tyro's box about these words.

    >>> refusal("- Error -\\n| invalid choice 'a' for argument '--x.y'. Expected one of ('b', 'c'). |", ["--x.y", "a"])
    "x.y: got 'a'; allowed: b, c"
    """
    _, *below = box.strip().splitlines()  # its first line is a title
    lines = [line.strip().strip("│|").strip() for line in below if not line.startswith("╰")]
    # a terminal gets lines, a log dashes, below the title as well
    said, *rest = [" ".join(part.split()) for part in re.split(r"^[─-]{8,}$", "\n".join(lines), flags=re.MULTILINE) if part.strip()]
    more = " ".join(rest)
    flag = re.search(r"argument '(--[^']+)'|parsing (--\S+?):", said)
    if flag is None:
        known = re.findall(r"(--[\w.-]+)", more.partition("Perhaps you meant:")[2].partition("For full helptext")[0])
        got = said.partition(": ")[2].replace(", ", " ") or said
        return f"arguments: got {got!r}; allowed: {', or '.join([*dict.fromkeys(known), SEE])}"
    name = flag[1] or flag[2]
    choices = re.search(r"Expected one of \((.*?),?\)", said)
    if choices is not None:
        allowed = choices[1].replace("'", "")
    else:
        shape = re.search(rf"{re.escape(name)} (\S+(?: [A-Z{{}}|\[\]. ]+\b[}}\]]*)?)", more.partition("Argument helptext:")[2])
        allowed = spoken(shape[1]) if shape else SEE
    return f"{name.removeprefix('--').replace('-', '_')}: got {value_behind(name, words)!r}; allowed: {allowed}"


def spoken(shape: str) -> str:
    """What tyro writes behind a flag, such as `{None}|INT`, in words."""
    if shape.startswith("["):  # [INT [INT ...]]
        return f"any number of: {spoken(shape[1:].partition(' ')[0])}"
    found = re.sub("|".join(KINDS), lambda match: KINDS[match[0]], shape.replace("{", "").replace("}", ""))
    return re.sub(r"(?<=number) (?=a )", " and ", found).replace("|", ", or ").strip()


def value_behind(flag: str, words: Sequence[str]) -> str:
    """What the words say behind the last such flag."""
    found = ""
    for place, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name.replace("_", "-") == flag.replace("_", "-"):
            ends = (i for i, other in enumerate(words[place + 1 :], place + 1) if other.startswith("--"))
            found = value if equals else " ".join(words[place + 1 : next(ends, len(words))])
    return found
