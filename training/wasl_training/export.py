"""An extractor's network as ONNX graphs for `wasl.onnx_engine`: words with their logits, and pairs."""

from __future__ import annotations

import copy
import json
import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import AttentionInterface

from wasl.encoding import LETTERS, TextEncoder
from wasl.errors import ArgumentError
from wasl.extractor import WEIGHTS, Extractor
from wasl.network import Network
from wasl.pairs import PAIR_FIELDS, PairIndex, index_pairs
from wasl.pretrained import GRAPHS
from wasl_training.encoders import quiet_transformers

OPSET = 20
PRECISIONS = ("int8", "fp32")
QUANTISED = ["MatMul", "Gemm"]
WINDOWS = 8  # of chance pieces, to see how large inputs of layers grow
LARGEST = 4.0  # times the median input: what is larger is made smaller before it is quantised, by 64 at most
UNMASKED = "wasl_unmasked"  # what transformers knows the attention of graphs by
INT8 = "_quantized"  # what the quantiser appends to a weight's name; its scales end in "_scale"


class _Words(nn.Module):
    """One window: pieces, shape (1, pieces), and the share of each piece in each word, shape (words, pieces)."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, pieces: Tensor, mean: Tensor, letters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        states = self.network.encoder(input_ids=pieces, attention_mask=None).last_hidden_state
        out = self.network.read_words(mean @ states[0], letters)
        return out.vectors, out.tags, out.proclitics


class _Pairs(nn.Module):
    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, vectors: Tensor, *index: Tensor) -> Tensor:
        return self.network.score_pairs(vectors, PairIndex(*index))


class _Smoothed(nn.Module):
    """A linear layer some of whose inputs are made smaller, and their weights larger by as much.

    A few inputs reach twenty times what the others do, in a few tokens. Quantised with one scale, the others would have
    only a few steps left (Xiao et al. 2023, arXiv 2211.10438; docs/experiments.md).
    """

    def __init__(self, linear: nn.Linear, sizes: Tensor) -> None:
        super().__init__()
        self.linear = linear
        linear.weight.data = linear.weight.data * sizes
        self.register_buffer("smaller", 1 / sizes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x * self.smaller)  # type: ignore[operator]


class _ByteEmbedding(nn.Module):
    """An embedding of 8 bits, with one scale a row."""

    def __init__(self, embedding: nn.Embedding) -> None:
        super().__init__()
        rows, scale = _byte_rows(embedding.weight.detach().float())
        self.register_buffer("rows", rows)
        self.register_buffer("scale", scale)

    def forward(self, ids: Tensor) -> Tensor:
        return self.rows[ids].float() * self.scale[ids]  # type: ignore[index]


def _byte_rows(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of 8 bits, and their scales, shape (rows, 1)."""
    scale = weight.abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / 127
    return torch.round(weight / scale).to(torch.int8), scale


