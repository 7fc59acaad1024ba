"""What the networks of a study are shown, as `study.json` says it: enough to show them other files."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class InputRecord:
    """How files become what a network sees, and class ids what mask files hold."""

    dtype: str
    """Of stored pixels: uint8, uint16, float16 or float32."""
    channels: int
    size: tuple[int, int] | None
    """Height and width to which images are resized; None: each has its own."""
    normalise: str
    """"" (the type's whole range), none, or such as "minmax over dataset" and "window -160.0..240.0"."""
    low: tuple[float, ...] = ()
    """Stored value of each channel that is 0 to a network, where all images have the same; none: of the type, or of each image."""
    high: tuple[float, ...] = ()
    """Likewise the value that is 1."""
    values: tuple[tuple[int, ...], ...]
    """What mask files hold for each class: an index, or red, green and blue."""
    image_level: bool = False
    """Whether a class belongs to a whole image."""
