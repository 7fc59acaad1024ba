"""Classes of a folder of masks: read from classes.txt, given as names, or found in the masks."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from semiseg.config import SettingError
from semiseg.data.arrays import is_grey
from semiseg.data.masks import LARGEST, Value, all_values, codes_in, first_values, palette_of, show, unpacked
from semiseg.data.source import IGNORE, Labels, read_lines

MOST = 254  # classes: ids 0..253 and 255 for ignore
SHOWN = 12  # lines of classes.txt in a message
FORMS = "a line 'name', 'value name' or 'r g b name', the same on every line"


@dataclass(frozen=True)
class Declared:
    """Names of ids 0..C-1 and, for every mask value, its id or 255."""

    names: tuple[str, ...]
    ids: tuple[tuple[Value, int], ...]


def read_classes(file: Path, names: tuple[str, ...]) -> Declared | None:
    """What classes.txt declares, under other names where `names` are given; None when there are neither.

    Names alone stand for the values 0, 1, ... in their order. A class called `ignore` has no id: its pixels become 255.
    """
    if not file.is_file():
        if len(names) == 1:
            raise SettingError(f"data.classes: got {names!r}; allowed: two names or more (the background is a class)")
        return Declared(names, tuple((i, i) for i in range(len(names)))) if names else None
    values: dict[Value, str] = {}
    widths: set[int] = set()
    for number, line in read_lines(file):
        value, width, name = parsed(line.split(), len(values))
        widths.add(width)
        largest = max(value) if isinstance(value, tuple) else value
        bad_form = len(widths) > 1 or largest > (255 if width == 3 else LARGEST)
        if bad_form or value in values or name in values.values() and name != "ignore":
            raise SettingError(f"{file}, line {number}: got {line!r}; allowed: {FORMS}, names and values distinct")
        values[value] = name
    known = tuple(name for name in values.values() if name != "ignore")
    if not 2 <= len(known) <= MOST:
        raise SettingError(f"{file}: got {len(known)} classes; allowed: 2..{MOST} (the background is one), {FORMS}")
    if names and len(names) != len(known):
        raise SettingError(f"data.classes: got {len(names)} names; allowed: {len(known)}, as {file} has {len(known)} classes")
    ids = {name: i for i, name in enumerate(known)} | {"ignore": IGNORE}
    return Declared(names or known, tuple((value, ids[name]) for value, name in values.items()))


def parsed(words: list[str], position: int) -> tuple[Value, int, str]:
    """Mask value, count of numbers before the name (0, 1 or 3) and name of one line."""
    numbers = [int(word) for word in words[:3] if word.isdecimal()]
    if len(words) > 3 and len(numbers) == 3:
        return (numbers[0], numbers[1], numbers[2]), 3, " ".join(words[3:])
    if len(words) > 1 and words[0].isdecimal():
        return int(words[0]), 1, " ".join(words[1:])
    return position, 0, " ".join(words)


def class_ids(masks: Sequence[Path], declared: Declared | None) -> tuple[dict[Value, int], Labels]:
    """Id of every mask value, 255 added to indexes as ignore, and the names and colours of the classes."""
    if declared:
        ids, names = dict(declared.ids), declared.names
    else:
        ids = found(masks)
        names = tuple(f"class {i}" for i in range(len(ids)))
    values = first_values(ids)
    of_file = palette_of(masks[0]) or []
    spare = distinct(len(names))
    colours = []
    for i in range(len(names)):
        value = values[i]
        colours.append(value if isinstance(value, tuple) else of_file[value] if value < len(of_file) else spare[i])
    if not isinstance(next(iter(ids)), tuple):
        ids.setdefault(IGNORE, IGNORE)
    return ids, (names, tuple(colours))


def found(masks: Sequence[Path]) -> dict[Value, int]:
    """Ids of the values met in masks that nobody declared: 0..K-1 and 255 (ignore), or 0 and 255, which are two classes.

    Any other values are refused with the lines of classes.txt that would declare them: they may be classes, but they may also be
    what resizing, JPEG or a count of instances has made.
    """
    indexes: set[int] = set()
    colours: set[int] = set()
    of_indexes: Path | None = None  # a file that can hold no colours
    coloured: Path | None = None
    for file in masks:
        raw = all_values(file)
        codes = codes_in(raw)
        if raw.ndim == 2:
            indexes, of_indexes = indexes | codes, file
        else:
            colours |= codes
            coloured = coloured if is_grey(raw) else file
        if coloured and of_indexes:
            kind, other = ("a colour-coded mask", "index masks") if file == coloured else ("an index mask", "colour-coded masks")
            raise SettingError(f"{file}: got {kind} after {other}; allowed: one kind of mask in a folder, or classes.txt")
        if max(len(indexes - {IGNORE}), len(colours)) > MOST:
            raise SettingError(
                f"{file}: got more than {MOST} mask values up to here, so the masks look like photographs; "
                "allowed: one value or colour for each class, or list them in classes.txt"
            )
    values = [unpacked(code, colour=True) for code in sorted(colours)]
    if not coloured:  # saved as RGB, but grey in every pixel of every mask: an index
        values = sorted(indexes | {code & 255 for code in colours})
    classes = [value for value in values if value != IGNORE]
    if values == [0, IGNORE]:
        return {0: 0, IGNORE: 1}
    if len(classes) < 2:
        raise SettingError(
            f"{masks[0].parent}: got only {' '.join(map(show, values)) or 'nothing'} in all masks; "
            f"allowed: two classes or more besides {IGNORE} (ignore)"
        )
    if classes != list(range(len(classes))):
        raise SettingError(
            f"{masks[0].parent}: got mask values other than 0..K-1 and {IGNORE} (ignore), or 0 and {IGNORE}; "
            f"allowed: declared ones, such as classes.txt: {'; '.join(declaring(values))}"
        )
    return {value: i for i, value in enumerate(classes)}


def declaring(values: Sequence[Value]) -> list[str]:
    """Lines of classes.txt that would make each value a class, the first ones of many."""
    ignored = {IGNORE, (IGNORE,) * 3} if len(values) > 2 else set()
    lines = [
        f"{show(value)} {'ignore' if value in ignored else f'class {i}' if i else 'background'}" for i, value in enumerate(values)
    ]
    return lines if len(lines) <= SHOWN else [*lines[:SHOWN], f"... ({len(lines)} values)"]


def distinct(count: int) -> list[tuple[int, int, int]]:
    """Colours told apart by eye, PASCAL VOC's: three bits of the number at a time set the next lower bit of red, green, blue."""
    return [(level(number), level(number >> 1), level(number >> 2)) for number in range(count)]


def level(number: int) -> int:
    return sum((number >> 3 * place & 1) << 7 - place for place in range(3))
