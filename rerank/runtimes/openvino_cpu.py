"""OpenVINO on the CPU: converts the torch module once and keeps the result on disk."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy
import psutil
from filelock import FileLock

from rerank import cgroups
from rerank.catalog.digests import crc32, known_sha256
from rerank.catalog.weight_files import parameters
from rerank.devices import free_memory, has_native_bf16, import_openvino
from rerank.garbage import paused
from rerank.runtimes.base import Inputs, MakeNetwork
from rerank.runtimes.openvino_numbers import copier, precision_hint, rounded_throughout, stretch

logger = logging.getLogger(__name__)

openvino = import_openvino()

_MODEL = "model.xml"
_SUMS = "sums.json"
_UNFINISHED = ".unfinished"
# raised whenever what is converted changes, so that no stale copy is taken for it
_LAYOUT = 6
# of the largest number that a network puts out: how far a conversion may be off, in fp32
_TOLERANCE = 1e-4
# what is compiled for one shape of an operation; with OpenVINO's 5,000 memory grew by hundreds of MB as shapes came
_KERNELS = 1000
# multiple of the weights in fp32: the torch module, shared with the converted network, and compiling
_MEMORY_TO_CONVERT = 2.5


class OpenVinoRuntime:
    """A network compiled for this CPU."""

    device = "cpu"

    def __init__(
        self,
        make_network: MakeNetwork,
        example: Inputs,
        weights: Sequence[Path],
        precision: str,
        cache: Path,
        trial: Inputs | None = None,
    ) -> None:
        """Take the converted network from ``cache``, or convert it and put it there.

        ``weights`` are the files the network is made from: another content is another network. Raises MemoryError
        where converting would take more memory than is free, and ValueError for a conversion that computes something
        else of the ``trial`` than torch does.
        """
        if precision == "bf16" and not has_native_bf16():
            logger.warning("this CPU has no bf16 instructions: MODEL_PRECISION=fp32 is as fast and more exact")
        int8 = precision == "int8"
        # a network that was tried is another than one of the same inputs that was not
        folder = cache / _name(weights, [*example, *(["trial"] if trial else [])], int8=int8)
        core = openvino.Core()
        convert = partial(_convert, make_network, example, weights, trial, int8=int8)
        network = _kept(core, folder) or _converted(core, folder, convert)
        hint = precision_hint(precision)
        compiled = core.compile_model(
            rounded_throughout(network) if int8 and hint == "bf16" else network,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": hint,
                "PERFORMANCE_HINT": "LATENCY",
                "DYNAMIC_QUANTIZATION_GROUP_SIZE": stretch(network) if int8 else 0,
                "CPU_RUNTIME_CACHE_CAPACITY": _KERNELS,
                **_threads(),
            },
        )
        self._request = compiled.create_infer_request()
        self._read = [copier(output) for output in compiled.outputs]
        self.precision = precision
        self.description = f"openvino {openvino.__version__.split('-')[0]} {precision}"

    def __call__(self, inputs: Inputs) -> tuple[numpy.ndarray, ...]:
        """See ``Runtime``."""
        # copied neither on the way in, nor twice on the way out
        outputs = self._request.infer(inputs, share_inputs=True, share_outputs=True)
        # the buffers belong to the request, which the next batch overwrites
        return tuple(read(outputs[place]) for place, read in enumerate(self._read))


def is_kept(weights: Sequence[Path], precision: str, cache: Path) -> bool:
    """True if an earlier start converted this network, in this version or another."""
    return any(cache.glob(f"{_source(weights, int8=precision == 'int8')}-*/{_SUMS}"))


def _threads() -> dict[str, int]:
    """OpenVINO knows the cores that the process may run on, but not that it gets only a share of them."""
    cores = cgroups.cores()
    return {"INFERENCE_NUM_THREADS": cores} if cores < cgroups.host_cores() else {}


def _converted(core: Any, folder: Path, convert: Callable[[], Any]) -> Any:
    """The network of ``convert``, kept in ``folder`` if that can be written."""
    with _exclusive(folder.parent) as keeps:
        # another process may have made it meanwhile
        network = _kept(core, folder)
        if network is None:
            network = convert()
            # read back, the weights are pages of a file, which give way when memory is short
            network = (keeps and _keep(network, folder) and _kept(core, folder)) or network
    return network


def _convert(
    make_network: MakeNetwork, example: Inputs, weights: Sequence[Path], trial: Inputs | None, *, int8: bool
) -> Any:
    needed, free = _MEMORY_TO_CONVERT * 4 * parameters(weights), free_memory("cpu")
    if needed > free:
        raise MemoryError(f"converting takes about {needed / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free")
    started = time.monotonic()
    import torch

    with warnings.catch_warnings():
        # tracing warns of every shape it looks at; the shapes stay dynamic, as the tests show
        warnings.simplefilter("ignore")
        with paused():
            # a model's classes are imported here, which takes seconds
            network = make_network(torch.float32).eval()
        converted = _traced(network, _tensors(example))
        if trial:
            _try(converted, network, trial)
        if int8:
            converted = _compress(converted)
    logger.info(
        "converted for OpenVINO in %.1f s, with %.1f GB of memory in use",
        time.monotonic() - started,
        psutil.Process().memory_info().rss / 1e9,
    )
    return converted


def _traced(network: Any, example: Mapping[str, Any]) -> Any:
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    # torch would trace it a second time, and only warn where that computes something else
    traced = TorchScriptPythonDecoder(network, example_input=example, trace_kwargs={"check_trace": False})
    with _unchanged_log():
        return openvino.convert_model(traced, example_input=example)


@contextmanager
def _unchanged_log() -> Iterator[None]:
    """OpenVINO sets the root logger to ERROR meanwhile, and back only if it does not fail.

    What the server says of other requests would not show until then, or never again.
    """
    root, own = logging.getLogger(), logging.getLogger("rerank")
    levels, filters = [(each, each.level) for each in (root, own)], list(root.filters)
    own.setLevel(own.getEffectiveLevel())
    try:
        yield
    finally:
        for each, level in levels:
            each.setLevel(level)
        root.filters[:] = filters


def _tensors(inputs: Inputs) -> dict[str, Any]:
    import torch

    return {name: torch.from_numpy(array) for name, array in inputs.items()}


def _try(converted: Any, network: Any, trial: Inputs) -> None:
    """Raise ValueError if the conversion computes something else of the ``trial`` than the network does.

    What becomes of padding may differ, because it is not read.
    """
    import torch

    with torch.inference_mode():
        expected = network(**_tensors(trial))
    compiled = openvino.Core().compile_model(converted, "CPU", {"INFERENCE_PRECISION_HINT": "f32", **_threads()})
    found = compiled(dict(trial))
    read = trial["attention_mask"].astype(bool)
    for place, output in enumerate(map(torch.Tensor.numpy, expected)):
        kept = read if output.ndim > 2 else slice(None)
        difference = numpy.abs(found[place][kept] - output[kept]).max()
        # written so that NaN is refused
        if not difference <= _TOLERANCE * numpy.abs(output[kept]).max():
            raise ValueError(f"the conversion computes something else: its numbers are off by up to {difference:.2g}")


def _compress(network: Any) -> Any:
    """Weights of products and embeddings as 8-bit numbers, each row with a scale of its own."""
    import nncf
    import rich

    nncf.set_log_level(logging.WARNING)
    # it draws a bar on standard output, and offers no other way to be without
    rich.get_console().quiet = True
    return nncf.compress_weights(network, mode=nncf.CompressWeightsMode.INT8_ASYM)


@contextmanager
def _exclusive(cache: Path) -> Iterator[bool]:
    """A lock that lets one process convert at a time. False if the cache cannot be written; nothing is kept then."""
    lock = FileLock(cache / ".lock")
    keeps = True
    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except NotImplementedError:
        logger.warning("%s lies on a file system without locks: several starts at once may convert the same", cache)
    except OSError as error:
        _warn_not_kept(error)
        keeps = False
    try:
        yield keeps
    finally:
        lock.release()


def _warn_not_kept(error: Exception) -> None:
    logger.warning("the converted network cannot be kept, so the next start converts again: %s", error)


def _kept(core: Any, folder: Path) -> Any | None:
    """The network an earlier start converted; None if there is none that is whole and may be read."""
    try:
        if not (folder / _SUMS).is_file():
            return None
        if json.loads((folder / _SUMS).read_text(encoding="utf-8")) != _sums(folder):
            raise ValueError("its files are not those that were written")
        return core.read_model(folder / _MODEL)
    except PermissionError:
        # another user's; that it cannot be replaced either is said where that is tried
        return None
    except (OSError, ValueError, RuntimeError) as error:
        logger.warning("the converted network in %s cannot be read and is converted again: %s", folder.name, error)
        return None


def _keep(network: Any, folder: Path) -> bool:
    """Write the network into ``folder``, whole or not at all. Where that fails, the next start converts again.

    What a process left that was killed on the way goes, and so do networks that another version made from the same
    weights.
    """
    unfinished = folder.with_name(folder.name + _UNFINISHED)
    try:
        for left in folder.parent.glob(f"*{_UNFINISHED}"):
            shutil.rmtree(left)
        unfinished.mkdir(parents=True)
        openvino.save_model(network, unfinished / _MODEL, compress_to_fp16=False)
        (unfinished / _SUMS).write_text(json.dumps(_sums(unfinished)), encoding="utf-8")
        for old in folder.parent.glob(f"{folder.name.rpartition('-')[0]}-*"):
            if old != unfinished:
                shutil.rmtree(old, ignore_errors=True)
        unfinished.rename(folder)
    except (OSError, RuntimeError) as error:
        _warn_not_kept(error)
        shutil.rmtree(unfinished, ignore_errors=True)
        return False
    return True


def _sums(folder: Path) -> dict[str, int]:
    """A checksum of each file of a converted network: OpenVINO takes any bytes of the right number for weights."""
    return {file.name: crc32(file) for file in sorted(folder.glob("model.*"))}


def _name(weights: Sequence[Path], inputs: Sequence[str], *, int8: bool) -> str:
    """Name of a converted network: what it is made from, the form of its weights, and what made it."""
    maker = _digest([_LAYOUT, list(inputs), openvino.__version__, version("torch"), version("transformers")])
    return f"{_source(weights, int8=int8)}-{maker}"


def _source(weights: Sequence[Path], *, int8: bool) -> str:
    files = [*weights, *_descriptions(weights[0].parent)]
    return f"{_digest([known_sha256(file) for file in files])}-{'int8' if int8 else 'fp32'}"


def _descriptions(folder: Path) -> list[Path]:
    """Other files that a network depends on: configurations, own code, weights of further modules."""
    found = [*folder.glob("*.json"), *folder.glob("*.py"), *folder.glob("*/*.json"), *folder.glob("*/*.safetensors")]
    return sorted(file for file in found if not file.relative_to(folder).parts[0].startswith("."))


def _digest(facts: list[Any]) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
