"""Losses of a classifier: their value and the error that training sends back, in one pass over the logits."""

from __future__ import annotations

import numpy as np

__all__ = ["LOSSES", "errors_and_loss", "loss_text"]

LOSSES = ("cross_entropy", "squared_error")


def errors_and_loss(loss: str, logits: np.ndarray, labels: np.ndarray, errors: np.ndarray) -> float:
    """Write the error of each sample to `errors` and return the sum of their losses.

    Parameters
    ----------
    loss : {"cross_entropy", "squared_error"}
        The loss of one sample: -log softmax(logits)[label], or half the squared distance of the logits from the
        one-hot label.
    logits : ndarray, shape (batch, n_classes)
    labels : ndarray of int, shape (batch,)
    errors : ndarray, shape (batch, n_classes), of the dtype of `logits`
        Gets the gradient of each sample's loss by its logits: softmax(logits) - onehot, or logits - onehot. It is not
        divided by the batch size.

    Returns
    -------
    float
        Sum over the batch, added up in double precision. NaN or infinite where a logit is.
    """
    rows = np.arange(len(labels))
    if loss == "squared_error":
        np.copyto(errors, logits)
        errors[rows, labels] -= 1
        return 0.5 * float(np.einsum("ij,ij->", errors, errors, dtype=np.float64))
    # The largest logit is taken off first, so that no exponential overflows.
    np.subtract(logits, logits.max(axis=1, keepdims=True), out=errors)
    of_label = errors[rows, labels].astype(np.float64)
    np.exp(errors, out=errors)
    sums = errors.sum(axis=1, keepdims=True)
    errors /= sums
    errors[rows, labels] -= 1
    return float(np.sum(np.log(sums[:, 0].astype(np.float64)) - of_label))


def loss_text(loss: float) -> str:
    """Return a loss for the reader: four decimals, or four digits from 10,000 on."""
    return f"{loss:.4f}" if loss < 1e4 else f"{loss:.4g}"
