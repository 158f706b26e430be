"""Right and wrong answers to the exercises of lesson 04; a wrong one with words of what it must be told."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import numpy as np
import torch


def project(G: Any, U: Any, k: int) -> Any:
    return G - G @ U[:, :k] @ U[:, :k].T


def by_columns(G: Any, U: Any, k: int) -> Any:
    left = G.copy()
    for u in U.T[:k]:
        left = left - np.outer(left @ u, u)
    return left


def in_place(G: Any, U: Any, k: int) -> Any:
    G -= G @ U[:, :k] @ U[:, :k].T
    return G


def in_torch(G: Any, U: Any, k: int) -> Any:
    g, u = torch.as_tensor(G), torch.as_tensor(U)[:, :k]
    return g - g @ u @ u.mT


def of_tensors(G: Any, U: Any, k: int) -> Any:
    basis = U.narrow(1, 0, k)
    return G.clone().addmm_(G @ basis, basis.t(), alpha=-1)


def zeroes(G: Any, U: Any, k: int) -> Any:
    G[:] = 0
    return G


def masks_the_basis(G: Any, U: Any, k: int) -> Any:
    U[:, k:] = 0
    return G - G @ U @ U.T


def powers(sigmas: Any, rule: str) -> Any:
    return np.asarray(sigmas, float) ** (2 if rule == "sigma2" else 1)


def shares(sigmas: Any, rule: str) -> Any:
    return np.cumsum(powers(sigmas, rule)) / powers(sigmas, rule).sum()


def rank_in_a_loop(sigmas: Any, gamma: float, rule: str) -> int:
    v = [float(s) ** 2 if rule == "sigma2" else float(s) for s in sigmas]
    return next(k for k, held in enumerate(accumulate(v), 1) if held >= gamma * sum(v) - 1e-9)


def rank_of_tensors(sigmas: Any, gamma: float, rule: str) -> Any:
    v = sigmas.square() if rule == "sigma2" else sigmas
    return (v.cumsum(0) / v.sum() < gamma - 1e-12).sum() + 1


def squares_in_place(sigmas: Any, gamma: float, rule: str) -> Any:
    if rule == "sigma2":
        sigmas *= sigmas
    return int((np.cumsum(sigmas) / sigmas.sum() < gamma - 1e-12).sum()) + 1


def safe(W: Any, G: Any, U: Any, lr: float, decay: float) -> Any:
    delta = -lr * (G + decay * W)
    return W + delta - delta @ U @ U.T


def safe_in_place(W: Any, G: Any, U: Any, lr: float, decay: float) -> Any:
    G += decay * W
    G -= G @ U @ U.T
    W -= lr * G
    return W


def safe_in_torch(W: Any, G: Any, U: Any, lr: float, decay: float) -> Any:
    w, g, u = (torch.from_numpy(x) for x in (W, G, U))
    step = torch.add(g, w, alpha=decay)
    return torch.sub(w, step - step @ u @ u.mT, alpha=lr)


def safe_of_tensors(W: Any, G: Any, U: Any, lr: float, decay: float) -> Any:
    step = G.clone().add_(W, alpha=decay)
    return W.sub_(step.sub_(step @ U @ U.t()), alpha=lr)


def safe_by_rows(W: Any, G: Any, U: Any, lr: float, decay: float) -> Any:
    P = np.eye(len(U)) - U @ U.T
    return np.stack([w - lr * P @ (g + decay * w) for w, g in zip(W, G, strict=True)])


def only_gradient(W: Any, G: Any, U: Any, lr: float, decay: float) -> Any:
    return W - lr * (G - G @ U @ U.T + decay * W)


def safe_spoils(W: Any, G: Any, U: Any, lr: float, decay: float) -> Any:
    answer = safe(W, G, U, lr, decay)
    U[:] = 0
    return answer


ANSWERS: dict[str, Any] = {
    "project": {
        "right": {
            "column by column": by_columns,
            "in place": in_place,
            "torch": in_torch,
            "tensors only": of_tensors,
            "float32": lambda G, U, k: project(np.float32(G), np.float32(U), k),
            "from the right": lambda G, U, k: G @ (np.eye(len(U)) - U[:, :k] @ U[:, :k].T),
            "the other directions": lambda G, U, k: G @ U[:, k:] @ U[:, k:].T,
            "transposed twice": lambda G, U, k: (G.T - U[:, :k] @ (U[:, :k].T @ G.T)).T,
        },
        "wrong": {
            "zeros, in place": (zeroes, "directions must stay"),
            "zeros": (lambda G, U, k: np.zeros_like(G), "directions must stay"),
            "as it is": (lambda G, U, k: G, "still notices"),
            "k ignored": (lambda G, U, k: G - G @ U @ U.T, "directions must stay"),
            "the part removed": (lambda G, U, k: G @ U[:, :k] @ U[:, :k].T, "directions must|notices"),
            "rows": (lambda G, U, k: G - G @ U[:k].T @ U[:k], "notices"),
            "the last": (lambda G, U, k: G - G @ U[:, ::-1][:, :k] @ U[:, ::-1][:, :k].T, "notices"),
            "one more": (lambda G, U, k: project(G, U, k + 1), "directions must stay"),
            "one less": (lambda G, U, k: project(G, U, max(k - 1, 0)), "notices"),
            "twice": (lambda G, U, k: G - 2 * G @ U[:, :k] @ U[:, :k].T, "notices"),
            "half": (lambda G, U, k: G - 0.5 * G @ U[:, :k] @ U[:, :k].T, "notices"),
            "added": (lambda G, U, k: G + G @ U[:, :k] @ U[:, :k].T, "notices"),
            "coordinates": (lambda G, U, k: G @ U, "notices|directions"),
            "transposed": (lambda G, U, k: project(G, U, k).T, "shape"),
            "twice as large": (lambda G, U, k: 2 * project(G, U, k), "directions must stay"),
            "the basis in place": (masks_the_basis, "changes its argument `U`"),
            "nothing": (lambda G, U, k: None, "returned nothing"),
        },
    },
    "protected_rank": {
        "right": {
            "in a loop": rank_in_a_loop,
            "tensors only": rank_of_tensors,
            "searchsorted": lambda s, g, r: np.searchsorted(shares(s, r), g - 1e-12) + 1,
            "argmax": lambda s, g, r: int(np.argmax(shares(s, r) >= g - 1e-12)) + 1,
            "a float": lambda s, g, r: float(rank_in_a_loop(s, g, r)),
            "torch": lambda s, g, r: rank_of_tensors(torch.as_tensor(s), g, r),
        },
        "wrong": {
            "more than": (
                lambda s, g, r: int((shares(s, r) <= g).sum()) + 1,
                "γ = 0.75 and sigma the rank is 1",
            ),
            "counted from zero": (lambda s, g, r: rank_in_a_loop(s, g, r) - 1, "the rank is 1; got 0"),
            "one more": (lambda s, g, r: rank_in_a_loop(s, g, r) + 1, "the rank is 1; got 2"),
            "the rule ignored": (lambda s, g, r: rank_in_a_loop(s, g, "sigma"), "γ = 0.9 and sigma2"),
            "always squares": (lambda s, g, r: rank_in_a_loop(s, g, "sigma2"), "the rank is 2; got 1"),
            "rules exchanged": (
                lambda s, g, r: rank_in_a_loop(s, g, "sigma" if r == "sigma2" else "sigma2"),
                "the rank is 2",
            ),
            "not divided": (lambda s, g, r: int((np.cumsum(powers(s, r)) < g).sum()) + 1, "the rank is"),
            "each by itself": (
                lambda s, g, r: int((powers(s, r) / powers(s, r).sum() >= g).sum()),
                "the rank is",
            ),
            "share of the number": (lambda s, g, r: int(np.ceil(g * len(s))), "the rank is"),
            "from the end": (lambda s, g, r: rank_in_a_loop(s[::-1], g, r), "the rank is 1; got 2"),
            "γ ignored": (lambda s, g, r: 1, "the rank is 2; got 1"),
            "two at most": (lambda s, g, r: min(rank_in_a_loop(s, g, r), 2), "random"),
            "the first with nothing left": (
                lambda s, g, r: len(s) if g == 1 else rank_in_a_loop(s, g, r),
                "σ = (3, 1, 0, 0), γ = 1.0 and sigma the rank is 2; got 4",
            ),
            "squares in place": (squares_in_place, "changes its argument `sigmas`"),
            "the shares": (lambda s, g, r: shares(s, r), "the rank is 1; got array"),
            "nothing": (lambda s, g, r: None, "returned nothing"),
        },
    },
    "safe_step": {
        "right": {
            "in place": safe_in_place,
            "torch": safe_in_torch,
            "tensors, in place": safe_of_tensors,
            "row by row": safe_by_rows,
            "float32": lambda W, G, U, lr, decay: safe(
                np.float32(W), np.float32(G), np.float32(U), lr, decay
            ),
            "both projected": lambda W, G, U, lr, decay: (
                W - lr * (G - G @ U @ U.T) - lr * decay * (W - W @ U @ U.T)
            ),
        },
        "wrong": {
            "the bug": (only_gradient, "moves by up to"),
            "no decay": (lambda W, G, U, lr, decay: W - lr * (G - G @ U @ U.T), "and* the decay"),
            "only decay": (lambda W, G, U, lr, decay: W - lr * decay * (W - W @ U @ U.T), "and* the decay"),
            "no step": (lambda W, G, U, lr, decay: W, "outside"),
            "weights projected": (
                lambda W, G, U, lr, decay: (new := W - lr * (G + decay * W)) - new @ U @ U.T,
                "moves by up to",
            ),
            "lr ignored": (
                lambda W, G, U, lr, decay: safe(W, G, U, 0.1, decay),
                "times -lr (for W of shape (4, 4)",
            ),
            "decay ignored": (lambda W, G, U, lr, decay: safe(W, G, U, lr, 0.5), "decay = 0.0"),
            "the sign": (lambda W, G, U, lr, decay: safe(W, G, U, -lr, decay), "outside"),
            "decay without lr": (
                lambda W, G, U, lr, decay: safe(W, G, U, lr, decay / lr),
                "outside",
            ),
            "decay grows": (lambda W, G, U, lr, decay: safe(W, G, U, lr, -decay), "outside"),
            "the update alone": (lambda W, G, U, lr, decay: safe(W, G, U, lr, decay) - W, "moves by up to"),
            "from the left": (
                lambda W, G, U, lr, decay: W - lr * (G + decay * W) @ np.diag(1 - (U**2).sum(1)),
                "moves by up to",
            ),
            "transposed": (lambda W, G, U, lr, decay: safe(W, G, U, lr, decay).T, "shape"),
            "spoils the basis": (safe_spoils, "changes its argument `U`"),
            "nothing": (lambda W, G, U, lr, decay: None, "returned nothing"),
        },
    },
}
