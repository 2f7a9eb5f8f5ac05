"""ResNet-10-T: the network of a frozen trunk where no other is chosen."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

_STEM_CHANNELS = (24, 32, 64)
_STAGE_CHANNELS = (64, 128, 256, 512)
_STAGES_UP_TO = {8: 2, 16: 3, 32: 4}


class ResNet10T(nn.Module):
    """The ten-layer residual network whose public weights timm names ``resnet10t``, up to a stage.

    A residual network (He et al., 2015) of one basic block in each of four stages, with the deep
    stem and the average-pooled shortcuts of He et al., 2018 ("Bag of Tricks"). Parameters bear
    the names of the public file, so that its tensors load as they are; the classifier that the
    file also holds is left out.

    Args:
        stride: Where it is cut: height and width of a frame over those of its features.
    """

    #: Channels of the features by stride.
    CHANNELS: ClassVar[dict[int, int]] = {8: 128, 16: 256, 32: 512}

    def __init__(self, stride: int = 32) -> None:
        super().__init__()
        first, second, third = _STEM_CHANNELS
        self.conv1 = nn.Sequential(
            _convolution(3, first, 3, stride=2),
            nn.BatchNorm2d(first),
            nn.ReLU(inplace=True),
            _convolution(first, second, 3),
            nn.BatchNorm2d(second),
            nn.ReLU(inplace=True),
            _convolution(second, third, 3),
        )
        self.bn1 = nn.BatchNorm2d(third)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self._stages = _STAGES_UP_TO[stride]
        channels = third
        for number, channels_out in enumerate(_STAGE_CHANNELS[: self._stages], 1):
            block = BasicBlock(channels, channels_out, stride=1 if number == 1 else 2)
            setattr(self, f"layer{number}", nn.Sequential(block))
            channels = channels_out

    def forward(self, frames: Tensor) -> Tensor:
        """Features before any pooling.

        Args:
            frames: Float32 of shape (B, 3, H, W), normalised as the weights expect it.

        Returns:
            Non-negative features, shape (B, channels, H/stride, W/stride), rounded up.
        """
        x: Tensor = self.maxpool(self.relu(self.bn1(self.conv1(frames))))
        for number in range(1, self._stages + 1):
            x = getattr(self, f"layer{number}")(x)
        return x


class BasicBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _convolution(channels_in, channels_out, 3, stride)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = _convolution(channels_out, channels_out, 3)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1:
            self.downsample = nn.Sequential(
                # A border that the window overhangs is averaged over the pixels that are there.
                nn.AvgPool2d(2, stride, ceil_mode=True, count_include_pad=False),
                _convolution(channels_in, channels_out, 1),
                nn.BatchNorm2d(channels_out),
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels_in, H, W) to (B, channels_out, H/stride, W/stride)."""
        out = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(out)) + self.downsample(x))


def _convolution(channels_in: int, channels_out: int, size: int, stride: int = 1) -> nn.Conv2d:
    """Without a bias, as the normalisation that follows has one."""
    return nn.Conv2d(channels_in, channels_out, size, stride, padding=size // 2, bias=False)
