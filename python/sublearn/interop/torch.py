"""Modules of torch: Jacobians in their parameters, and training of an allocation by any optimizer.

Groups are the parameters that need gradients, with the names and the order of `module.named_parameters()`; a parameter that several
modules share is one group under its first name; one without axes has the shape (1,).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from .._checks import list_of_names
from ..model.allocation import Allocation
from ..model.linearized import Linearized, from_jacobian
from ..model.parameters import Parameters
from ..model.strategy import Strategy, always

_CHUNK_BYTES = 2**28  # of the Jacobians of the samples that are computed together


def parameters(module: Any, within: tuple[str, ...] | None = None) -> Parameters:
    """The parameters of a torch.nn.Module that need gradients, or those named in `within`, as groups.

    Errors: TypeError unless it is a module with names that are a tuple; ValueError for unknown names, or if there is nothing to learn.
    """
    return Parameters({name: tuple(value.shape) or (1,) for name, value in _learnable(module, within).items()})


def linearize(
    module: Any,
    x: Any,
    *,
    within: tuple[str, ...] | None = None,
    output: Callable[[Any], Any] | None = None,
    dtype: Any = None,
    rtol: float | None = None,
    sketch: int | None = None,
    seed: int = 0,
) -> Linearized:
    """The Jacobian of a module's outputs on `x` in its parameters, as a model for `best_allocation`, `explain`, `numerical_rank`.

    x: a tensor [samples, ...], or a tuple of such tensors, the module's arguments. The module returns a tensor [samples, ...], or
    `output` takes that out of what it returns (lambda out: out.logits). Equations are its entries in C order, a sample depends on its own
    inputs alone. within: names of the parameters that count; default: all that need gradients. dtype: in which parameters, buffers and
    inputs are computed, torch.float64 by default, since ranks need small rounding errors; the module itself is left as it is.
    rtol, sketch, seed: as in `from_jacobian`; a sketch of k rows costs one pass forward over all samples and k passes back.
    Cost: one pass back for every output of every sample, vectorised (torch.func), as many samples at once as fit into 256 MB; memory
    8 equations x size bytes. It is computed where the module is; the result is on the CPU.
    Errors: ValueError for layers that mix samples or draw random numbers (batch norm and dropout in training: call module.eval()).
    """
    import torch

    dtype = torch.float64 if dtype is None else dtype
    learnable = _learnable(module, within)
    _check_eval(module)
    arguments = _arguments(x, dtype)
    weights = {name: value.detach().to(dtype) for name, value in learnable.items()}
    rest = {name: value.detach() for name, value in (*module.named_parameters(), *module.named_buffers()) if name not in learnable}
    rest = {name: value.to(dtype) if value.is_floating_point() else value for name, value in rest.items()}

    def forward(weights: dict[str, Any], *arguments: Any) -> Any:
        y = torch.func.functional_call(module, (weights, rest), arguments)
        y = y if output is None else output(y)
        if not isinstance(y, torch.Tensor):
            raise TypeError(f"module: expected one that returns a tensor, got {type(y).__name__}; output= takes the tensor out of it")
        if not y.ndim or len(y) != len(arguments[0]):
            raise ValueError(f"module: expected outputs [samples, ...] for {len(arguments[0])} samples, got shape {tuple(y.shape)}")
        return y

    with torch.no_grad():
        shape = tuple(forward(weights, *(a[:1] for a in arguments)).shape[1:])
    many, groups = int(np.prod(shape, dtype=np.int64)), parameters(module, within)
    outputs = (len(arguments[0]), *shape)
    if sketch is not None:
        products = _Products(forward, weights, arguments, (outputs[0] * many, groups.size))
        return from_jacobian(products, groups, outputs=outputs, rtol=rtol, sketch=sketch, seed=seed)
    J = np.empty((outputs[0] * many, groups.size), dtype=np.float32 if dtype == torch.float32 else np.float64)
    step = max(1, _CHUNK_BYTES // (J.itemsize * many * groups.size))
    for start in range(0, outputs[0], step):
        J[start * many : (start + step) * many] = _jacobians(forward, weights, tuple(a[start : start + step] for a in arguments))
    J.setflags(write=False)
    return from_jacobian(J, groups, outputs=outputs, rtol=rtol)


def masks(allocation: Allocation | Strategy) -> dict[str, Any]:
    """{name: bool tensor of the parameter's shape}, True where it learns; (1,) for a parameter without axes."""
    import torch

    return {name: torch.from_numpy(mask.copy()) for name, mask in always(allocation).by_group.items()}


def train_only(module: Any, allocation: Allocation | Strategy | None) -> None:
    """From now on steps of any torch.optim optimizer change only the allocation's entries of the module's parameters.

    All others stay bit-identical, whatever weight decay, momentum of earlier steps or a rule that mixes entries would do: they are kept
    before a step and put back after it. Their gradients are zero, so that clipping and moments see the learnable entries alone. Parameters
    of which nothing learns, and those that are no group of the allocation, need no gradients any more. Names and `state_dict` stay.
    Another call replaces this one, and None in place of the allocation lifts it. In a copy of the module, and after
    `load_state_dict(.., assign=True)`, parameters are new ones: those that learned in part learn whole.
    Cost: a copy of the parameters that learn in part, twice a step.
    Errors: ValueError if the allocation's groups are not parameters of the module with these shapes.
    """
    import torch

    named, by_group = dict(module.named_parameters()), {} if allocation is None else always(allocation).by_group
    for name, mask in by_group.items():
        if name not in named:
            raise ValueError(f"allocation: expected groups that are parameters of the module, {', '.join(named)}, got {name!r}")
        if mask.shape != (tuple(named[name].shape) or (1,)):
            raise ValueError(f"allocation: expected {name!r} of shape {tuple(named[name].shape)} as in the module, got {mask.shape}")
    frozen = _frozen()
    for value in named.values():
        if value in frozen:
            frozen.pop(value).lift(value)
    if allocation is None:
        return
    for name, value in named.items():
        mask = by_group[name] if name in by_group else np.zeros(1, dtype=bool)
        if mask.all():
            value.requires_grad_()
        else:
            frozen[value] = _Frozen(value, torch.from_numpy(mask.copy()).reshape(value.shape) if mask.any() else torch.tensor(False))


class _Frozen:
    """Which entries of a parameter learn, and the hook that makes the gradients of all others zero."""

    def __init__(self, value: Any, mask: Any) -> None:
        self.mask, self.needed = mask, value.requires_grad
        self.kept: dict[int, Any] = {}  # by optimizer: one may step inside the step of another
        value.requires_grad_(bool(mask.any()))
        self.hook = value.register_hook(self.learnable) if value.requires_grad else None
        if self.hook is None:
            value.grad = None
        elif value.grad is not None:
            value.grad.copy_(self.learnable(value.grad))

    def lift(self, value: Any) -> None:
        if self.hook is not None:
            self.hook.remove()
        value.requires_grad_(self.needed)

    def learnable(self, gradient: Any) -> Any:
        return gradient.where(self.mask_for(gradient), gradient.new_zeros(()))  # not a product: 0 * inf is nan

    def mask_for(self, value: Any) -> Any:
        if self.mask.device != value.device:
            self.mask = self.mask.to(value.device)
        return self.mask


_known: Any = None  # {parameter: _Frozen}, by identity; a parameter that is no more used drops out


def _frozen() -> Any:
    """The dict of all parameters that learn in part. Made on first use, with the two hooks that every optimizer's step passes."""
    global _known
    if _known is None:
        from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
        from torch.utils.weak import WeakTensorKeyDictionary

        _known = WeakTensorKeyDictionary()
        register_optimizer_step_pre_hook(_before_step)
        register_optimizer_step_post_hook(_after_step)
    return _known


def _before_step(optimizer: Any, *_: Any) -> None:
    for value, frozen in _in_steps_of(optimizer):
        frozen.kept[id(optimizer)] = value.detach().clone()


def _after_step(optimizer: Any, *_: Any) -> None:
    import torch

    with torch.no_grad():
        for value, frozen in _in_steps_of(optimizer):
            kept = frozen.kept.pop(id(optimizer), None)
            if kept is not None:  # None: it became frozen during this step
                value.copy_(torch.where(frozen.mask_for(value), value, kept))


def _in_steps_of(optimizer: Any) -> list[tuple[Any, _Frozen]]:
    """The parameters to keep. Those of torch pass by parameters without gradients, but for LBFGS, which moves all by what it remembers."""
    kind = type(optimizer)
    passes = kind.__module__.startswith("torch.optim.") and kind.__name__ != "LBFGS"
    every = [value for group in optimizer.param_groups for value in group["params"] if value in _known]
    return [(value, _known[value]) for value in every if value.requires_grad or not passes]


class _Products:
    """J^T v of all samples: a pass back, for a sketch."""

    def __init__(self, forward: Callable, weights: dict[str, Any], arguments: tuple, shape: tuple[int, int]) -> None:
        import torch

        self.weights = {name: value.requires_grad_() for name, value in weights.items()}
        self.shape, self.torch = shape, torch
        self.y = forward(self.weights, *arguments).reshape(-1)

    def rmatvec(self, vector: np.ndarray) -> np.ndarray:
        vector = self.torch.from_numpy(vector).to(self.y)
        found = self.torch.autograd.grad(self.y, list(self.weights.values()), vector, retain_graph=True, materialize_grads=True)
        return self.torch.cat([part.reshape(-1) for part in found]).cpu().numpy()


def _jacobians(forward: Callable, weights: dict[str, Any], arguments: tuple) -> np.ndarray:
    """[samples x outputs, size] of some samples: all at once, or where torch cannot vectorise a layer one after the other."""
    import torch

    def one(weights: dict[str, Any], *sample: Any) -> Any:
        return forward(weights, *(a[None] for a in sample)).reshape(-1)

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "There is a performance drop because we have not yet implemented the batching rule")
            found = torch.func.vmap(torch.func.jacrev(one), in_dims=(None, *(0 for _ in arguments)))(weights, *arguments)
        parts = [found[name].reshape(*found[name].shape[:2], -1) for name in weights]
    except RuntimeError as error:  # of vmap: no batching rule, control flow that depends on data
        if "randomness" in str(error):
            raise ValueError(f"module: expected samples that do not depend on chance; call module.eval() first ({error})") from None
        by_sample = [torch.autograd.functional.jacobian(_flat(one, weights, sample), tuple(weights.values())) for sample in zip(*arguments)]
        parts = [torch.stack([sample[k] for sample in by_sample]).flatten(2) for k in range(len(weights))]
    return torch.cat(parts, dim=2).flatten(0, 1).detach().cpu().numpy()


