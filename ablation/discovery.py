"""Find what a gate can switch off in a module: channels, residual branches, attention heads, named modules."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from torch import nn

from ablation.errors import AblationError
from ablation.sites import Site
from ablation.trace import Trace

KINDS = ("channels", "blocks", "heads")
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_NORMS = (
    nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.GroupNorm, nn.InstanceNorm1d, nn.InstanceNorm2d,
    nn.InstanceNorm3d,
)  # fmt: skip
# How attention modules in use call the number of heads, and the projection that reads the heads.
_HEAD_COUNTS = ("num_heads", "n_heads", "n_head", "heads", "num_attention_heads", "nhead")
_PROJECTIONS = ("out_proj", "o_proj", "proj", "c_proj", "to_out", "wo", "dense", "out_lin", "fc_out")

Found = tuple[list[Site], dict[str, str]]


def find_sites(model: nn.Module, found: Trace, components: str | Sequence[str], within: Sequence[str] | None) -> Found:
    """Find the gates that a request asks for.

    Parameters
    ----------
    model : torch.nn.Module
    found : Trace
        Of one forward pass.
    components : {"channels", "blocks", "heads"} or sequence of str
        A kind, or paths of modules that are one player each.
    within : sequence of str or None
        Only components inside these modules.

    Returns
    -------
    sites : list of Site
        In the order of execution, with their players numbered.
    refused : {str: str}
        What cannot be gated, with the reason.

    Raises
    ------
    AblationError
        For an unknown kind or module, or where nothing can be gated.
    """
    modules = dict(model.named_modules())
    for name in within or ():
        _check_name(name, modules)
    if isinstance(components, str):
        if components not in KINDS:
            raise AblationError(
                f"components must be one of {', '.join(KINDS)}, or a list of module names; got {components!r}."
            )
        sites, refused = {"channels": _channels, "blocks": _blocks, "heads": _heads}[components](modules, found)
        what = components
    else:
        names = list(components)
        for name in names:
            _check_name(name, modules)
        sites, refused = _named(names, modules, found)
        what = "modules"
        if refused:
            name, reason = next(iter(refused.items()))
            raise AblationError(f"{name} cannot be gated: {reason}.")
    if within is not None:
        sites = [site for site in sites if any(_inside(site.owner, name) for name in within)]
        refused = {name: why for name, why in refused.items() if any(_inside(name, part) for part in within)}
    place = {name: number for number, name in reversed(list(enumerate(found.order)))}
    sites.sort(key=lambda site: place[site.layer])
    first = 0
    for site in sites:
        site.first = first
        first += site.n_players
    if first < 2:
        reasons = "; ".join(f"{name}: {why}" for name, why in list(refused.items())[:3])
        raise AblationError(
            f"the model has {first} {what} that can be gated{' within ' + ', '.join(within) if within else ''}, and a "
            f"game needs two players{' (' + reasons + ')' if reasons else ''}. Name others."
        )
    return sites, refused


def _inside(name: str, outer: str) -> bool:
    return outer == "" or name == outer or name.startswith(outer + ".")


def _check_name(name: str, modules: dict[str, nn.Module]) -> None:
    if name not in modules or name == "":
        near = difflib.get_close_matches(name, [known for known in modules if known], n=3)
        hint = f" Did you mean {', '.join(near)}?" if near else " See model.named_modules() for those it has."
        raise AblationError(f"the model has no module {name!r}.{hint}")


def _runs_once(name: str, found: Trace) -> str:
    """Return why a module's output cannot be gated; empty where it can."""
    if found.calls[name] == 0:
        return "it does not run as a module of its own in the forward pass"
    if found.calls[name] > 1:
        return f"it runs {found.calls[name]} times in one forward pass"
    if name not in found.outputs:
        return "its output is not a tensor"
    return ""


def _channels(modules: dict[str, nn.Module], found: Trace) -> Found:
    """Filters of convolutions, gated after the normalisation that reads them, or at their own output."""
    norm_of = {
        found.follows[name]: name
        for name, module in modules.items()
        if isinstance(module, _NORMS) and name in found.follows
    }
    sites, refused = [], {}
    for name, module in modules.items():
        if not isinstance(module, _CONVOLUTIONS):
            continue
        gated = norm_of.get(name, name)
        why = _runs_once(name, found) or _runs_once(gated, found)
        if why:
            refused[name] = why
        else:
            sites.append(Site(gated, modules[gated], "channels", module.out_channels, owner=name))
    return sites, refused


def _blocks(modules: dict[str, nn.Module], found: Trace) -> Found:
    """Branches of residual connections, gated where they end, before the sum."""
    sites: list[Site] = []
    refused: dict[str, str] = {}
    n_branches: dict[str, int] = {}
    for addition in found.additions:
        n_branches[addition.block] = n_branches.get(addition.block, 0) + 1
    for addition in found.additions:
        block = addition.block or "the model"
        if addition.equal_depth:
            refused[block] = "both sides of its sum pass through equally many layers, so neither is the shortcut"
        elif addition.branch is None:
            refused[block] = "its branch ends in a function, not in a module"
        elif why := _runs_once(addition.branch, found):
            refused[addition.branch] = why
        elif all(site.layer != addition.branch for site in sites):
            owner = addition.block if n_branches[addition.block] == 1 and addition.block else addition.branch
            sites.append(Site(addition.branch, modules[addition.branch], "whole", 1, owner=owner))
    return sites, refused


def _heads(modules: dict[str, nn.Module], found: Trace) -> Found:
    """Attention heads, gated where the output projection reads them."""
    sites, refused = [], {}
    for name, module in modules.items():
        if isinstance(module, nn.MultiheadAttention):
            if why := _runs_once(name, found):
                refused[name] = why
            else:
                sites.append(Site(name, module, "heads", module.num_heads, owner=name))
            continue
        counts = [getattr(module, part) for part in _HEAD_COUNTS if isinstance(getattr(module, part, None), int)]
        if not counts:
            continue
        projection = _projection(name, modules)
        if projection is None:
            if not any(isinstance(part, nn.MultiheadAttention) for part in module.modules()) and "ttention" in type(
                module
            ).__name__:
                refused[name] = f"no output projection among its parts ({', '.join(_PROJECTIONS)})"
            continue
        linear = modules[projection]
        assert isinstance(linear, nn.Linear)
        why = _runs_once(projection, found)
        if not why and linear.in_features % counts[0]:
            why = f"its projection reads {linear.in_features} values, which {counts[0]} heads do not divide"
        if why:
            refused[name] = why
        elif all(site.layer != projection for site in sites):
            sites.append(Site(projection, linear, "heads", counts[0], owner=name))
    return sites, refused


def _projection(name: str, modules: dict[str, nn.Module]) -> str | None:
    """Path of the linear layer that reads the heads of an attention module."""
    parent = name.rpartition(".")[0]
    places = [f"{name}.{part}" for part in _PROJECTIONS]
    places += [f"{parent}.output.dense" if parent else "output.dense"]  # the attentions of transformers
    for place in places:
        for candidate in (place, f"{place}.0"):
            if isinstance(modules.get(candidate), nn.Linear):
                return candidate
    return None


def _named(names: Sequence[str], modules: dict[str, nn.Module], found: Trace) -> Found:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise AblationError(f"components names {repeated[0]} twice. Name every module once.")
    sites, refused = [], {}
    for name in names:
        if why := _runs_once(name, found):
            refused[name] = why
        else:
            sites.append(Site(name, modules[name], "whole", 1, owner=name))
    return sites, refused
