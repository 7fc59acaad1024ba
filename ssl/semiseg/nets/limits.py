"""What settings of several networks share, without torch."""

from semiseg.config import require

ENCODER = ("conv1", "conv2x", "conv3x", "conv4x", "conv5x")
"""The blocks that torchvision's ResNet becomes (`semiseg.nets.resnet`)."""


def require_layers(*, width: int, dropout: float, depth: int = 1) -> None:
    """Raise SettingError for channels, a share of dropped ones or levels that no network can have."""
    require(width >= 1, "net.width", width, "a whole number >= 1")
    require(1 <= depth <= 6, "net.depth", depth, "a whole number in 1..6")
    require(0 <= dropout < 1, "net.dropout", dropout, "a share in [0, 1)")
