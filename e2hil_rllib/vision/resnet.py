"""The residual network that a frozen trunk computes with."""

from __future__ import annotations

from torch import Tensor, nn

#: Channels of the features.
FEATURE_CHANNELS = 512
#: Height and width of a frame over those of its features.
REDUCTION = 32

_STEM_CHANNELS = (24, 32, 64)
_STAGE_CHANNELS = (64, 128, 256, FEATURE_CHANNELS)


class ResNet10T(nn.Module):
    """The ten-layer residual network whose public weights timm names ``resnet10t``.

    A residual network (He et al., 2015) of one basic block in each of four stages, with the deep
    stem and the average-pooled shortcuts of He et al., 2018 ("Bag of Tricks"). Parameters bear
    the names of the public file, so that its tensors load as they are; the classifier that the
    file also holds is left out.
    """

    def __init__(self) -> None:
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
        self.layer1 = nn.Sequential(BasicBlock(third, _STAGE_CHANNELS[0], stride=1))
        self.layer2 = nn.Sequential(BasicBlock(*_STAGE_CHANNELS[0:2], stride=2))
        self.layer3 = nn.Sequential(BasicBlock(*_STAGE_CHANNELS[1:3], stride=2))
        self.layer4 = nn.Sequential(BasicBlock(*_STAGE_CHANNELS[2:4], stride=2))

    def forward(self, frames: Tensor) -> Tensor:
        """Features before any pooling.

        Args:
            frames: Float32 of shape (B, 3, H, W), normalised as the weights expect it.

        Returns:
            Non-negative features, shape (B, 512, H/32, W/32), rounded up.
        """
        x = self.maxpool(self.relu(self.bn1(self.conv1(frames))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


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
