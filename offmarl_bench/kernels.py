"""Element-wise work of the recurrent networks, each in one pass over memory that is still in the core's cache.

Written out in torch, the gates of a GRU are fifteen passes over arrays of some megabytes, forward and backward, and
its tanh alone takes as long as a third of the matrix products. The exponential here is a polynomial, so that the
compiler works on sixteen numbers at once where a call of the C library would do one at a time. Single precision only.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float32, Int64
from numba import njit

compiled = njit(cache=True, error_model="numpy", nogil=True, fastmath={"contract"})
summing = njit(cache=True, error_model="numpy", nogil=True, fastmath={"contract", "reassoc"})
"""Sums in whatever order suits the processor, the same every time."""
inlined = njit(cache=True, error_model="numpy", nogil=True, fastmath={"contract"}, inline="always")

ONE, TWO, ZERO = np.float32(1), np.float32(2), np.float32(0)
MOST = np.float32(87.0)
"""e^±x of single precision is neither 0 nor infinite up to here."""
PER_OCTAVE = np.float32(1 / math.log(2))
OCTAVE_HIGH = np.float32(355 / 512)
"""The leading digits of log 2, few enough that a multiple of them is exact."""
OCTAVE_LOW = np.float32(math.log(2) - 355 / 512)
C2, C3, C4, C5, C6 = (np.float32(1 / math.factorial(k)) for k in range(2, 7))
"""Taylor's coefficients; six terms are exact to single precision within half an octave."""
NOTHING = np.float32(-np.inf)
"""Logarithm of 0."""
ROWS = 64
"""Rows of a softmax whose exponentials are taken together."""
BIAS, MANTISSA = np.int32(127), np.int32(23)
"""A float32 keeps its exponent, plus this bias, above so many bits."""


@inlined
def exponential(x: np.float32) -> np.float32:
    """e^x to within three units in the last place, x clipped to ±87; NaN stays NaN."""
    x = min(max(x, -MOST), MOST)
    octaves = np.rint(x * PER_OCTAVE)
    rest = (x - octaves * OCTAVE_HIGH) - octaves * OCTAVE_LOW
    series = ONE + rest * (ONE + rest * (C2 + rest * (C3 + rest * (C4 + rest * (C5 + rest * C6)))))
    power = np.int32((np.int32(octaves) + BIAS) << MANTISSA)
    return series * power.view(np.float32)  # type: ignore[no-any-return]


@inlined
def sigmoid(x: np.float32) -> np.float32:
    """σ(x) = 1 / (1 + e^(−x))."""
    return ONE / (ONE + exponential(-x))


@compiled
def gru_step(
    first: int,
    n: int,
    following: int,
    gates: Float32[np.ndarray, "K G"],
    own: Float32[np.ndarray, "n G"],
    out: Float32[np.ndarray, "K H"],
    before: Float32[np.ndarray, "K H"],
    inner: Float32[np.ndarray, "K H"],
) -> None:
    """One time step of ``n`` sequences, whose rows begin at ``first``; G = 3 H.

    Args:
        first: row of the first sequence.
        n: sequences at this step.
        following: of them, how many go on: their memory is written into the rows after.
        gates: W x + b, becomes r, z, n of torch's GRU.
        own: U h + c.
        out: the new memory.
        before: the memory that the step begins with; read here, written for the next step.
        inner: gets the last third of ``own``.
    """
    H = out.shape[1]
    for i in range(n):
        k = first + i
        for j in range(H):
            r = sigmoid(gates[k, j] + own[i, j])
            z = sigmoid(gates[k, H + j] + own[i, H + j])
            hidden = own[i, 2 * H + j]
            new = TWO * sigmoid(TWO * (gates[k, 2 * H + j] + r * hidden)) - ONE
            gates[k, j], gates[k, H + j], gates[k, 2 * H + j] = r, z, new
            inner[k, j] = hidden
            out[k, j] = new + z * (before[k, j] - new)
        if i < following:
            for j in range(H):
                before[k + n, j] = out[k, j]


