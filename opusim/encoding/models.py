"""Trainable encoders: autoencoders whose code is binary. This module needs torch.

After training (`train`), ``model.eval()`` makes the model return the code, uint8 bits for the device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from opusim.base.errors import no_torch

try:
    import torch
    from torch import nn
    from torch.nn import functional
except ImportError as error:
    raise no_torch("opusim.encoding.models", error) from error

__all__ = ["AE", "ConvAE", "EncoderDecoder", "LinearAE", "train"]

_BETA_STEP = 10


class AE(nn.Module):
    """Base of the autoencoders."""


class EncoderDecoder(AE):
    """One layer without bias as the encoder, its transpose as the decoder, a step between them.

    The step has no gradient: training changes the decoder, and with it the encoder (Tissier, Gravier and Habrard,
    2019, arXiv:1803.09065).

    Parameters
    ----------
    input_size, hidden_size : int
        Features of the data, and bits of the code.

    Attributes
    ----------
    proj : torch.nn.Linear
        The layer.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.proj = nn.Linear(input_size, hidden_size, bias=False)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the reconstruction in training mode, else the code.

        Parameters
        ----------
        input : torch.Tensor
            Samples, float32, (n_samples, input_size).

        Returns
        -------
        torch.Tensor
            The reconstruction, float32 (n_samples, input_size), or the code, uint8 0/1 (n_samples, hidden_size).

        Raises
        ------
        ValueError
            If there is NaN where a bit of the code should be.
        """
        with torch.no_grad():
            hidden = self.proj(input)
        if self.training:
            return (hidden > 0).to(self.proj.weight.dtype) @ self.proj.weight
        return _code(hidden)

    def penalty(self) -> torch.Tensor:
        """Return what keeps the features of the layer apart.

        Returns
        -------
        torch.Tensor
            Half the squared Frobenius norm of W^T W - 1, a number.
        """
        weight = self.proj.weight
        eye = torch.eye(weight.shape[1], dtype=weight.dtype, device=weight.device)
        return 0.5 * (weight.t() @ weight - eye).pow(2).sum()


def _code(hidden: torch.Tensor) -> torch.Tensor:
    """Return the bits of what an encoding layer gives: 1 above 0."""
    if bool(torch.isnan(hidden).any()):
        raise ValueError("input gives NaN behind the encoding layer, which has no bit: it must hold finite numbers.")
    return (hidden > 0).to(torch.uint8)


class _SoftStepAE(AE):
    """Encoder, tanh(beta x) / beta, decoder; with growing beta the middle becomes a step."""

    encoder: nn.Module
    decoder: nn.Module
    beta: float

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the reconstruction in training mode, else the code.

        Parameters
        ----------
        input : torch.Tensor
            Data as the encoding layer takes them.

        Returns
        -------
        torch.Tensor
            The reconstruction, of the input's shape, or uint8 0/1, of the shape of the encoding layer's output.

        Raises
        ------
        ValueError
            If there is NaN where a bit of the code should be.
        """
        hidden = self.encoder(input)
        if self.training:
            return self.decoder(torch.tanh(self.beta * hidden) / self.beta)
        return _code(self.beta * hidden)


class LinearAE(_SoftStepAE):
    """Autoencoder of two dense layers.

    Parameters
    ----------
    input_size, hidden_size : int
        Features of the data, and bits of the code.
    beta : float, optional
        Steepness of the activation.

    Attributes
    ----------
    encoder, decoder : torch.nn.Linear
        The layers.
    beta : float
        Steepness; `train` raises it.
    """

    def __init__(self, input_size: int, hidden_size: int, beta: float = 1.0) -> None:
        super().__init__()
        self.encoder = nn.Linear(input_size, hidden_size)
        self.decoder = nn.Linear(hidden_size, input_size)
        self.beta = beta


class ConvAE(_SoftStepAE):
    """Autoencoder of a convolution and a transposed convolution.

    Parameters
    ----------
    in_ch, out_ch : int
        Channels of the data and of the code.
    kernel_size : int or tuple of int
        Size of the filters.
    beta : float
        Steepness of the activation.
    stride, padding, dilation, groups, bias, padding_mode : optional
        As in `torch.nn.Conv2d`, for both layers; a transposed convolution knows only the padding mode "zeros".
    flatten : bool, optional
        Whether the code is (n_samples, out_ch * height * width) rather than (n_samples, out_ch, height, width).

    Attributes
    ----------
    encoder : torch.nn.Conv2d
        Encoding layer.
    decoder : torch.nn.ConvTranspose2d
        Decoding layer.
    beta : float
        Steepness; `train` raises it.
    flatten : bool
        As given.
    """

    def __init__(
        self,
        in_ch: int,
        out_ch: int,
        kernel_size: Any,
        beta: float,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        flatten: bool = False,
    ) -> None:
        super().__init__()
        options: dict[str, Any] = {
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
            "groups": groups,
            "bias": bias,
            "padding_mode": padding_mode,
        }
        self.encoder = nn.Conv2d(in_ch, out_ch, kernel_size, **options)
        self.decoder = nn.ConvTranspose2d(out_ch, in_ch, kernel_size, **options)
        self.beta = beta
        self.flatten = flatten

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the reconstruction in training mode, else the code.

        Parameters
        ----------
        input : torch.Tensor
            Images, (n_samples, in_ch, rows, columns).

        Returns
        -------
        torch.Tensor
            The reconstruction, of the input's shape, or the code, uint8 0/1, one row a sample if `flatten` is set.

        Raises
        ------
        ValueError
            If there is NaN where a bit of the code should be.
        """
        result = super().forward(input)
        return result if self.training or not self.flatten else result.reshape(len(result), -1)


def train(
    model: nn.Module,
    dataloader: Iterable[Any],
    optimizer: torch.optim.Optimizer,
    criterion: Callable[..., torch.Tensor] = functional.mse_loss,
    epochs: int = 10,
    beta_interval: int = 5,
    device: Any = None,
    verbose: bool = True,
) -> nn.Module:
    """Train an autoencoder to reconstruct its input.

    Parameters
    ----------
    model : torch.nn.Module
        `EncoderDecoder`, `LinearAE`, `ConvAE` or one like them; it is put in training mode.
    dataloader : iterable
        Batches: tensors, or lists that begin with one (data and labels).
    optimizer : torch.optim.Optimizer
        For the model's parameters.
    criterion : callable, optional
        Loss of (reconstruction, data); the mean square error.
    epochs : int, optional
        Passes over the data.
    beta_interval : int, optional
        Every how many epochs ``model.beta`` is multiplied by 10.
    device : str or torch.device, optional
        Where to train; by default a GPU if there is one.
    verbose : bool, optional
        Whether to print the mean loss after each epoch.

    Returns
    -------
    torch.nn.Module
        The model, trained, in training mode.
    """
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    tied = isinstance(model, EncoderDecoder)
    model.train()
    model = model.to(device)
    for epoch in range(epochs):
        total, n_batches = 0.0, 0
        for batch in dataloader:
            data = (batch[0] if isinstance(batch, (list, tuple)) else batch).to(device)
            optimizer.zero_grad()
            loss = criterion(model(data), data)
            total += loss.detach().item()
            n_batches += 1
            if isinstance(model, EncoderDecoder):
                loss = loss + model.penalty()
            loss.backward()
            optimizer.step()
        if epoch and epoch % beta_interval == 0 and not tied:
            model.beta = model.beta * _BETA_STEP  # type: ignore[assignment, operator]
        if verbose:  # what the argument is for
            print(f"Epoch: [{epoch + 1}/{epochs}], Training Loss: {total / max(1, n_batches)}")
    return model