def prepare(encoder: nn.Module, windows: Sequence[Tensor]) -> dict[str, Tensor]:
    """Make an encoder ready to be quantised: its embeddings are, here; layers that widen or narrow are smoothed.

    Args:
        encoder: is changed.
        windows: piece ids to see the size of inputs on, each of shape (1, pieces).

    Returns:
        by name of a weight, by what each of its inputs was made smaller, shape (inputs,).
    """
    layers = {n: m for n, m in encoder.named_modules() if isinstance(m, nn.Linear) and m.in_features != m.out_features}
    largest = {name: torch.zeros(layer.in_features) for name, layer in layers.items()}

    def watch(name: str) -> Callable[..., None]:
        def look(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            largest[name] = torch.maximum(largest[name], inputs[0].flatten(0, -2).abs().amax(dim=0))

        return look

    embeddings = [module for module in encoder.modules() if isinstance(module, nn.Embedding)]
    looked_up: set[nn.Module] = set()  # others are read as they are, such as relative positions
    hooks = [layer.register_forward_pre_hook(watch(name)) for name, layer in layers.items()]
    hooks += [one.register_forward_pre_hook(lambda module, _: looked_up.add(module)) for one in embeddings]
    with torch.no_grad():
        for window in windows:
            encoder(input_ids=window, attention_mask=None)
    for hook in hooks:
        hook.remove()
    sizes = {name: smoothing(of) for name, of in largest.items()}
    for parent in list(encoder.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.Embedding) and child in looked_up:
                setattr(parent, name, _ByteEmbedding(child))
    for name, layer in layers.items():
        encoder.set_submodule(name, _Smoothed(layer, sizes[name]))
    return {f"{name}.weight": size for name, size in sizes.items()}


def smoothing(largest: Tensor) -> Tensor:
    """By what each input is made smaller, from 1 to 64: down to LARGEST times the median of those that are ever used.

    Args:
        largest: shape (inputs,): the largest absolute value of each.
    """
    used = largest[largest > 0]
    if not len(used):
        return torch.ones_like(largest)
    return (largest / (LARGEST * used.median())).clamp(1, 64)


def chance_windows(text_encoder: TextEncoder, rows: int) -> list[Tensor]:
    """Windows of pieces by chance, each of shape (1, pieces), of those that the encoder has `rows` for.

    `wasl export` has no texts. Inputs of the embedded encoder's layers grow as large on these (docs/experiments.md).
    """
    tokenizer, ends = text_encoder.tokenizer, (text_encoder.prefix, text_encoder.suffix)
    pieces = np.arange(min(tokenizer.get_vocab_size(), rows))
    ids = np.setdiff1d(pieces, list(tokenizer.get_added_tokens_decoder()))
    random_ = np.random.default_rng(0)
    inner = [random_.choice(ids, text_encoder.max_pieces - sum(map(len, ends))) for _ in range(WINDOWS)]
    return [torch.from_numpy(np.concatenate([ends[0], one, ends[1]]))[None] for one in inner]


def _without_mask(module: nn.Module, *states: Tensor, **settings: object) -> tuple[Tensor, Tensor]:
    """An encoder's own plain attention, less the mask, which hides nothing in a window by itself."""
    query, key, value, _ = states
    own = sys.modules[type(module).__module__].eager_attention_forward
    return own(module, query, key, value, None, **settings)


AttentionInterface.register(UNMASKED, _without_mask)


def use_unmasked_attention(encoder: nn.Module, window: Tensor) -> None:
    """Have an encoder compute attention with plain products, which can be quantised, and unmasked where that is the
    same: not in encoders whose layers look at a part of the window alone.
    """
    encoder.set_attn_implementation("eager")  # type: ignore[operator]
    with torch.no_grad(), quiet_transformers():  # which warns of encoders whose attention cannot be changed
        wanted = encoder(input_ids=window, attention_mask=None).last_hidden_state
        encoder.set_attn_implementation(UNMASKED)  # type: ignore[operator]
        found = encoder(input_ids=window, attention_mask=None).last_hidden_state
    if not torch.allclose(found, wanted, atol=1e-4):
        encoder.set_attn_implementation("eager")  # type: ignore[operator]


def export(extractor: Extractor, folder: str | Path, precision: str = "int8", *, compact: bool = False) -> list[Path]:
    """Write the graphs that let a model folder run without torch.

    Args:
        extractor: with a torch network; see `Extractor.from_pretrained(engine="torch")`.
        folder: its model folder, where the graphs go.
        precision: `int8`: weights of 8 bits, one scale a column, and activations scaled as they come (dynamic
            quantisation); or `fp32`.
        compact: keep the weights once: the folder's weights file is written anew with the same 8 bits, and the graph
            reads them there. Training can start from it all the same.

    Returns:
        the files written.

    Raises:
        ArgumentError: there is no such precision, or `compact` without int8.
    """
    if precision not in PRECISIONS:
        raise ArgumentError(f"precision={precision!r}: choose one of {', '.join(PRECISIONS)}")
    if compact and precision != "int8":
        raise ArgumentError("compact: only int8 graphs share their weights with training")
    network = copy.deepcopy(extractor.network).cpu().eval()
    folder = Path(folder)
    windows = chance_windows(extractor.text_encoder, int(network.encoder.config.vocab_size))  # type: ignore[union-attr, arg-type]
    use_unmasked_attention(network.encoder, windows[0])
    sizes = prepare(network.encoder, windows) if precision == "int8" else {}
    with TemporaryDirectory() as scratch:
        words, pairs = (Path(scratch) / graph for graph in GRAPHS)
        _export_words(network, words)
        _export_pairs(network, pairs)
        if precision == "int8":
            small = words.with_name("int8.onnx")
            with _quiet():
                quantize_dynamic(
                    words, small, per_channel=True, weight_type=QuantType.QInt8, op_types_to_quantize=QUANTISED,
                    nodes_to_exclude=_heads(words), extra_options={"MatMulConstBOnly": True},
                )  # fmt: skip
            words = small
        protos = [onnx.load(words), onnx.load(pairs)]
        if compact:
            smoothed = {f"encoder.{name}": size for name, size in sizes.items()}
            _share(protos[0], extractor.network.state_dict(), smoothed, folder / f"{WEIGHTS}.part")
        for name, proto in zip(GRAPHS, protos, strict=True):
            (folder / f"{name}.part").write_bytes(proto.SerializeToString(deterministic=True))
    names = [*[WEIGHTS] * compact, *GRAPHS]
    for graph in GRAPHS if compact else ():
        (folder / graph).unlink(missing_ok=True)  # it would read the new weights at the old places
    for name in names:
        (folder / f"{name}.part").replace(folder / name)
    return [folder / name for name in names]


def _heads(file: Path) -> list[str]:
    """Names of the products that outputs come of, with no other product between: they stay in fp32.

    They take no time, and a processor without VNNI adds 8-bit products in 16 bits, which large ones overflow
    (docs/experiments.md).
    """
    graph = onnx.load(file).graph
    ahead, names = {one.name for one in graph.output}, []
    for node in reversed(graph.node):  # against the order of computation
        if not ahead & set(node.output):
            continue
        if node.op_type in QUANTISED:
            names += [node.name, f"{node.name}_MatMul"]  # the quantiser's name for the product of a Gemm
        else:
            ahead |= set(node.input)
    return names


def _share(graph: onnx.ModelProto, state: dict[str, Tensor], smoothed: dict[str, Tensor], file: Path) -> None:
    """Write a weights file in which a quantised graph's weights stand as they are, and have the graph read them there.

    Of a product's weights the graph holds the transpose, under a name of the exporter's: they are recognised by what is
    in them. See `wasl.torch_engine.read_weights` for how they are read back.
    """
    initializers = {one.name: one for one in graph.graph.initializer}
    of_shape: dict[tuple[int, ...], list[str]] = {}
    for name, one in initializers.items():
        if one.data_type == onnx.TensorProto.INT8 and len(one.dims) == 2:
            of_shape.setdefault(tuple(one.dims), []).append(name)
    tensors: dict[str, Tensor] = {}
    places: dict[str, str] = {}  # of a graph's weight, its name in the file
    for key, value in state.items():
        weight = value.detach().cpu().float()
        for name in of_shape.get(tuple(weight.shape), ()):
            rows, scale = _byte_rows(weight)
            if not name.endswith(INT8) and torch.equal(_tensor(initializers[name]), rows):
                tensors[key], tensors[f"{key}.scale"], places[name] = rows, scale, key
                break
        sizes = smoothed.get(key)
        for name in of_shape.get(tuple(weight.shape[::-1]), ()) if key not in tensors else ():
            if not name.endswith(INT8) or name in places:
                continue
            columns, scale = (_tensor(initializers[n]) for n in (name, name.removesuffix(INT8) + "_scale"))
            wanted = weight if sizes is None else weight * sizes
            if _equal(columns[0] * scale, wanted[:, 0], scale) and _equal(columns * scale, wanted.T, scale):
                tensors[key], tensors[f"{key}.scale"], places[name] = columns, scale, key
                if sizes is not None:
                    tensors[f"{key}.sizes"] = sizes
                break
        tensors.setdefault(key, weight.to(torch.float16).contiguous())
    save_file(tensors, file, metadata={"format": "pt"})
    content = file.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    for name, key in places.items():
        low, high = header[key]["data_offsets"]
        one = initializers[name]
        one.ClearField("raw_data")
        one.data_location = onnx.TensorProto.EXTERNAL
        for entry, text in (("location", WEIGHTS), ("offset", start + low), ("length", high - low)):
            one.external_data.add(key=entry, value=str(text))


def _tensor(initializer: onnx.TensorProto) -> Tensor:
    return torch.from_numpy(onnx.numpy_helper.to_array(initializer).copy())


def _equal(found: Tensor, wanted: Tensor, step: Tensor) -> bool:
    return bool(((found - wanted).abs() <= 0.51 * step + 1e-7).all())


def _export_words(network: Network, file: Path) -> None:
    words, pieces = torch.export.Dim("words"), torch.export.Dim("pieces")
    vocabulary = int(network.encoder.config.vocab_size)  # type: ignore[union-attr, arg-type]
    example = (torch.arange(24).unsqueeze(0) % vocabulary, torch.rand(17, 24), torch.zeros(17, LETTERS).long())
    shapes = {"pieces": {1: pieces}, "mean": {0: words, 1: pieces}, "letters": {0: words}}
    _export(_Words(network), example, file, ["vectors", "tags", "proclitics"], shapes, list(shapes))


def _export_pairs(network: Network, file: Path) -> None:
    spans = np.array([[0, 2], [3, 6], [8, 9], [9, 13]])
    index = index_pairs(spans, np.zeros(4, np.int64), np.array([[0, 1], [1, 2], [2, 1], [0, 3], [2, 3]]))
    dims = {name: torch.export.Dim(name) for name in ("words", "entities", "longest", "gaps", "pairs")}
    shapes = (
        {0: dims["words"]}, {0: dims["entities"], 1: dims["longest"]}, {0: dims["entities"], 1: dims["longest"]},
        {0: dims["entities"]}, {0: dims["gaps"]}, {0: dims["gaps"]}, {0: dims["pairs"]},
    )  # fmt: skip
    example = (torch.rand(20, network.tags.in_features), *(torch.from_numpy(getattr(index, f)) for f in PAIR_FIELDS))
    _export(
        _Pairs(network),
        example,
        file,
        ["logits"],
        {"vectors": shapes[0], "index": shapes[1:]},
        ["vectors", *PAIR_FIELDS],
    )


def _export(
    module: nn.Module,
    example: tuple[Tensor, ...],
    file: Path,
    outputs: list[str],
    shapes: Mapping[str, object],
    inputs: list[str],
) -> None:
    with _quiet():
        torch.onnx.export(
            module.eval(), example, file, input_names=inputs, output_names=outputs, opset_version=OPSET, dynamo=True,
            dynamic_shapes=dict(shapes), external_data=False, verbose=False,
        )  # fmt: skip
    graph = onnx.load(file)
    # Shapes that the exporter infers hinder the quantiser, and its notes on where each node comes from hold paths.
    del graph.graph.value_info[:]
    for node in graph.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    onnx.save(graph, file)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks, which nobody can act on."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