def _flat(one: Callable, weights: dict[str, Any], sample: tuple) -> Callable:
    return lambda *values: one(dict(zip(weights, values)), *sample)


def _learnable(module: Any, within: tuple[str, ...] | None) -> dict[str, Any]:
    import torch

    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"module: expected a torch.nn.Module, got {type(module).__name__}")
    named = dict(module.named_parameters())
    names = [name for name, value in named.items() if value.requires_grad]
    if within is not None:
        chosen = list_of_names("within", within, tuple(named))
        names = [name for name in named if name in chosen]
    if not names:
        raise ValueError("module: expected parameters that need gradients, got none")
    wrong = [name for name in names if not named[name].is_floating_point()]
    if wrong:
        raise TypeError(f"module: expected real parameters, got {named[wrong[0]].dtype} in {wrong[0]!r}")
    return {name: named[name] for name in names}


def _check_eval(module: Any) -> None:
    """ValueError for layers that now mix samples or draw random numbers."""
    import torch

    norms, drops = torch.nn.modules.batchnorm, torch.nn.modules.dropout._DropoutNd
    for name, layer in module.named_modules():
        kind = type(layer).__name__
        batch = isinstance(layer, norms._BatchNorm) and (layer.training or layer.running_mean is None)
        if batch or (isinstance(layer, norms._NormBase) and layer.training and layer.track_running_stats):
            why = "mixes samples"
        elif layer.training and ((isinstance(layer, drops) and layer.p > 0) or _number(getattr(layer, "dropout", 0)) > 0):
            why = "draws random numbers"
        else:
            continue
        cure = "call module.eval() first" if layer.training else "it keeps no running statistics"
        raise ValueError(
            f"module: expected samples that do not depend on each other or on chance, but {name or kind} ({kind}) {why}; {cure}"
        )


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0


def _arguments(x: Any, dtype: Any) -> tuple:
    import torch

    every = x if isinstance(x, tuple) else (x,)
    for part in every:
        if not isinstance(part, torch.Tensor) or not part.ndim or not len(part):
            came = f"shape {tuple(part.shape)}" if isinstance(part, torch.Tensor) else type(part).__name__
            raise TypeError(f"x: expected a tensor [samples, ...] or a tuple of such, got {came}")
        if len(part) != len(every[0]):
            raise ValueError(f"x: expected tensors of {len(every[0])} samples each, got {len(part)}")
    if not every:
        raise ValueError("x: expected at least one tensor, got none")
    return tuple(part.detach().to(dtype) if part.is_floating_point() else part for part in every)
