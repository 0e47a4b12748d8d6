"""Translate a float TensorFlow Lite graph of the MediaPipe face models into ONNX.

Only the operators of these graphs are supported; any other one is an error that names it. TensorFlow Lite stores images
as NHWC, ONNX as NCHW: inside the graph, every rank-4 value is NCHW and all others are unchanged, so that the rank alone
determines the layout. The input and the outputs keep TensorFlow's NHWC shapes.

Development only: needs the extra `convert`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tflite
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from onnx import TensorProto, helper, numpy_helper

from datagen.common.errors import UserError

OPSET = 17
_NHWC_TO_NCHW = (0, 3, 1, 2)
_NCHW_TO_NHWC = (0, 2, 3, 1)
_OPERATOR_NAMES = {code: name for name, code in vars(tflite.BuiltinOperator).items() if isinstance(code, int)}


def open_interpreter(path: Path) -> Interpreter:
    """The reference interpreter of a model: without delegates, all tensors stay readable."""
    options: dict[str, Any] = {
        "model_path": str(path),
        "num_threads": 1,
        "experimental_preserve_all_tensors": True,
    }
    try:
        plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        interpreter = Interpreter(**options, experimental_op_resolver_type=plain)
        interpreter.allocate_tensors()
    except RuntimeError:  # sparse models only run with the default delegate
        interpreter = Interpreter(**options)
        interpreter.allocate_tensors()
    return interpreter


def translate(path: Path) -> onnx.ModelProto:
    """The computation of a .tflite file as a checked ONNX model.

    Weights that half precision represents exactly are stored in it (with a Cast), which halves the file.
    """
    model = _Translation(path).model()
    onnx.checker.check_model(model, full_check=True)
    return model


class _Translation:
    """State of one translation: nodes and initialisers so far, and the ONNX name of each tflite tensor."""

    def __init__(self, path: Path) -> None:
        self._model = tflite.Model.GetRootAsModel(path.read_bytes(), 0)
        self._graph = self._model.Subgraphs(0)
        self._nodes: list[onnx.NodeProto] = []
        self._initialisers: list[onnx.TensorProto] = []
        self._names: dict[int, str] = {}
        self._constants = self._read_constants(path)

    def model(self) -> onnx.ModelProto:
        source = self._graph.Inputs(0)
        self._names[source] = self._emit("Transpose", ["input"], perm=_NHWC_TO_NCHW)
        for index in range(self._graph.OperatorsLength()):
            self._operator(self._graph.Operators(index))
        outputs = []
        for tensor in map(int, self._graph.OutputsAsNumpy()):
            name = self._graph.Tensors(tensor).Name().decode().replace(":", "_")
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, self._shape(tensor)))
            self._nodes.append(helper.make_node("Identity", [self._nhwc(tensor)], [name]))
        inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, self._shape(source))]
        graph = helper.make_graph(self._nodes, "graph", inputs, outputs, self._initialisers)
        opset = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opset, ir_version=8, producer_name="megactor-datagen")

    # --- reading the tflite graph

    def _read_constants(self, path: Path) -> dict[int, np.ndarray]:
        """Weights by tensor index, all floats as float32; the interpreter expands sparse and half-precision ones."""
        interpreter = open_interpreter(path)
        for detail in interpreter.get_input_details():
            interpreter.set_tensor(detail["index"], np.zeros(detail["shape"], np.float32))
        interpreter.invoke()
        constants: dict[int, np.ndarray] = {}
        stored = [
            index
            for index in range(self._graph.TensorsLength())
            if self._model.Buffers(self._graph.Tensors(index).Buffer()).DataLength()
        ]
        sparse = {index for index in stored if self._graph.Tensors(index).Sparsity() is not None}
        for index in stored:
            if index not in sparse:
                constants[index] = _single(interpreter.get_tensor(index))
        for number in range(self._graph.OperatorsLength()):
            operator = self._graph.Operators(number)
            if self._kind(operator) in ("DEQUANTIZE", "DENSIFY"):
                source, result = operator.Inputs(0), operator.Outputs(0)
                if source in constants and self._kind(operator) == "DEQUANTIZE":
                    constants[result] = constants[source]
                elif source in sparse:
                    constants[result] = _single(interpreter.get_tensor(result))
        return constants

    def _kind(self, operator: tflite.Operator) -> str:
        code = self._model.OperatorCodes(operator.OpcodeIndex())
        if code.CustomCode():
            return code.CustomCode().decode()
        return _OPERATOR_NAMES[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]

    def _shape(self, tensor: int) -> list[int]:
        return [int(size) for size in self._graph.Tensors(tensor).ShapeAsNumpy()]

    # --- writing the ONNX graph

    def _emit(self, kind: str, inputs: Sequence[str], **attributes: Any) -> str:
        name = f"{kind.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def _constant(self, values: np.ndarray) -> str:
        name = f"weight_{len(self._initialisers)}"
        values = np.ascontiguousarray(values)
        if values.dtype != np.float32:
            self._initialisers.append(numpy_helper.from_array(values, name))
            return name
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        exact = values.size > 1 and np.array_equal(half.astype(np.float32), values)
        self._initialisers.append(numpy_helper.from_array(half if exact else values, name))
        return self._emit("Cast", [name], to=TensorProto.FLOAT) if exact else name

    def _value(self, tensor: int) -> str:
        """ONNX name of a tensor; a constant gets a shape that broadcasts as NCHW."""
        if tensor in self._names:
            return self._names[tensor]
        values = self._constants[tensor]
        return self._constant(
            values.reshape((1,) * (4 - values.ndim) + values.shape).transpose(_NHWC_TO_NCHW)
        )

    def _nhwc(self, tensor: int) -> str:
        if len(self._shape(tensor)) != 4:
            return self._value(tensor)
        return self._emit("Transpose", [self._value(tensor)], perm=_NCHW_TO_NHWC)

    def _activated(self, name: str, activation: int) -> str:
        kinds = tflite.ActivationFunctionType
        if activation == kinds.NONE:
            return name
        if activation == kinds.RELU:
            return self._emit("Relu", [name])
        if activation == kinds.RELU6:
            limits = (self._constant(np.array(limit, np.float32)) for limit in (0, 6))
            return self._emit("Clip", [name, *limits])
        raise UserError(f"fused activation {activation} is not supported by the converter")

    def _operator(self, operator: tflite.Operator) -> None:
        kind = self._kind(operator)
        inputs = [int(index) for index in operator.InputsAsNumpy()]
        output = int(operator.Outputs(0))
        if output in self._constants:
            return
        rules: dict[str, Callable[[tflite.Operator, list[int], int], str]] = {
            "CONV_2D": self._convolution,
            "DEPTHWISE_CONV_2D": self._convolution,
            "Convolution2DTransposeBias": self._transposed_convolution,
            "MAX_POOL_2D": self._pool,
            "AVERAGE_POOL_2D": self._pool,
            "ADD": self._arithmetic,
            "MUL": self._arithmetic,
            "PAD": self._pad,
            "RESIZE_BILINEAR": self._resize,
            "DEPTH_TO_SPACE": self._depth_to_space,
            "CONCATENATION": self._concatenation,
            "RESHAPE": lambda _, ins, out: self._emit(
                "Reshape", [self._nhwc(ins[0]), self._constant(np.array(self._shape(out), np.int64))]
            ),
            "PRELU": self._prelu,
            "RELU": lambda _, ins, out: self._emit("Relu", [self._value(ins[0])]),
            "LOGISTIC": lambda _, ins, out: self._emit("Sigmoid", [self._value(ins[0])]),
            "HARD_SWISH": lambda _, ins, out: self._emit("HardSwish", [self._value(ins[0])]),
        }
        if kind not in rules:
            raise UserError(f"the operator {kind} is not supported by the converter")
        self._names[output] = rules[kind](operator, inputs, output)

    def _convolution(self, operator: tflite.Operator, inputs: list[int], output: int) -> str:
        depthwise = self._kind(operator) == "DEPTHWISE_CONV_2D"
        options = _options(operator, tflite.DepthwiseConv2DOptions if depthwise else tflite.Conv2DOptions)
        weights, bias = self._constants[inputs[1]], self._constants[inputs[2]]
        kernel, strides = weights.shape[1:3], (options.StrideH(), options.StrideW())
        dilations = (options.DilationHFactor(), options.DilationWFactor())
        name = self._emit(
            "Conv",
            [
                self._value(inputs[0]),
                self._constant(weights.transpose((3, 0, 1, 2) if depthwise else _NHWC_TO_NCHW)),
                self._constant(bias),
            ],
            kernel_shape=kernel,
            strides=strides,
            dilations=dilations,
            group=self._shape(inputs[0])[3] if depthwise else 1,
            pads=self._padding(options.Padding(), inputs[0], kernel, strides, dilations),
        )
        return self._activated(name, options.FusedActivationFunction())

    def _transposed_convolution(self, operator: tflite.Operator, inputs: list[int], output: int) -> str:
        """MediaPipe's custom operator: its options are opaque, the shapes give the stride; the padding is SAME."""
        weights, bias = self._constants[inputs[1]], self._constants[inputs[2]]
        stride = self._shape(output)[1] // self._shape(inputs[0])[1]
        excess = [size - stride for size in weights.shape[1:3]]
        before = [size // 2 for size in excess]
        after = [size - first for size, first in zip(excess, before, strict=True)]
        return self._emit(
            "ConvTranspose",
            [self._value(inputs[0]), self._constant(weights.transpose(3, 0, 1, 2)), self._constant(bias)],
            kernel_shape=weights.shape[1:3],
            strides=(stride, stride),
            pads=before + after,
        )

    def _pool(self, operator: tflite.Operator, inputs: list[int], output: int) -> str:
        options = _options(operator, tflite.Pool2DOptions)
        kernel, strides = (
            (options.FilterHeight(), options.FilterWidth()),
            (options.StrideH(), options.StrideW()),
        )
        name = self._emit(
            "MaxPool" if self._kind(operator) == "MAX_POOL_2D" else "AveragePool",
            [self._value(inputs[0])],
            kernel_shape=kernel,
            strides=strides,
            pads=self._padding(options.Padding(), inputs[0], kernel, strides, (1, 1)),
        )
        return self._activated(name, options.FusedActivationFunction())

    def _padding(
        self,
        padding: int,
        tensor: int,
        kernel: Sequence[int],
        strides: Sequence[int],
        dilations: Sequence[int],
    ) -> list[int]:
        """Explicit ONNX pads (top, left, bottom, right); SAME puts an odd pixel at the end, as TensorFlow does."""
        if padding == tflite.Padding.VALID:
            return [0, 0, 0, 0]
        totals = [
            max(0, (-(-size // stride) - 1) * stride + (width - 1) * dilation + 1 - size)
            for size, width, stride, dilation in zip(
                self._shape(tensor)[1:3], kernel, strides, dilations, strict=True
            )
        ]
        return [total // 2 for total in totals] + [total - total // 2 for total in totals]

    def _prelu(self, operator: tflite.Operator, inputs: list[int], output: int) -> str:
        """Slope x + (1 - slope) relu(x) as two depthwise convolutions: onnxruntime's own PRelu is 3 times slower."""
        slope = self._constants[inputs[1]].reshape(-1, 1, 1, 1)
        value = self._value(inputs[0])
        attributes = {"kernel_shape": (1, 1), "group": len(slope)}
        everywhere = self._emit("Conv", [value, self._constant(slope)], **attributes)
        positive = self._emit("Conv", [self._emit("Relu", [value]), self._constant(1 - slope)], **attributes)
        return self._emit("Add", [everywhere, positive])

    def _arithmetic(self, operator: tflite.Operator, inputs: list[int], output: int) -> str:
        add = self._kind(operator) == "ADD"
        options = _options(operator, tflite.AddOptions if add else tflite.MulOptions)
        name = self._emit("Add" if add else "Mul", [self._value(index) for index in inputs])
        return self._activated(name, options.FusedActivationFunction())

    def _pad(self, operator: tflite.Operator, inputs: list[int], output: int) -> str:
        pads = self._constants[inputs[1]].astype(np.int64)[list(_NHWC_TO_NCHW)]
        return self._emit("Pad", [self._value(inputs[0]), self._constant(pads.T.reshape(-1))])

    def _resize(self, operator: tflite.Operator, inputs: list[int], output: int) -> str:
        options = _options(operator, tflite.ResizeBilinearOptions)
        grid = "half_pixel" if options.HalfPixelCenters() else "asymmetric"
        grid = "align_corners" if options.AlignCorners() else grid
        batch, height, width, channels = self._shape(output)
        size = self._constant(np.array([batch, channels, height, width], np.int64))
        return self._emit(
            "Resize",
            [self._value(inputs[0]), "", "", size],
            mode="linear",
            coordinate_transformation_mode=grid,
        )

    def _depth_to_space(self, operator: tflite.Operator, inputs: list[int], output: int) -> str:
        block = _options(operator, tflite.DepthToSpaceOptions).BlockSize()
        return self._emit("DepthToSpace", [self._value(inputs[0])], blocksize=block, mode="DCR")

    def _concatenation(self, operator: tflite.Operator, inputs: list[int], output: int) -> str:
        axis = _options(operator, tflite.ConcatenationOptions).Axis()
        if len(self._shape(output)) == 4:
            axis = _NHWC_TO_NCHW.index(axis)
        return self._emit("Concat", [self._value(index) for index in inputs], axis=axis)


def _single(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32) if values.dtype == np.float16 else values


def _options(operator: tflite.Operator, kind: Any) -> Any:
    options, table = kind(), operator.BuiltinOptions()
    options.Init(table.Bytes, table.Pos)
    return options
