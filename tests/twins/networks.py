"""Slow twins of the network mathematics (D1): plain numpy that reads like the formula, one student at a time."""

import dataclasses

import numpy as np

PHI = {"linear": lambda z: z, "relu": lambda z: np.where(z.real > 0, z, 0.0), "tanh": np.tanh}
SLOPE = {"linear": lambda h: np.ones_like(h), "relu": lambda h: (h > 0).astype(h.dtype), "tanh": lambda h: 1 - h * h}


def outputs(net, theta, x, h0=None):
    """y of one student; theta [size], x [*net.x_shape], h0 [(samples,) hidden]. Works on complex theta too."""
    g, phi = net.unpack(theta), PHI[net.activation]
    if hasattr(net, "steps"):
        starts = np.zeros((net.samples, net.hidden)) if h0 is None else np.reshape(h0, (net.samples, net.hidden))
        sequences = []
        for inputs, start in zip(x.reshape(net.samples, net.steps, net.inputs), starts):
            h = state = start.astype(theta.dtype)
            ys = []
            for t in range(net.steps):
                f = phi(g["W"] @ h + g["B"] @ inputs[t] + g.get("b", 0))
                state = f if net.leak == 1 else (1 - net.leak) * state + net.leak * f
                h = g.get("g", 1) * state
                ys.append(g["D"] @ h + g.get("c", 0))
            sequences.append(np.stack(ys))
        return np.stack(sequences).reshape(net.y_shape)
    a = x
    layers = len(net.widths) - 1
    for k in range(1, layers + 1):
        z = g[f"W{k}"] @ a + (g[f"b{k}"][:, None] if f"b{k}" in g else 0)
        a = z if k == layers else g.get(f"g{k}", np.ones(1))[:, None] * phi(z)
    return a


def jacobian(net, theta, x, h0=None):
    """d f / d theta [equations, size], column by column by complex steps: exact to rounding."""
    columns = []
    for k in range(net.size):
        moved = theta.astype(complex)
        moved[k] += 1e-30j
        columns.append(outputs(net, moved, x, h0).imag.ravel() / 1e-30)
    return np.stack(columns, axis=1)


def loss_of(f, y, loss):
    """The loss of outputs f given targets y (softmax: probabilities), and its derivative; outputs along the last axis."""
    if loss == "squared":
        return np.sum((f - y) ** 2), 2 * (f - y)
    log_sum = f.max(-1, keepdims=True) + np.log(np.exp(f - f.max(-1, keepdims=True)).sum(-1, keepdims=True))
    return np.sum(y * (log_sum - f)), y.sum(-1, keepdims=True) * np.exp(f - log_sum) - y


def gradient(net, theta, x, y, loss="squared"):
    """d/dtheta of the loss, by the textbook backward pass (a plain network) or by complex steps; [size]."""
    if getattr(net, "steps", 0) and net.samples > 1 and not net.gain and net.leak == 1:  # sequence by sequence
        one = type(net)(net.inputs, net.hidden, net.outputs, net.steps, net.activation, net.bias)
        return sum(gradient(one, theta, a, b, loss) for a, b in zip(x, y))
    if net.extended:
        f = outputs(net, theta, x)
        e = loss_of(f, y, loss)[1] if hasattr(net, "steps") else loss_of(f.T, y.T, loss)[1].T
        return jacobian(net, theta, x).T @ e.ravel()
    g, phi, slope = net.unpack(theta), PHI[net.activation], SLOPE[net.activation]
    out = {name: np.zeros(shape) for name, shape in net.groups.items()}
    if hasattr(net, "steps"):
        hs = [np.zeros(net.hidden)]
        for t in range(net.steps):
            hs.append(phi(g["W"] @ hs[-1] + g["B"] @ x[t] + g.get("b", 0)))
        back = np.zeros(net.hidden)
        for t in reversed(range(net.steps)):
            e = loss_of(g["D"] @ hs[t + 1] + g.get("c", 0), y[t], loss)[1]
            out["D"] += np.outer(e, hs[t + 1])
            delta = slope(hs[t + 1]) * (g["D"].T @ e + back)
            out["B"] += np.outer(delta, x[t])
            out["W"] += np.outer(delta, hs[t])
            if "b" in out:
                out["b"] += delta
            if "c" in out:
                out["c"] += e
            back = g["W"].T @ delta
    else:
        layers = len(net.widths) - 1
        acts = [x]
        for k in range(1, layers + 1):
            z = g[f"W{k}"] @ acts[-1] + (g[f"b{k}"][:, None] if f"b{k}" in g else 0)
            acts.append(z if k == layers else phi(z))
        delta = loss_of(acts[-1].T, y.T, loss)[1].T
        for k in range(layers, 0, -1):
            out[f"W{k}"] = delta @ acts[k - 1].T
            if f"b{k}" in out:
                out[f"b{k}"] = delta.sum(axis=1)
            if k > 1:
                delta = slope(acts[k - 1]) * (g[f"W{k}"].T @ delta)
    return net.pack(out)


def fit(net, theta, x, y, mask, steps, optimizer, lr, loss="squared", batches=None):
    """Masked descent of one student, as the optimisers are defined; returns theta and its loss. lr: a number, or a function of the step
    0, 1, ..; batches: a function of the step that gives the samples of its gradient (recurrent: the sequences)."""
    theta = theta.copy()
    m = np.zeros(net.size)
    q = np.zeros(net.size)
    for t in range(1, steps + 1):
        if batches is None:
            g = gradient(net, theta, x, y, loss)
        else:
            which = batches(t - 1)
            part = dataclasses.replace(net, samples=len(which))
            inputs, targets = (x[which], y[which]) if hasattr(net, "steps") else (x[:, which], y[:, which])
            g = gradient(part, theta, inputs, targets, loss) * net.samples / len(which)
        rate = lr(t - 1) if callable(lr) else lr
        if optimizer == "sgd":
            change = rate * g
        elif optimizer == "momentum":
            m = 0.9 * m + g
            change = rate * m
        else:
            m = 0.9 * m + 0.1 * g
            q = 0.999 * q + 0.001 * g * g
            change = rate * (m / (1 - 0.9**t)) / (np.sqrt(q / (1 - 0.999**t)) + 1e-8)
        theta[mask] -= change[mask]
    f = outputs(net, theta, x)
    return theta, loss_of(f, y, loss)[0] if hasattr(net, "steps") else loss_of(f.T, y.T, loss)[0]
