"""The profile of a step: which kind an operation is of, and whose time is whose."""

from __future__ import annotations

import pytest
from benchmarks.profile import KINDS, Span, kind_of, time_by_kind

NAMES = {
    "while/body/_1/gradient_tape/while/vgg16_hed_1/block3_conv2_1/convolution/Conv2DBackpropInput:"
    "_MklNativeConv2DBackpropInput": "input gradients",
    "while/body/_1/while/vgg16_hed_1/block4_conv2_1/Relu:_MklNativeFusedConv2D": "convolutions, with",
    "while/body/_1/while/optimizer_1/Sum_6:Sum": "the optimizer",
    "while/body/_1/while/optimizer/Cast:Cast": "the optimizer",
    "while/body/_1/while/MatMul_3:_MklBatchMatMulV2": "Gram",
    "while/body/_1/while/matrix_transpose_4/transpose:_MklTranspose": "Gram",
    "while/body/_1/while/vgg16_hed_1/block1_pool_1/MaxPool2d:_MklNativeMaxPool": "pooling",
    "MaxPoolGrad:_MklNativeMaxPoolGrad": "pooling",
    "while/body/_1/gradient_tape/while/vgg16_hed_1/block1_conv2_1/ReluGrad:ReluGrad": "gradient of ReLU",
    "while/body/_1/while/ArithmeticOptimizer/ReorderCastLikeAndValuePreserving_float_Cast_7:Cast": "conversions",
    "while/body/_1/while/AddN_3:AddN": "the rest",
}


@pytest.mark.parametrize("name", NAMES)
def test_an_operation_is_known_by_its_name_and_type(name: str) -> None:
    assert kind_of(name).startswith(NAMES[name])
    assert kind_of(name) in KINDS


def test_what_runs_at_the_same_time_shares_it() -> None:
    cast, add = "while/Cast:Cast", "while/AddN_3:AddN"
    spans = [
        Span(name=cast, begin_ms=10, end_ms=14),
        Span(name=add, begin_ms=12, end_ms=16),
        Span(name=cast, begin_ms=20, end_ms=21),
        Span(name=cast, begin_ms=20, end_ms=21),
    ]
    assert time_by_kind(spans) == pytest.approx({kind_of(cast): 2 + 1 + 1, kind_of(add): 1 + 2})
