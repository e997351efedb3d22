"""Functions of a tree of jax arrays (flax, haiku, equinox, plain dicts): Jacobians in its leaves, and training of an allocation by optax.

Groups are the leaves in the order of `jax.tree_util`, named by their path: "Dense_0/kernel". A leaf without axes has the shape (1,).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np

from .._checks import list_of_names
from ..model.allocation import Allocation
from ..model.linearized import Linearized, from_jacobian
from ..model.parameters import Parameters
from ..model.strategy import Strategy, always

_CHUNK_BYTES = 2**28  # of the Jacobians of the samples that are computed together


def parameters(params: Any, within: tuple[str, ...] | None = None) -> Parameters:
    """The leaves of a tree of arrays, or those named in `within`, as groups.

    Errors: TypeError for leaves that are no real arrays, ValueError for unknown names or an empty tree.
    """
    return Parameters({name: tuple(leaf.shape) or (1,) for name, leaf in _chosen(params, within).items()})


def linearize(
    function: Callable[[Any, Any], Any],
    params: Any,
    x: Any,
    *,
    within: tuple[str, ...] | None = None,
    dtype: str = "float64",
    rtol: float | None = None,
    sketch: int | None = None,
    seed: int = 0,
) -> Linearized:
    """The Jacobian of function(params, x), an array [samples, ...], in the leaves of `params`, as a model for `best_allocation`, `explain`.

    x: an array [samples, ...] or a tree of such. A sample's outputs depend on its own inputs alone, so use a network's evaluation mode.
    Equations are the outputs in C order. within: names of the leaves that count, all by default. dtype: "float64" or "float32", in which
    real leaves and inputs are computed (64 bits are switched on inside this call only); ranks need small rounding errors.
    rtol, sketch, seed: as in `from_jacobian`; a sketch of k rows costs one pass forward over all samples and k passes back.
    Cost: one pass back for every output of every sample, vectorised, as many samples at once as fit into 256 MB; memory 8 equations x size.
    Errors: ValueError for outputs that are not [samples, ...], TypeError for leaves that are no real arrays.
    """
    import jax

    if dtype not in ("float64", "float32"):
        raise ValueError(f"dtype: expected 'float64' or 'float32', got {dtype!r}")
    groups = parameters(params, within)
    with jax.enable_x64(dtype == "float64"):
        cast = partial(jax.tree_util.tree_map, lambda leaf: _cast(leaf, dtype))
        params, x = cast(params), cast(x)
        chosen = _chosen(params, within)
        samples = {len(leaf) for leaf in jax.tree_util.tree_leaves(x)}
        if len(samples) != 1:
            raise ValueError(f"x: expected arrays of one number of samples, got {sorted(samples)}")
        count = samples.pop()

        def forward(weights: dict[str, Any], x: Any) -> Any:
            return function(_put(params, weights), x)

        shape = tuple(jax.eval_shape(forward, chosen, x).shape)
        if not shape or shape[0] != count:
            raise ValueError(f"function: expected outputs [samples, ...] for {count} samples, got shape {shape}")
        many = int(np.prod(shape[1:], dtype=np.int64))
        if sketch is not None:
            products = _Products(lambda weights: forward(weights, x).reshape(-1), chosen, (count * many, groups.size))
            return from_jacobian(products, groups, outputs=shape, rtol=rtol, sketch=sketch, seed=seed)

        def one(weights: dict[str, Any], sample: Any) -> Any:
            return forward(weights, jax.tree_util.tree_map(lambda leaf: leaf[None], sample)).reshape(-1)

        several = jax.jit(jax.vmap(jax.jacrev(one), in_axes=(None, 0)))
        J = np.empty((count * many, groups.size), dtype=dtype)
        step = max(1, _CHUNK_BYTES // (J.itemsize * many * groups.size))
        for start in range(0, count, step):
            found = several(chosen, jax.tree_util.tree_map(itemgetter(slice(start, start + step)), x))
            for name, where in groups.slices.items():
                J[start * many : (start + step) * many, where] = np.asarray(found[name]).reshape(-1, where.stop - where.start)
    J.setflags(write=False)
    return from_jacobian(J, groups, outputs=shape, rtol=rtol)


def masks(params: Any, allocation: Allocation | Strategy) -> Any:
    """A tree like `params` of bool numpy arrays, True where the allocation lets a leaf learn; leaves that are no group of it do not.

    Errors: ValueError if the allocation's groups are not leaves with these shapes.
    """
    import jax

    every, by_group = _named(params), always(allocation).by_group
    for name, mask in by_group.items():
        if name not in every:
            raise ValueError(f"allocation: expected groups that are leaves, {', '.join(every)}, got {name!r}")
        if mask.shape != (tuple(np.shape(every[name])) or (1,)):
            raise ValueError(f"allocation: expected {name!r} of shape {tuple(np.shape(every[name]))} as in the tree, got {mask.shape}")
    leaves = [
        by_group[name].reshape(np.shape(leaf)) if name in by_group else np.zeros(np.shape(leaf), bool) for name, leaf in every.items()
    ]
    return jax.tree_util.tree_unflatten(jax.tree_util.tree_structure(params), leaves)


class Transformation(NamedTuple):
    """init(params) -> state, update(gradients, state, params) -> (updates, state): what optax calls a GradientTransformation."""

    init: Callable[..., Any]
    update: Callable[..., Any]


def train_only(optimizer: Any, allocation: Allocation | Strategy) -> Transformation:
    """An optax optimizer that changes only the allocation's entries: the others stay bit-identical under optax.apply_updates, weight decay
    and momentum included.

    Gradients of frozen entries come to the optimizer as 0, so that clipping and moments see the learnable ones alone, and its updates of
    them are replaced by -0.0, the number that added to any other leaves every bit (adding 0.0 turns -0.0 into 0.0).
    Errors: as in `masks`, when it meets the parameters.
    """
    import jax
    import jax.numpy as jnp

    fixed = always(allocation)

    def keep(tree: Any, zero: float) -> Any:
        chosen = jax.tree_util.tree_map(jnp.asarray, masks(tree, fixed))
        return jax.tree_util.tree_map(lambda mask, leaf: jnp.where(mask, leaf, jnp.asarray(zero, leaf.dtype)), chosen, tree)

    def init(params: Any) -> Any:
        masks(params, fixed)
        return optimizer.init(params)

    def update(gradients: Any, state: Any, params: Any = None, **more: Any) -> tuple[Any, Any]:
        updates, state = optimizer.update(keep(gradients, 0.0), state, params, **more)
        return keep(updates, -0.0), state

    return Transformation(init, update)


class _Products:
    """J^T v of all samples: a pass back, for a sketch."""

    def __init__(self, forward: Callable[[Any], Any], weights: dict[str, Any], shape: tuple[int, int]) -> None:
        import jax

        self.names, self.shape = list(weights), shape
        self.y, pull = jax.vjp(forward, weights)
        self.pull = jax.jit(pull)

    def rmatvec(self, vector: np.ndarray) -> np.ndarray:
        (found,) = self.pull(vector.astype(self.y.dtype))
        return np.concatenate([np.asarray(found[name]).reshape(-1) for name in self.names])


def _named(params: Any) -> dict[str, Any]:
    """{path: leaf} in the order of jax.tree_util; "value", where flax.nnx keeps a variable's array, is no part of the path."""
    import jax

    paths = jax.tree_util.tree_flatten_with_path(params)[0]
    found = {}
    for path, leaf in paths:
        keys = [str(next(getattr(key, name) for name in ("key", "idx", "name") if hasattr(key, name))) for key in path]
        found["/".join(keys[:-1] if keys[-1:] == ["value"] and len(keys) > 1 else keys) or "params"] = leaf
    if len(found) != len(paths):
        raise ValueError(f"params: expected leaves with paths of their own, got {len(paths)} with {len(found)} names")
    return found


def _chosen(params: Any, within: tuple[str, ...] | None) -> dict[str, Any]:
    named = _named(params)
    if within is not None:
        chosen = list_of_names("within", within, tuple(named))
        named = {name: leaf for name, leaf in named.items() if name in chosen}
    if not named:
        raise ValueError("params: expected a tree with at least one array, got none")
    for name, leaf in named.items():
        if not hasattr(leaf, "shape") or np.dtype(leaf.dtype).kind not in "fV":  # V: bfloat16
            raise TypeError(f"params: expected real arrays, got {getattr(leaf, 'dtype', type(leaf).__name__)} in {name!r}; see within=")
    return named


def _put(params: Any, weights: dict[str, Any]) -> Any:
    """The tree with these leaves in place of its own."""
    import jax

    leaves = [weights.get(name, leaf) for name, leaf in _named(params).items()]
    return jax.tree_util.tree_unflatten(jax.tree_util.tree_structure(params), leaves)


def _cast(leaf: Any, dtype: str) -> Any:
    import jax.numpy as jnp

    return jnp.asarray(leaf, dtype) if jnp.issubdtype(jnp.result_type(leaf), jnp.floating) else leaf
