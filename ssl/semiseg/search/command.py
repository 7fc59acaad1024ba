"""The command line that every search script shares."""

from collections.abc import Sequence

from semiseg.search.arguments import parse_search
from semiseg.search.declaration import Search
from semiseg.sweep.command import guarded


def main(search: Search, argv: Sequence[str] | None = None) -> int:
    """Run a search with the command line's settings; returns the exit status, as `semiseg.sweep.command.main` does."""

    def run(words: list[str]) -> int:
        arguments, preset, space = parse_search(search, words)
        from semiseg.search.study import SearchStudy  # `--help` and refused arguments do not wait for it

        return SearchStudy(search, preset, arguments, space, words).run()

    return guarded(run, argv)
