"""What a data set declares about itself: one value in its module, one line in DATASETS."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from semiseg.config import Data
from semiseg.data.source import Source


class Published(NamedTuple):
    """Numbers of images per split as our loader makes them of the published files: enough to plan a study without them.

    selection is 0 where it is carved out of training, unlabelled are training images without a mask; size is height and width as
    published, of images that vary a common one, default what --data.size None means.
    """

    train: int
    test: int
    classes: int
    size: tuple[int, int]
    default: tuple[int, int]
    labelled: int | Literal["all"]
    selection: int = 0
    unlabelled: int = 0
    image_level: bool = False
    channels: int = 3


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A data set that --data.name can mean."""

    name: str
    source: Callable[[Data], Source]
    """Finds the files that the settings mean; decodes nothing. SettingError when they are not there."""
    variants: tuple[str, ...] = ()
    """What Data.variant may hold. Of the names that begin with split_ one at most: each is a whole way to split."""
    reads: tuple[str, ...] = ()
    """Fields of Data that only some data sets have a use for, such as groups."""
    published: Published | None = None
    """Known numbers of a data set that needs a folder; None: it needs none, or any folder will do."""
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Fields of `published` that a variant changes."""
    fetch: Callable[[Path], None] | None = None
    """Puts what is missing under --data.root there, with torchvision (`semiseg.data.download`)."""
    site: str = ""
    """Where a person gets it, where it cannot be fetched."""