@compiled
def gru_step_back(
    first: int,
    n: int,
    gates: Float32[np.ndarray, "K G"],
    before: Float32[np.ndarray, "K H"],
    inner: Float32[np.ndarray, "K H"],
    grad: Float32[np.ndarray, "K H"],
    carry: Float32[np.ndarray, "n H"],
    slopes: Float32[np.ndarray, "K F"],
    sums: Float32[np.ndarray, " F"],
) -> None:
    """The derivatives of one time step; F = 4 H.

    Args:
        first: row of the first sequence.
        n: sequences at this step.
        gates: r, z, n.
        before: memory that the step began with.
        inner: the last third of U h + c.
        grad: derivatives by the memory, of whatever reads it but the next step.
        carry: derivatives by the new memory by way of the next step; becomes those by the old one, less what comes
            by way of U h.
        slopes: gets the derivatives by the last third of U h + c, by r's and z's sums, by the last third of W x + b.
        sums: gets its rows added.
    """
    H = inner.shape[1]
    part = np.zeros_like(sums)  # summed step by step: less is lost than by adding thousands of rows to one number
    for i in range(n):
        k = first + i
        for j in range(H):
            r, z, new = gates[k, j], gates[k, H + j], gates[k, 2 * H + j]
            here = grad[k, j] + carry[i, j]
            by_new = here * (ONE - z) * (ONE - new * new)
            by_z = here * (before[k, j] - new) * z * (ONE - z)
            by_r = by_new * inner[k, j] * r * (ONE - r)
            by_hidden = by_new * r
            slopes[k, j], slopes[k, H + j], slopes[k, 2 * H + j], slopes[k, 3 * H + j] = by_hidden, by_r, by_z, by_new
            part[j] += by_hidden
            part[H + j] += by_r
            part[2 * H + j] += by_z
            part[3 * H + j] += by_new
            carry[i, j] = here * z
    for j in range(len(sums)):
        sums[j] += part[j]


@compiled
def relu_of_sum(
    x: Float32[np.ndarray, "K H"],
    a: Float32[np.ndarray, "P H"],
    of_a: Int64[np.ndarray, " K"],
    b: Float32[np.ndarray, "Q H"],
    of_b: Int64[np.ndarray, " K"],
    out: Float32[np.ndarray, "K H"],
) -> None:
    """max(0, x + a[of_a] + b[of_b]) into ``out``; a negative index adds nothing."""
    H = x.shape[1]
    for k in range(len(x)):
        p, q = of_a[k], of_b[k]
        for j in range(H):
            out[k, j] = x[k, j]
        if p >= 0:
            for j in range(H):
                out[k, j] += a[p, j]
        if q >= 0:
            for j in range(H):
                out[k, j] += b[q, j]
        for j in range(H):
            out[k, j] = max(out[k, j], ZERO)


@compiled
def relu_of_sum_back(
    grad: Float32[np.ndarray, "K H"],
    out: Float32[np.ndarray, "K H"],
    of_a: Int64[np.ndarray, " K"],
    of_b: Int64[np.ndarray, " K"],
    by_x: Float32[np.ndarray, "K H"],
    by_a: Float32[np.ndarray, "P H"],
    by_b: Float32[np.ndarray, "Q H"],
) -> None:
    """Derivatives of ``relu_of_sum``: ``by_x`` is overwritten, the others are added to."""
    H = grad.shape[1]
    for k in range(len(grad)):
        p, q = of_a[k], of_b[k]
        for j in range(H):
            by_x[k, j] = grad[k, j] if out[k, j] > ZERO else ZERO
        if p >= 0:
            for j in range(H):
                by_a[p, j] += by_x[k, j]
        if q >= 0:
            for j in range(H):
                by_b[q, j] += by_x[k, j]


@summing
def rectified_dots(
    x: Float32[np.ndarray, "K N H"],
    c: Float32[np.ndarray, "M H"],
    b: Float32[np.ndarray, "K H"],
    out: Float32[np.ndarray, "K N"],
) -> None:
    """Products of each b with max(0, x + c) of its N companions, into ``out``; each c serves K / M rows of b."""
    K, N, H = x.shape
    each = K // len(c)
    for k in range(K):
        p = k // each
        for i in range(N):
            total = ZERO
            for j in range(H):
                total += max(x[k, i, j] + c[p, j], ZERO) * b[k, j]
            out[k, i] = total


