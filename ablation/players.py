"""The players of a component game: what they are called, and where in the network they are."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Component:
    """One part of a network that a gate can switch off.

    Attributes
    ----------
    name : str
        Such as `layer1.0.bn1[3]`: the layer and the number within it.
    kind : {"channel", "block", "head", "module"}
    layer : str
        Path of the module at whose output (or input, for heads) the gate is.
    index : int
        Number within the layer, from 0.
    depth : int
        Position of the layer in the order of execution, from 0.
    n_weights : int
        Weights that the component alone uses: a filter's, a head's share of the projection, a module's own.
    """

    name: str
    kind: str
    layer: str
    index: int
    depth: int
    n_weights: int
