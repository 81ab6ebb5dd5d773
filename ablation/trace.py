"""One forward pass of a module, recorded: which modules run, in which order, what follows what, and what is added."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_ADDS = {"add", "add_", "__add__", "__radd__", "__iadd__"}
_LAYERS = {"conv1d", "conv2d", "conv3d", "linear", "matmul", "bmm", "multi_head_attention_forward", "einsum"}


@dataclass(frozen=True)
class Addition:
    """A sum of two tensors of one shape that both depend on the input: a residual connection.

    Attributes
    ----------
    block : str
        Innermost module that was running.
    branch : str or None
        Module that produced the deeper of the two; None where a function did.
    equal_depth : bool
        Whether both are behind equally many layers, so that neither is the shortcut.
    """

    block: str
    branch: str | None
    equal_depth: bool


@dataclass
class Trace:
    """What one forward pass did.

    Attributes
    ----------
    order : list of str
        Modules in the order in which they finished.
    calls : Counter
        How often each module ran.
    follows : {str: str}
        Module -> the module whose output object is its first input.
    additions : list of Addition
    outputs : {str: Tensor}
        Last output of each module (the first of a tuple).
    """

    order: list[str] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    follows: dict[str, str] = field(default_factory=dict)
    additions: list[Addition] = field(default_factory=list)
    outputs: dict[str, Tensor] = field(default_factory=dict)


def first_tensor(value: Any) -> Tensor | None:
    """Return a module's output, or the first of a tuple; None where that is no tensor."""
    if isinstance(value, (tuple, list)) and value:
        value = value[0]
    return value if isinstance(value, Tensor) else None


def trace(model: nn.Module, forward: Callable[[], Any], images: Tensor) -> Trace:
    """Run `forward` once, which passes `images` through `model`, and record what the model does."""
    found = Trace()
    recorder = _Recorder(found, images)
    with ExitStack() as stack:
        for name, module in model.named_modules():
            stack.callback(module.register_forward_pre_hook(recorder.entering(name)).remove)
            stack.callback(module.register_forward_hook(recorder.leaving(name)).remove)
        stack.enter_context(recorder)
        forward()
    return found


class _Recorder(TorchFunctionMode):
    def __init__(self, found: Trace, images: Tensor) -> None:
        super().__init__()
        self.found = found
        self.stack: list[str] = []
        self.kept: list[Tensor] = [images]  # so that no identity is given twice
        self.depth: dict[int, int] = {id(images): 0}
        self.producer: dict[int, str] = {}

    def entering(self, name: str) -> Callable[[nn.Module, Any], None]:
        def hook(_: nn.Module, inputs: Any) -> None:
            self.stack.append(name)
            given = first_tensor(inputs)
            if given is not None and id(given) in self.producer:
                self.found.follows[name] = self.producer[id(given)]

        return hook

    def leaving(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_: nn.Module, inputs: Any, output: Any) -> None:
            self.stack.pop()
            self.found.order.append(name)
            self.found.calls[name] += 1
            made = first_tensor(output)
            if made is not None:
                self.kept.append(made)
                self.producer[id(made)] = name
                self.found.outputs[name] = made
                if id(made) not in self.depth:  # made where this mode does not look, such as fused attention
                    depths = [self.depth[id(value)] for value in _tensors(inputs) if id(value) in self.depth]
                    if depths:
                        self.depth[id(made)] = max(depths) + 1

        return hook

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = list(_tensors((args, tuple(kwargs.values()))))
        depths = [self.depth[id(value)] for value in given if id(value) in self.depth]
        name = getattr(func, "__name__", "")
        if name in _ADDS and len(depths) == 2 and given[0].shape == given[1].shape and given[0].ndim > 1:
            deeper = given[0] if depths[0] >= depths[1] else given[1]
            self.found.additions.append(
                Addition(self.stack[-1] if self.stack else "", self.producer.get(id(deeper)), depths[0] == depths[1])
            )
        result = func(*args, **kwargs)
        for made in _tensors(result):
            self.kept.append(made)
            if depths:
                self.depth[id(made)] = max(depths) + (name in _LAYERS)
                if any(made is value for value in given) and name.endswith("_"):
                    self.producer.pop(id(made), None)  # changed in place: no longer that module's output
        return result


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from _tensors(part)


def path_in(model: nn.Module, name: str) -> nn.Module:
    """Return the module at a dotted path; the model itself for the empty one."""
    return dict(model.named_modules())[name]