@compiled
def rectified_dots_back(
    grad: Float32[np.ndarray, "K N"],
    x: Float32[np.ndarray, "K N H"],
    c: Float32[np.ndarray, "M H"],
    b: Float32[np.ndarray, "K H"],
    by_x: Float32[np.ndarray, "K N H"],
    by_c: Float32[np.ndarray, "M H"],
    by_b: Float32[np.ndarray, "K H"],
) -> None:
    """Derivatives of ``rectified_dots``: ``by_x`` is overwritten, the others are added to."""
    K, N, H = x.shape
    each = K // len(c)
    for k in range(K):
        p = k // each
        for i in range(N):
            slope = grad[k, i]
            for j in range(H):  # three loops, each of which the compiler can do for sixteen numbers at once
                by_x[k, i, j] = slope * b[k, j] if x[k, i, j] + c[p, j] > ZERO else ZERO
            for j in range(H):
                by_c[p, j] += by_x[k, i, j]
            for j in range(H):
                by_b[k, j] += slope * max(x[k, i, j] + c[p, j], ZERO)


@compiled
def backup(
    reward: Float32[np.ndarray, "B T"],
    value: Float32[np.ndarray, "B T"],
    taken: Float32[np.ndarray, "B T"],
    trace: Bool[np.ndarray, "B T"],
    terminated: Bool[np.ndarray, "B T"],
    gamma: float,
    lam: float,
    out: Float32[np.ndarray, "B T"],
) -> None:
    """``ops.backup`` into ``out``."""
    discount, share = np.float32(gamma), np.float32(lam)
    B, T = reward.shape
    for b in range(B):
        for t in range(T - 1, -1, -1):
            following = value[b, t]
            if trace[b, t] and t + 1 < T:
                following += share * (out[b, t + 1] - taken[b, t])
            out[b, t] = reward[b, t] if terminated[b, t] else reward[b, t] + discount * following


@compiled
def log_softmax(x: Float32[np.ndarray, "K A"], legal: Bool[np.ndarray, "K A"], out: Float32[np.ndarray, "K A"]) -> None:
    """Logarithms of the softmax over each row's legal entries, −inf elsewhere; all are legal in a row without any."""
    K, A = x.shape
    block = np.empty((ROWS, A), np.float32)
    flat = block.reshape(-1)
    for start in range(0, K, ROWS):
        n = min(ROWS, K - start)
        for i in range(n):
            k = start + i
            none = True
            for a in range(A):
                none &= not legal[k, a]
            top = NOTHING
            for a in range(A):
                out[k, a] = x[k, a] if legal[k, a] or none else NOTHING
                top = max(top, out[k, a])
            for a in range(A):
                out[k, a] -= top
                block[i, a] = out[k, a]
        for i in range(n * A):
            flat[i] = exponential(flat[i])
        for i in range(n):
            total = ZERO
            for a in range(A):
                total += block[i, a]
            shift = np.float32(math.log(total))
            for a in range(A):
                out[start + i, a] -= shift


@compiled
def log_softmax_back(
    grad: Float32[np.ndarray, "K A"], out: Float32[np.ndarray, "K A"], by_x: Float32[np.ndarray, "K A"]
) -> None:
    """Derivatives of ``log_softmax``, whose result is ``out``, into ``by_x``; 0 where that is −inf."""
    K, A = out.shape
    for start in range(0, K, ROWS):
        n = min(ROWS, K - start)
        share, p = by_x[start : start + n].reshape(-1), out[start : start + n].reshape(-1)
        for i in range(n * A):
            share[i] = exponential(p[i])
        for k in range(start, start + n):
            total = ZERO
            for a in range(A):
                total += grad[k, a]
            for a in range(A):
                by_x[k, a] = grad[k, a] - total * by_x[k, a] if out[k, a] > NOTHING else ZERO
